"""labelme's JSON beside the images. Photos have 128 x 64 pixels."""

from __future__ import annotations

import base64
import io
import json
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from must_tf.common.errors import UserError
from tests.support.converting import Converted, converted, dump, must_records
from tests.support.datasets.drawn import masks, origins, photos, rectangle, seen, write, written
from tfrecords_tools.sources.drawn.labelme import Labelme

Shape = dict[str, Any]
BOX: Shape = {"label": "cat", "shape_type": "rectangle", "points": [[80, 48], [48, 16]], "group_id": None, "flags": {}}
TURNED = "object: rectangle of other corners, the upright box around them is used"
SQUARE: Shape = {"label": "dog", "shape_type": "polygon", "points": [[32, 16], [64, 16], [64, 48], [32, 48]]}


def labelled(path: Path, *shapes: Shape, **more: Any) -> str:
    """Writes a JSON as labelme does."""
    image = f"{path.stem}.jpg"
    content: Shape = {"version": "5.4.1", "flags": {}, "shapes": list(shapes), "imagePath": image, "imageData": None}
    return dump(path, content | {"imageHeight": 64, "imageWidth": 128} | more)


def run(root: Path, *shapes: Shape, **more: Any) -> Converted:
    """Converts one photo with these shapes."""
    photos(root / "set", "a.jpg")
    labelled(root / "set" / "a.json", *shapes, **more)
    return converted(Labelme(str(root / "set")), root / "out")


def test_boxes_polygons_and_images_without_labels(tmp_path: Path) -> None:
    photos(tmp_path / "set", "a.jpg", "b.jpg", "c.jpg", "deep/d.jpg")
    labelled(tmp_path / "set" / "a.json", BOX, SQUARE)
    labelled(tmp_path / "set" / "b.json")
    labelled(tmp_path / "set" / "deep" / "d.json", BOX | {"label": "ant "}, imageData="aGVsbG8=")
    result = converted(Labelme(str(tmp_path / "set")), tmp_path / "out")
    # b was looked at and shows nothing; nobody looked at c. Ids follow the alphabet.
    wanted = [("cat", [48, 16, 80, 48]), ("dog", [32, 16, 64, 48])]
    assert seen(result) == {"a": wanted, "b": [], "deep/d": [("ant", [48, 16, 80, 48])]}
    assert result.outcome.manifest.classes["detection"] == ["ant", "cat", "dog"]
    assert (set(result.records), result.counts()) == ({"a", "b", "c", "deep/d"}, {})
    assert result.notes() == {"detection: no file for this image": 1, "object: no mask, box only": 1}
    assert origins(result) == {"detection": {"real:set": 3}, "masks": {"real:set": 2}}
    none, square = masks(result.records["a"])
    assert not none.any() and (square == rectangle(32, 16, 64, 48)).all()


@pytest.mark.parametrize(
    ("points", "notes"),
    [
        ([[48, 16], [80, 16], [80, 48], [48, 48]], {}),  # as some tools write a box
        ([[64, 16], [80, 32], [64, 48], [48, 32]], {TURNED: 1}),
        ([[48, 16], [80, 16], [80, 48]], {TURNED: 1}),
    ],
)
def test_a_rectangle_of_other_corners_than_two_is_noted(
    points: list[list[int]], notes: dict[str, int], tmp_path: Path
) -> None:
    result = run(tmp_path, BOX | {"points": points})
    assert (seen(result), result.notes()) == ({"a": [("cat", [48, 16, 80, 48])]}, notes)


def test_a_rectangle_without_numbers_is_dropped(tmp_path: Path) -> None:
    result = run(tmp_path, BOX | {"points": [[[1], [2]], [3, 4], [5, 6]]}, BOX)
    assert (len(seen(result)["a"]), result.counts()) == (1, {"object: shape cannot be read": 1})


def test_flags_and_groups_of_any_type_are_read(tmp_path: Path) -> None:
    name = unicodedata.normalize("NFD", "café")
    result = run(tmp_path, BOX | {"flags": ["hard"], "group_id": [1], "label": name}, flags="hard")
    assert seen(result) == {"a": [(unicodedata.normalize("NFC", name), [48, 16, 80, 48])]}
    assert result.notes() == {"image: flags not used": 1, "object: flags not used": 1}


def test_a_circle_is_its_centre_and_a_point_on_it(tmp_path: Path) -> None:
    result = run(tmp_path, {"label": "ball", "shape_type": "circle", "points": [[64, 32], [64, 48]]})
    ((name, box),) = seen(result)["a"]
    assert name == "ball" and np.abs(np.array(box) - [48, 16, 80, 48]).max() < 0.05
    y, x = np.mgrid[:64, :128] + 0.5
    disc = np.hypot(x - 64, y - 32) < 16
    assert (masks(result.records["a"])[0] != disc).sum() < 0.03 * disc.sum()


def png(mask: np.ndarray) -> str:
    """A mask as labelme stores it: a PNG in base64."""
    file = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def test_a_brush_mask_begins_and_ends_at_its_points(tmp_path: Path) -> None:
    mask = np.zeros([20, 30], bool)
    mask[:, :10] = mask[15:] = True  # an L
    shape = {"label": "L", "shape_type": "mask", "points": [[40, 10], [69, 29]], "mask": png(mask)}
    result = run(tmp_path, shape)
    wanted = np.zeros([64, 128], bool)
    wanted[10:30, 40:70] = mask
    np.testing.assert_array_equal(masks(result.records["a"])[0], wanted)
    assert seen(result) == {"a": [("L", [40, 10, 70, 30])]}


def test_shapes_of_a_group_are_one_object(tmp_path: Path) -> None:
    left = SQUARE | {"group_id": 3}
    right = SQUARE | {"group_id": 3, "points": [[96, 16], [112, 16], [112, 32], [96, 32]]}
    other = SQUARE | {"group_id": 4}
    result = run(tmp_path, left, other, right)
    assert seen(result) == {"a": [("dog", [32, 16, 112, 48]), ("dog", [32, 16, 64, 48])]}
    np.testing.assert_array_equal(masks(result.records["a"])[0], rectangle(32, 16, 64, 48) | rectangle(96, 16, 112, 32))


DROPPED, NOTED = "dropped", "noted"
KINDS: dict[str, tuple[Shape, str, str]] = {
    "a point": ({"label": "cat", "shape_type": "point", "points": [[1, 1]]}, NOTED, "object: point, not used"),
    "a line": (SQUARE | {"shape_type": "linestrip"}, NOTED, "object: linestrip, not used"),
    "to be ignored": (SQUARE | {"label": "__ignore__"}, NOTED, "object: __ignore__ shape, not used"),
    "two corners": (SQUARE | {"points": [[1, 1], [9, 9]]}, DROPPED, "object: shape cannot be read"),
    "no label": (SQUARE | {"label": ""}, DROPPED, "object: it has no class"),
    "an empty label": (SQUARE | {"label": None}, DROPPED, "object: it has no class"),
    "a bad mask": (SQUARE | {"shape_type": "mask", "mask": "aGk="}, DROPPED, "object: shape cannot be read"),
    "outside": (BOX | {"points": [[200, 10], [300, 30]]}, DROPPED, "object: box is outside of the image"),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_shape_that_is_not_an_object_is_counted_once_per_kind(name: str, tmp_path: Path) -> None:
    shape, how, reason = KINDS[name]
    result = run(tmp_path, BOX, shape)
    assert seen(result) == {"a": [("cat", [48, 16, 80, 48])]}
    assert result.counts() == ({reason: 1} if how == DROPPED else {})
    assert {key: count for key, count in result.notes().items() if "no mask" not in key} == (
        {reason: 1} if how == NOTED else {}
    )


def test_flags_are_counted(tmp_path: Path) -> None:
    marked = BOX | {"flags": {"truncated": True}, "difficult": True, "score": None}  # the latter by another tool
    result = run(tmp_path, marked, flags={"blurred": True, "dark": False})
    assert result.notes() == {
        "object: flags not used": 1,
        "image: flags not used": 1,
        "object: difficult is set and not used": 1,
    }


@pytest.mark.parametrize(
    "written", ["../photos/a.jpg", "C:\\photos\\a.jpg", "/home/x/a.jpg", "a%20b.jpg", "gone.jpg", "ä.jpg"]
)
def test_images_are_found_by_the_path_that_another_machine_wrote(written: str, tmp_path: Path) -> None:
    """The last two: the image of the JSON's own name, and the other Unicode form of a letter."""
    present = {"a%20b.jpg": "a b.jpg", "gone.jpg": "x.jpg", "ä.jpg": "a\u0308.jpg"}.get(written, "a.jpg")
    photos(tmp_path / "photos", present, "other.jpg")
    labelled(tmp_path / "json" / "x.json", BOX, imagePath=written)
    result = converted(Labelme(f"{tmp_path}/json", f"{tmp_path}/photos"), tmp_path / "out")
    assert list(seen(result)) == [present[:-4]]


def test_files_that_do_not_belong_are_counted(tmp_path: Path) -> None:
    photos(tmp_path / "set", "a.jpg")
    for name in ("a", "a2", "gone"):
        labelled(tmp_path / "set" / f"{name}.json", BOX, imagePath="a.jpg" if name != "gone" else "gone.jpg")
    dump(tmp_path / "set" / "config.json", {"a": 1})
    write(tmp_path / "set" / "bad.json", "{")
    result = converted(Labelme(str(tmp_path / "set")), tmp_path / "out")
    assert result.counts() == {
        "image: annotated by two files, the first is used": 1,
        "image: file is missing": 1,
        "detection: file cannot be read": 1,
    }
    assert result.notes() == {"file: a JSON of another tool, not used": 1}


def test_given_classes_have_the_ids_of_their_lines(tmp_path: Path) -> None:
    photos(tmp_path / "set", "a.jpg")
    labelled(tmp_path / "set" / "a.json", BOX, SQUARE)
    names = write(tmp_path / "names.txt", "zebra\ndog\n")
    result = converted(Labelme(str(tmp_path / "set"), classes=names), tmp_path / "out")
    assert result.records["a"].labels["detection"]["classes"].tolist() == [2]
    assert result.counts() == {"object: its class is not in the list": 1}
    write(tmp_path / "names.txt", "zebra\ncta\n")
    with pytest.raises(UserError, match="--classes has none of the 2 classes that occur, such as 'cat'"):
        Labelme(str(tmp_path / "set"), classes=names).find()


def test_a_folder_without_labels_is_refused_and_the_command_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photos(tmp_path / "set", "a.jpg")
    command = ["convert", "labelme", "--annotations", f"{tmp_path}/set", "--out", f"{tmp_path}/out"]
    assert must_records(command, monkeypatch) == 2
    assert "has no JSON of labelme" in capsys.readouterr().err
    labelled(tmp_path / "set" / "a.json", BOX)
    assert must_records([*command, "--json"], monkeypatch) == 0
    assert json.loads(capsys.readouterr().out)["objects"] == {"detection": {"cat": 1}}
    assert set(written(tmp_path / "out")["a"].labels) == {"detection"}
