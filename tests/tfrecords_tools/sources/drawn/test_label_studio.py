"""Label Studio's JSON. Photos have 128 x 64 pixels; its coordinates are per cent of the sides."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from must_tf.common.errors import UserError
from tests.support.converting import Converted, converted, dump, must_records
from tests.support.datasets.drawn import masks, photos, rectangle, seen, write, written
from tfrecords_tools.sources.drawn.label_studio import LabelStudio

Result = dict[str, Any]
CAT = ("cat", [48, 16, 80, 48])


def result(kind: str, name: str, **value: Any) -> Result:
    """One result of an annotation."""
    return {
        "type": kind,
        "original_width": 128,
        "original_height": 64,
        "image_rotation": 0,
        "value": {kind: [name], **value},
    }


BOX = result("rectanglelabels", "cat", x=37.5, y=25, width=25, height=50, rotation=0)
SQUARE = result("polygonlabels", "dog", points=[[25, 25], [50, 25], [50, 75], [25, 75]])


def task(number: int, image: str, *annotations: list[Result], **more: Any) -> dict[str, Any]:
    """A task with annotations."""
    given = [{"id": place, "was_cancelled": False, "result": each} for place, each in enumerate(annotations)]
    return {"id": number, "data": {"image": image}, "annotations": given, "predictions": []} | more


def run(root: Path, *tasks: dict[str, Any], **options: str) -> Converted:
    """Converts tasks; photos a.jpg, b.jpg and c.jpg exist."""
    photos(root / "images", "a.jpg", "b.jpg", "c.jpg")
    return converted(LabelStudio(f"{root}/images", dump(root / "set.json", tasks), **options), root / "out")


def test_boxes_polygons_and_tasks_without_annotations(tmp_path: Path) -> None:
    found = run(tmp_path, task(1, "a.jpg", [BOX, SQUARE]), task(2, "b.jpg", []), task(3, "c.jpg"))
    # b was looked at and shows nothing; nobody annotated c.
    assert seen(found) == {"a": [CAT, ("dog", [32, 16, 64, 48])], "b": []}
    assert set(found.records) == {"a", "b", "c"}
    none, square = masks(found.records["a"])
    assert not none.any() and (square == rectangle(32, 16, 64, 48)).all()
    assert found.counts() == {}
    assert found.notes() == {"detection: task without an annotation": 1, "object: no mask, box only": 1}


def test_a_box_turns_about_its_first_corner(tmp_path: Path) -> None:
    """A box of 32 x 16 pixels at (64, 16), by a quarter turn clockwise: 16 to the left, 32 down. A share of one side
    is not the same number of pixels as that of the other, so turning shares would be wrong."""
    turned = result("rectanglelabels", "cat", x=50, y=25, width=25, height=25, rotation=90)
    slanted = result("rectanglelabels", "cat", x=50, y=25, width=25, height=25, rotation=45)
    found = run(tmp_path, task(1, "a.jpg", [turned]), task(2, "b.jpg", [slanted]))
    boxes = {key: np.array(value[0][1]) for key, value in seen(found).items()}
    np.testing.assert_allclose(boxes["a"], [48, 16, 64, 48], atol=1e-3)
    root = math.sqrt(2)
    np.testing.assert_allclose(boxes["b"], [64 - 16 / root, 16, 64 + 32 / root, 16 + 48 / root], atol=1e-3)
    assert found.notes()["object: turned box, the upright box around it is used"] == 2


def bits(number: int, size: int) -> str:
    """A number of `size` bits."""
    return format(number, f"0{size}b")


def brush(mask: np.ndarray) -> list[int]:
    """A mask in the brush's format, written run by run as its documentation has it: one run per pixel row of alpha."""
    values = np.repeat(mask.ravel()[:, None] * np.uint8(255), 4, 1).ravel()  # RGBA
    values[:3] = 9  # a pixel with a colour that is not painted
    text = bits(len(values), 32) + bits(8 - 1, 5) + bits(3 - 1, 4) + bits(6 - 1, 4) + bits(9 - 1, 4) + bits(12 - 1, 4)
    at = 0
    while at < len(values):
        same = 1
        while at + same < len(values) and values[at + same] == values[at] and same < 1 << 9:
            same += 1
        if same > 4:  # a run of equal values, its length in 9 bits
            text += "1" + bits(2, 2) + bits(same - 1, 9) + bits(int(values[at]), 8)
        else:  # different values, their number in 3 bits
            same = min(4, len(values) - at)
            text += "0" + bits(0, 2) + bits(same - 1, 3) + "".join(bits(int(v), 8) for v in values[at : at + same])
        at += same
    text += "0" * (-len(text) % 8)
    return [int(text[place : place + 8], 2) for place in range(0, len(text), 8)]


def test_a_brush_mask_is_the_alpha_channel(tmp_path: Path) -> None:
    mask = rectangle(32, 16, 64, 48) ^ rectangle(40, 20, 41, 21)
    found = run(tmp_path, task(1, "a.jpg", [result("brushlabels", "dog", format="rle", rle=brush(mask))]))
    np.testing.assert_array_equal(masks(found.records["a"])[0], mask)
    assert seen(found) == {"a": [("dog", [32, 16, 64, 48])]}


def test_an_ellipse_is_a_mask(tmp_path: Path) -> None:
    found = run(
        tmp_path,
        task(1, "a.jpg", [result("ellipselabels", "dog", x=50, y=50, radiusX=18.75, radiusY=12.5, rotation=90)]),
    )
    assert np.abs(np.array(seen(found)["a"][0][1]) - [56, 8, 72, 56]).max() < 0.1


def test_a_choice_is_the_class_of_the_image(tmp_path: Path) -> None:
    choices = [result("choices", name) for name in ("sunny", "rainy")]
    both = {**choices[0], "value": {"choices": ["sunny", "rainy"]}}
    choices[0]["value"] = {"choices": "sunny"}  # as some importers write it
    found = run(tmp_path, task(1, "a.jpg", [choices[0]]), task(2, "b.jpg", [choices[1], BOX]), task(3, "c.jpg", [both]))
    labels = {
        key: record.labels["classification"]["probability"].tolist()
        for key, record in found.records.items()
        if "classification" in record.labels
    }
    assert labels == {"a": [0, 1], "b": [1, 0]}
    # a and c were classified only: nobody looked for objects.
    assert seen(found) == {"b": [CAT]}
    assert found.notes() == {"classification: several choices, none is used": 1}


def test_choices_of_a_region_are_not_the_class_of_the_image(tmp_path: Path) -> None:
    of_region = {**BOX, "id": "r", "type": "choices", "value": BOX["value"] | {"choices": ["occluded"]}}
    del of_region["value"]["rectanglelabels"]
    found = run(tmp_path, task(1, "a.jpg", [BOX | {"id": "r"}, of_region]), task(2, "b.jpg", []), task(3, "c.jpg", []))
    assert (set(found.records["a"].labels), found.notes()) == ({"detection"}, {"object: choices, not used": 1})


def general(one: Result) -> list[Result]:
    """The same object as <Rectangle> or <Polygon> and <Labels> write it: its shape twice, its class once."""
    name = one["value"][one["type"]]
    plain = {key: part for key, part in one["value"].items() if key != one["type"]}
    shape = one | {"id": str(one["value"]), "type": one["type"].removesuffix("labels"), "value": plain}
    return [shape, shape | {"type": "labels", "value": plain | {"labels": name}}]


def test_the_general_labels_give_the_same(tmp_path: Path) -> None:
    found = run(tmp_path, task(1, "a.jpg", general(BOX) + general(SQUARE)), task(2, "b.jpg", []), task(3, "c.jpg", []))
    assert seen(found) == {"a": [CAT, ("dog", [32, 16, 64, 48])], "b": [], "c": []}
    assert (found.counts(), found.notes()) == ({}, {"object: no mask, box only": 1})


def test_an_annotation_of_other_things_only_does_not_say_that_nothing_is_there(tmp_path: Path) -> None:
    unreadable = BOX | {"original_width": None}
    found = run(tmp_path, task(1, "a.jpg", [BOX]), task(2, "b.jpg", [KEYPOINT]), task(3, "c.jpg", [unreadable]))
    assert seen(found) == {"a": [CAT]} and set(found.records) == {"a", "b", "c"}


def flat(number: int, image: str, *results: Result) -> dict[str, Any]:
    """The task as JSON-MIN has it."""
    sizes = {"original_width": 128, "original_height": 64}
    regions = [one["value"] | sizes for one in results]
    return {"id": number, "image": image, "annotation_id": 5, "annotator": 1, "lead_time": 2.5, "shapes": regions}


def test_json_min_gives_the_same(tmp_path: Path) -> None:
    last = flat(3, "/data/upload/1/0a1b2c3d-c.jpg") | {"weather": {"choices": ["sunny"]}, "comment": "dark"}
    found = run(tmp_path, flat(1, "a.jpg", BOX, SQUARE), flat(2, "b.jpg"), last)
    assert seen(found) == {"a": [CAT, ("dog", [32, 16, 64, 48])], "b": []}
    assert masks(found.records["a"])[1].sum() == 32 * 32
    assert found.outcome.manifest.classes["classification"] == ["sunny"]
    assert found.counts() == {}
    assert found.notes() == {
        "object: 'comment' of JSON-MIN, not used": 1,
        "object: no mask, box only": 1,
        "image: found by the last parts of its path": 1,
    }


def test_of_several_annotations_one_is_used(tmp_path: Path) -> None:
    truth = task(1, "a.jpg", [SQUARE], [BOX])
    truth["annotations"][1]["ground_truth"] = True
    cancelled = task(2, "b.jpg", [SQUARE], [BOX])
    cancelled["annotations"][0]["was_cancelled"] = True
    first = task(3, "c.jpg", [BOX], [SQUARE], predictions=[{"result": [SQUARE]}])
    found = run(tmp_path, truth, cancelled, first)
    assert seen(found) == {"a": [CAT], "b": [CAT], "c": [CAT]}
    assert found.notes() == {
        "image: cancelled annotations not used": 1,
        "image: several annotations, the first is used": 1,
        "image: predictions not used": 1,
    }


URLS = {
    "/data/upload/1/a.jpg": "a.jpg",
    "/data/local-files/?d=photos/set/a.jpg": "a.jpg",
    "https://host/bucket/a%20b.jpg?token=1": "a b.jpg",
    "s3://bucket/deep/a.jpg": "deep/a.jpg",
    "a%20b.jpg": "a%20b.jpg",
    "/data/upload/1/1a2b3c4d-a.jpg": "a.jpg",
    "/data/local-files/?d=a.jpg": "a.jpg",
}


@pytest.mark.parametrize("url", URLS)
def test_images_are_found_by_their_url(url: str, tmp_path: Path) -> None:
    photos(tmp_path / "images", URLS[url], "x.jpg")
    path = dump(tmp_path / "set.json", [task(1, url, [BOX])])
    found = converted(LabelStudio(f"{tmp_path}/images", path), tmp_path / "out")
    assert list(seen(found)) == [URLS[url][:-4]]


KEYPOINT, RELATION = result("keypointlabels", "nose", x=1, y=2, width=1), {"type": "relation", "from_id": "a"}
OTHERS: dict[str, tuple[Result, dict[str, int], dict[str, int]]] = {
    "keypoint": (KEYPOINT, {}, {"object: keypointlabels, not used": 1}),
    "relation": (RELATION, {}, {"object: relation, not used": 1}),
    "no class": (result("rectanglelabels", "", x=1, y=2, width=3, height=4), {"object: it has no class": 1}, {}),
    "no width": (result("rectanglelabels", "cat", x=1, y=2), {"object: result cannot be read": 1}, {}),
    "no size": ({**BOX, "original_width": None}, {"object: result cannot be read": 1}, {}),
    "another size": ({**BOX, "original_width": 256}, {"object: result cannot be read": 1}, {}),
    "shares": (
        result("rectanglelabels", "cat", x=0.375, y=0.25, width=0.25, height=0.5),
        {"object: result cannot be read": 1},
        {},
    ),
    "turned image": ({**BOX, "image_rotation": 90}, {"object: result cannot be read": 1}, {}),
    "cut off brush": (result("brushlabels", "dog", rle=[0, 0, 128, 0, 9]), {"object: result cannot be read": 1}, {}),
    "other brush": (result("brushlabels", "dog", rle=[0] * 9), {"object: result cannot be read": 1}, {}),
    "no bytes": (result("brushlabels", "dog", rle=[300, -1]), {"object: result cannot be read": 1}, {}),
    "wide brush": (
        result("brushlabels", "dog", rle=[0, 0, 128, 0, 0xF8, *[0xFF] * 9]),
        {"object: result cannot be read": 1},
        {},
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_results_are_counted(name: str, tmp_path: Path) -> None:
    other, dropped, notes = OTHERS[name]
    found = run(tmp_path, task(1, "a.jpg", [BOX, other]), task(2, "b.jpg", []), task(3, "c.jpg", []))
    assert (seen(found)["a"], found.counts(), found.notes()) == ([CAT], dropped, notes)


def test_missing_and_repeated_images_are_counted(tmp_path: Path) -> None:
    found = run(tmp_path, task(1, "a.jpg", [BOX]), task(2, "a.jpg", []), task(3, "z.jpg", []))
    assert found.counts() == {"image: in two tasks, the first is used": 1, "image: file is missing": 1}
    assert found.notes() == {"image: not named in the annotations, left out": 2}


def test_other_files_are_refused(tmp_path: Path) -> None:
    photos(tmp_path / "images", "x.jpg")
    mistakes = {
        '[{"id": 1, "image": "a.jpg", "label": []}]': "entry 0 is not a task with 'data'",
        '{"images": []}': "has no list of tasks",
        "[": "is not valid JSON",
        json.dumps([task(1, "a.jpg", [])]): "none of the 1 annotated images (such as a.jpg)",
        json.dumps([{"id": 7, "data": {"left": "a.jpg", "right": "b.jpg"}}]): "task 7 has 2 images in its data",
    }
    for text, message in mistakes.items():
        with pytest.raises(UserError, match=re.escape(message)):
            LabelStudio(f"{tmp_path}/images", write(tmp_path / "set.json", text)).find()


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos(tmp_path / "images", "a.jpg")
    path = dump(tmp_path / "set.json", [task(1, "a.jpg", [BOX])])
    given = ["--images", f"{tmp_path}/images", "--annotations", path, "--out", f"{tmp_path}/out"]
    assert must_records(["convert", "label-studio", *given], monkeypatch) == 0
    assert written(tmp_path / "out")["a"].origins == {"detection": "real:set"}
