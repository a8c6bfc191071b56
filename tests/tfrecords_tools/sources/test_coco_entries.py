"""COCO's JSON files as found in practice: each list of images has one outcome or one error."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from must_tf.common.errors import UserError
from must_tf.data import record
from tests.support.converting import CocoEntry, converted, dump, noise, save
from tests.support.datasets.coco_dataset import CATEGORIES, HEIGHT, IMAGES, WIDTH, panoptic
from tfrecords_tools.sources.coco.coco import Coco
from tfrecords_tools.sources.coco.coco_keys import NEGATIVE, NOT_EXHAUSTIVE
from tfrecords_tools.sources.coco.coco_objects import TWICE


@pytest.mark.parametrize("size", [("60", "80"), (60.0, 80.0)])
@pytest.mark.parametrize("fits", [True, False])
def test_a_size_in_the_json_may_be_a_float_or_a_string(size: tuple[Any, Any], fits: bool, tmp_path: Path) -> None:
    save(tmp_path / "images" / "a.png", noise(HEIGHT, WIDTH if fits else WIDTH - 1))
    images = [{"id": 7, "file_name": "a.png", "height": size[0], "width": size[1]}]
    json = dump(tmp_path / "a.json", {"images": images, "annotations": [], "categories": CATEGORIES})
    result = converted(Coco(str(tmp_path / "images"), json), tmp_path / "out")
    assert result.counts() == ({} if fits else {"image: size differs from its labels'": 1})


PANOPTIC = {"image_id": 7, "file_name": "000000000007.png", "segments_info": [{"id": 4, "category_id": 1}]}
PANOPTIC_MISTAKES = {
    "no segments": ([{"image_id": 7, "file_name": "000000000007.png"}], "annotations[0] is not an object with"),
    "no image": ([PANOPTIC, {"file_name": "b.png", "segments_info": []}], "annotations[1] is not an object with"),
    "no list": ([PANOPTIC | {"segments_info": 4}], "image 7 has no list 'segments_info'"),
    "no category": ([PANOPTIC | {"segments_info": [{"id": 4}]}], "image 7: segments_info[0] is not an object with"),
    "other files": ([PANOPTIC | {"file_name": "b.png"}], "no panoptic JSON names the PNGs in"),
    "other images": ([PANOPTIC | {"image_id": 4}], "have no image in common"),
}


@pytest.mark.parametrize("name", PANOPTIC_MISTAKES)
def test_a_panoptic_json_that_cannot_be_used_is_refused(name: str, tmp_path: Path) -> None:
    entries, message = PANOPTIC_MISTAKES[name]
    save(tmp_path / "images" / IMAGES[0]["file_name"], noise(HEIGHT, WIDTH))
    panoptic(tmp_path)
    content = {"images": IMAGES[:1], "annotations": [], "categories": CATEGORIES}
    dump(tmp_path / "panoptic_val2017.json", content | {"annotations": entries})
    source = Coco(str(tmp_path / "images"), dump(tmp_path / "a.json", content), str(tmp_path / "panoptic_val2017"))
    with pytest.raises(UserError, match=re.escape(message)):
        source.find()


def test_category_ids_may_all_be_text(tmp_path: Path) -> None:
    save(tmp_path / "images" / "a.png", noise(HEIGHT, WIDTH))
    categories = [{"id": "dog", "name": "Dog"}, {"id": "cat", "name": "Cat"}]
    content = {"images": [{"id": 7, "file_name": "a.png"}], "annotations": [boxed(7) | {"category_id": "dog"}]}
    json = dump(tmp_path / "a.json", content | {"categories": categories})
    result = converted(Coco(str(tmp_path / "images"), json), tmp_path / "out")
    assert result.records["7"].labels["detection"]["classes"].tolist() == [2]
    assert result.outcome.manifest.classes["detection"] == ["Cat", "Dog"]


def boxed(image_id: Any, x: int = 10) -> CocoEntry:
    """An annotation of this image."""
    return {"id": 1, "image_id": image_id, "category_id": 1, "bbox": [x, 20, 30, 15]}


# The JSON's (id, file name) and annotations -> {source_id: objects}, what is counted. a.png and b.png exist.
GONE = "image: file is missing"
IMAGE_LISTS: dict[str, tuple[list[tuple[Any, str | None]], list[CocoEntry], dict[str, int], dict[str, int]]] = {
    "ids as text": ([("x y", "a.png"), ("b", "b.png")], [boxed("b"), boxed("b", 3)], {"x y": 0, "b": 2}, {}),
    "text here, number there": ([("7", "a.png")], [boxed(7)], {"7": 1}, {}),
    "a file twice": ([(7, "a.png"), (8, "a.png")], [boxed(7), boxed(8, 3)], {"7": 2}, {}),
    "an entry twice": ([(7, "a.png"), (7, "a.png")], [boxed(7)], {"7": 1}, {}),
    "a file missing": ([(7, "a.png"), (8, "c.png")], [boxed(7), boxed(8)], {"7": 1}, {GONE: 1}),
    "a path with a dot": ([(7, "./a.png")], [boxed(7)], {"7": 1}, {}),
    "a path from Windows": ([(7, ".\\a.png")], [boxed(7)], {"7": 1}, {}),
    "annotation ids twice": ([(7, "a.png")], [boxed(7), boxed(7), boxed(7, 3)], {"7": 2}, {TWICE: 1}),
    "annotations without ids twice": ([(7, "a.png")], [boxed(7) | {"id": None}] * 2, {"7": 2}, {}),
    "300 objects": ([(7, "a.png")], [boxed(7, 1 + place % 40) | {"id": place} for place in range(300)], {"7": 300}, {}),
    "objects of no image": (
        [(7, "a.png")],
        [boxed(7), boxed(9)],
        {"7": 1},
        {"object: its image is not in the JSON": 1},
    ),
    "no file name": ([(7, None), (8, "b.png")], [boxed(7)], {"8": 0}, {GONE: 1}),
    "no object at all": ([(7, "a.png"), (8, "b.png")], [], {"7": 0, "8": 0}, {}),
}


@pytest.mark.parametrize("name", IMAGE_LISTS)
def test_a_list_of_images_has_one_outcome(name: str, tmp_path: Path) -> None:
    images, boxes, wanted, counts = IMAGE_LISTS[name]
    for each in ("a.png", "b.png"):
        save(tmp_path / "images" / each, noise(HEIGHT, WIDTH))
    listed = [{"id": number, "file_name": path, "height": HEIGHT, "width": WIDTH} for number, path in images]
    json = dump(tmp_path / "a.json", {"images": listed, "annotations": boxes, "categories": CATEGORIES})
    result = converted(Coco(str(tmp_path / "images"), json), tmp_path / "out")
    assert {key: len(record.labels["detection"]["boxes"]) for key, record in result.records.items()} == wanted
    notes = {key: entry["count"] for key, entry in result.outcome.manifest.notes.items()}
    assert result.counts() | {key: count for key, count in notes.items() if key == TWICE} == counts
    lost = sum(number for reason, number in counts.items() if reason.startswith("image"))
    assert result.outcome.image_drop_rate == pytest.approx(lost / len(images))


def test_what_the_json_says_beside_its_entries_is_counted(tmp_path: Path) -> None:
    """Once per kind. Where the file comes from, and how classes are grouped, drawn and described, is no label."""
    save(tmp_path / "images" / "a.png", noise(HEIGHT, WIDTH))
    silent = {"info": {"year": 2017}, "licenses": [{"id": 1}], "type": "instances", "tracks": []}
    first = {"id": 1, "name": "cat", "supercategory": "animal", "color": [1, 2, 3], "keypoints": ["eye"], "hidden": 0}
    content = {
        "images": [{"id": 7, "file_name": "a.png", "height": HEIGHT, "width": WIDTH}],
        "annotations": [boxed(7)],
        "categories": [first, {"id": 2, "name": "dog", "ignore": 1}],
        "videos": [{"id": 1}, {"id": 2}],
    }
    result = converted(Coco(f"{tmp_path}/images", dump(tmp_path / "a.json", silent | content)), tmp_path / "out")
    assert result.notes() == {
        "category: ignore is set and not used": 1,
        "file: videos is set and not used": 1,
        "object: no mask, box only": 1,
    }


# Keys of three images, each with a cat; dogs are class 2. -> The classes that were looked for in the first, and a note.
LOOKED_FOR: dict[str, tuple[Any, tuple[int, ...] | None, str]] = {
    "a list": ({}, (1, 2), ""),
    "ids of another type": ({NEGATIVE: ["2", 2.0]}, (1, 2), ""),
    "text": ({NEGATIVE: "2"}, (1,), "image: neg_category_ids is not a list, so only classes with objects count"),
    "null": ({NEGATIVE: None}, (1,), "image: neg_category_ids is not a list, so only classes with objects count"),
    "missing": ({NEGATIVE: ...}, (1,), "image: without neg_category_ids, unlike others"),
    "no category": ({NEGATIVE: [2, 77]}, (1, 2), "image: an id in neg_category_ids is not a category"),
    "there after all": ({NEGATIVE: [1, 2]}, (1, 2), "image: a class in neg_category_ids has objects"),
    "all may be missing": ({NOT_EXHAUSTIVE: 1}, None, "image: not_exhaustive_category_ids is not a list, so no class"),
}


@pytest.mark.parametrize("name", LOOKED_FOR)
def test_what_was_looked_for_is_never_invented(name: str, tmp_path: Path) -> None:
    keys, annotated, note = LOOKED_FOR[name]
    images = []
    for number, more in enumerate(({NEGATIVE: [2]} | keys, {NEGATIVE: [2]}, {NEGATIVE: []})):
        save(tmp_path / "images" / f"{number}.png", noise(HEIGHT, WIDTH, number))
        kept = {key: value for key, value in more.items() if value is not ...}
        images.append({"id": number, "file_name": f"{number}.png", NOT_EXHAUSTIVE: []} | kept)
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    content = {"images": images, "annotations": [boxed(number) for number in range(3)], "categories": categories}
    result = converted(Coco(f"{tmp_path}/images", dump(tmp_path / "a.json", content)), tmp_path / "out")
    examples = [tf.train.Example.FromString(result.records[key].serialized) for key in "012"]
    assert ("detection" in result.records["0"].labels) == (annotated is not None)
    assert [record.annotated_of(example, "detection") for example in examples] == [annotated, (1, 2), (1,)]
    notes = [reason for reason in result.notes() if reason.startswith("image: ")]
    assert [reason.startswith(note) for reason in notes] == [True] * bool(note)


def test_a_json_of_other_images_is_reported_before_the_first_image(tmp_path: Path) -> None:
    save(tmp_path / "images" / "a.png", noise(HEIGHT, WIDTH))
    images = [{"id": number, "file_name": f"{number}.png"} for number in range(128)]
    json = dump(tmp_path / "a.json", {"images": images, "annotations": [], "categories": CATEGORIES})
    with pytest.raises(UserError, match=r"images contains none of the 128 annotated images \(such as 0.png\)"):
        Coco(str(tmp_path / "images"), json).find()


def test_boxes_and_bbox_mode_of_detectron2_must_agree(tmp_path: Path) -> None:
    """The objects would win over the option without a word, and one object over all others with a note."""
    save(tmp_path / "images" / "a.png", noise(HEIGHT, WIDTH))
    entries = [boxed(7) | {"bbox_mode": 1, "area": 450}, boxed(7) | {"bbox": [1, 2, 9, 8], "bbox_mode": 0}]
    content = {"images": [{"id": 7, "file_name": "a.png"}], "annotations": entries, "categories": CATEGORIES}
    folder, json = str(tmp_path / "images"), dump(tmp_path / "a.json", content)
    with pytest.raises(UserError, match="--boxes corners: the objects of .* say bbox_mode 1, which means sizes"):
        Coco(folder, json, boxes="corners").find()
    result = converted(Coco(folder, json), tmp_path / "out")
    boxes = result.records["7"].labels["detection"]["boxes"] * np.array([HEIGHT, WIDTH] * 2)
    np.testing.assert_allclose(boxes, [[20, 10, 35, 40], [2, 1, 8, 9]], atol=1e-3)
    assert result.notes()["object: its bbox_mode is another one than the file's, used"] == 1


CONTESTED = "image: other names in the JSON fit the same file"
# name -> (names in the JSON; a box at x = its place in the list; files; x of the boxes of each record's file)
NAMES: dict[str, tuple[list[str], list[str], dict[str, list[int]]]] = {
    "of two cameras, whose folder is not given": (
        ["b/1.png", "a/1.png", "c/2.png"],
        ["1.png", "2.png"],
        {"2.png": [2]},
    ),
    "one has the very name": (["b/1.png", "a/1.png"], ["a/1.png"], {"1.png": [1]}),
    "of another ending": (["1.jpg", "1.png"], ["1.png"], {"1.png": [1]}),
    "with more folders": (["1.png", "data/1.png", "my/data/1.png"], ["1.png"], {"1.png": [0, 1, 2]}),
    "in another spelling": (["A%20b.png", "a b.png"], ["a b.png"], {"a b.png": [0, 1]}),
}


@pytest.mark.parametrize("case", NAMES)
def test_annotations_of_another_image_are_not_those_of_a_file_that_its_name_fits(case: str, tmp_path: Path) -> None:
    names, files, wanted = NAMES[case]
    for name in files:
        save(tmp_path / "images" / name, noise(HEIGHT, WIDTH))
    images = [{"id": place, "file_name": name, "height": HEIGHT, "width": WIDTH} for place, name in enumerate(names)]
    annotations = [boxed(place) | {"id": place, "bbox": [place, 0, 9, 9]} for place in range(len(names))]
    content = {"images": images, "annotations": annotations, "categories": CATEGORIES}
    result = converted(Coco(str(tmp_path / "images"), dump(tmp_path / "a.json", content)), tmp_path / "out")
    found = {}
    for one in result.records.values():
        name = tf.train.Example.FromString(one.serialized).features.feature["image/filename"].bytes_list.value[0]
        found[name.decode()] = (one.labels["detection"]["boxes"][:, 1] * WIDTH).round().astype(int).tolist()
    lost = len(names) - sum(map(len, wanted.values()))
    assert (found, result.counts()) == (wanted, {CONTESTED: lost} if lost else {})
    assert result.outcome.image_drop_rate == lost / len(names)


def test_names_that_all_fit_another_file_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "images" / "1.png", noise(HEIGHT, WIDTH))
    images = [{"id": 1, "file_name": "a/1.png"}, {"id": 2, "file_name": "b/1.png"}]
    json = dump(tmp_path / "a.json", {"images": images, "annotations": [], "categories": CATEGORIES})
    message = "several of its images fit one file (1.png: a/1.png and b/1.png). Give --images the folder that"
    with pytest.raises(UserError, match=re.escape(message)):
        Coco(str(tmp_path / "images"), json).find()
