"""Open Images' CSV files. Photos have 128 x 64 pixels."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from must_tf.common.errors import UserError
from must_tf.data import record
from tests.support.converting import Converted, converted, must_records, save
from tests.support.datasets.drawn import masks, photos, seen, write, written
from tfrecords_tools.sources.drawn.open_images import OpenImages
from tfrecords_tools.sources.files import GUESSED

CLASSES = "/m/01,Cat\n/m/02,Dog\n/m/03,Tree\n/m/04,Dog\n"  # two classes have the same name
BOXES = """ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside
a,xclick,/m/01,1,0.375,0.625,0.25,0.75,0,0,0,0,0
a,xclick,/m/02,1,0.25,0.5,0.25,0.75,1,0,1,1,0
b,xclick,/m/01,1,0.375,0.625,0.25,0.75,0,0,0,0,0
z,xclick,/m/01,1,0.375,0.625,0.25,0.75,0,0,0,0,0
"""
LABELS = """ImageID,Source,LabelName,Confidence
a,verification,/m/03,0
a,verification,/m/01,1
b,verification,/m/03,1
b,machine,/m/02,0
c,verification,/m/02,0
d,verification,/m/03,1
"""
MASKS = """MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax,PredictedIoU,Clicks
a_m01_x.png,a,/m/01,x,0.3750,0.6251,0.25,0.75,0.9,
a_m02_y.png,a,/m/02,y,0.0,0.25,0.0,0.5,0.9,
gone.png,b,/m/01,z,0.375,0.625,0.25,0.75,0.9,
"""


def source(root: Path, **files: str) -> OpenImages:
    """Writes photos a to e, whose CSV files also have an image z."""
    photos(root / "train", "a.jpg", "b.jpg", "deep/c.jpg", "d.jpg", "e.jpg")
    given = {"boxes": BOXES, "classes": CLASSES} | files
    paths: dict[str, Any] = {key: write(root / f"{key}.csv", text) for key, text in given.items()}
    if "masks" in files:
        paths["mask_images"] = f"{root}/pngs"
    return OpenImages(f"{root}/train", **paths)


def annotated(result: Converted) -> dict[str, tuple[str, ...]]:
    """Returns {source_id: names of the classes that were looked for}."""
    names = result.outcome.manifest.classes["detection"]
    found = {}
    for key, each in result.records.items():
        ids = record.annotated_of(tf.train.Example.FromString(each.serialized), "detection")
        found[key] = tuple(names[number - 1] for number in ids or ())
    return found


def test_classes_with_a_box_or_verified_as_absent_were_looked_for(tmp_path: Path) -> None:
    result = converted(source(tmp_path, image_labels=LABELS), tmp_path / "out")
    assert result.outcome.manifest.classes["detection"] == ["Cat", "Dog /m/02", "Tree", "Dog /m/04"]
    cat, dog = ("Cat", [48, 16, 80, 48]), ("Dog /m/02", [32, 16, 64, 48])
    assert seen(result) == {"a": [cat, dog], "b": [cat], "c": []}
    # b shows a tree without a box, and a machine says that there is no dog. Nothing is known about d and e.
    wanted = {"a": ("Cat", "Dog /m/02", "Tree"), "b": ("Cat",), "c": ("Dog /m/02",), "d": (), "e": ()}
    assert annotated(result) == wanted
    assert result.records["a"].labels["detection"]["is_crowd"].tolist() == [False, True]
    assert (result.counts(), result.notes()) == (
        {},
        {
            "detection: image label that was not verified, not used": 1,
            "detection: no class was looked for in this image": 2,
            "image: in the CSV, but not in the folder": 1,
            "object: a depiction, used like others": 1,
            "object: occluded, used like others": 1,
        },
    )


def test_a_box_that_is_not_there_is_no_object(tmp_path: Path) -> None:
    """The published boxes all have the confidence 1; of image labels, 0 means that people did not see it."""
    rows = BOXES.splitlines()
    rows[1] = rows[1].replace("xclick,/m/01,1", "xclick,/m/01,0")
    rows[2] = rows[2].replace("xclick,/m/02,1", "machine,/m/02,0.7").replace("1,0,1,1,0", "0,0,-1,0,0")
    given = source(tmp_path, boxes="\n".join(rows), image_labels=f"{LABELS}a,verification,/m/99,0\n")
    result = converted(given, tmp_path / "out")
    assert seen(result)["a"] == [("Dog /m/02", [32, 16, 64, 48])] and annotated(result)["a"] == ("Dog /m/02", "Tree")
    assert result.counts() == {"object: its confidence is 0, so it is not there": 1}
    notes = result.notes()
    assert {reason: count for reason, count in notes.items() if "image:" not in reason} == {
        "detection: image label of a class without a name, not used": 1,
        "detection: image label that was not verified, not used": 1,
        "detection: no class was looked for in this image": 2,
        "object: IsGroupOf is unknown, taken as 0": 1,
        "object: its confidence is not 1, used like others": 1,
        "object: neither drawn nor verified by people, used like others": 1,
    }


def test_masks_of_another_size_belong_to_the_box_that_they_overlap(tmp_path: Path) -> None:
    """The masks are drawn at half the photo's size. The second has no box in the list."""
    left, right = np.zeros([32, 64], np.uint8), np.zeros([32, 64], np.uint8)
    left[0:16, 0:16] = right[8:24, 24:40] = 255
    save(tmp_path / "pngs" / "0" / "a_m02_y.png", left)
    save(tmp_path / "pngs" / "0" / "a_m01_x.png", right)
    result = converted(source(tmp_path, masks=MASKS), tmp_path / "out")
    assert [name for name, _ in seen(result)["a"]] == ["Cat", "Dog /m/02", "Dog /m/02"]
    cat, none, dog = masks(result.records["a"])
    np.testing.assert_array_equal(cat, np.kron(right, np.ones([2, 2])) > 0)
    np.testing.assert_array_equal(dog, np.kron(left, np.ones([2, 2])) > 0)
    assert not none.any()
    assert result.counts() == {"masks: file is missing": 1}
    assert result.notes()["object: mask without a box, its own is used"] == 1
    assert "masks" not in result.records["b"].labels


def test_the_mask_of_a_box_that_is_not_there_is_no_object(tmp_path: Path) -> None:
    """It neither becomes one of its own nor the mask of another box of its class."""
    save(tmp_path / "pngs" / "a_m01_x.png", np.full([64, 128], 255, np.uint8))
    boxes = BOXES.replace("a,xclick,/m/01,1", "a,xclick,/m/01,0") + "a,xclick,/m/01,1,0.35,0.6,0.25,0.75,0,0,0,0,0\n"
    result = converted(source(tmp_path, boxes=boxes, masks=MASKS), tmp_path / "out")
    assert [name for name, _ in seen(result)["a"]] == ["Dog /m/02", "Cat"]
    assert "masks" not in result.records["a"].labels


def test_lines_that_were_cut_off_and_files_of_one_id_are_counted(tmp_path: Path) -> None:
    """A download that ended early, and names in another encoding."""
    given = source(tmp_path, boxes=f"{BOXES}c,xclick,/m/01,1,0.3", image_labels=f"{LABELS}e,verification,/m/02,\n")
    photos(tmp_path / "train", "deep/a.jpg")
    write(Path(given.classes), CLASSES.replace("Tree", "Bäume"), "cp1252")
    result = converted(given, tmp_path / "out")
    assert result.outcome.manifest.classes["detection"][2] == "Bäume"
    assert set(seen(result)) == {"a", "b", "c"} and result.counts() == {"object: line cannot be read": 2}
    assert result.notes()["image: another file has the same id, left out"] == 1
    assert result.notes()[GUESSED] == 1


MISTAKES: dict[str, tuple[dict[str, str], str]] = {
    "boxes": ({"boxes": "a,b\n1,2\n"}, "--boxes "),
    "labels": ({"image_labels": BOXES.replace("Confidence", "Sure")}, "has no column 'Confidence'"),
    "classes": ({"classes": "Cat\nDog\n"}, "has no lines like '/m/01g317,Person'"),
    "pixels": (
        {"boxes": BOXES.replace("0.375,0.625,0.25,0.75", "48,80,16,48")},
        "3 of 4 boxes reach beyond 1 (a: ['48', '16', '80', '48'])",
    ),
    "a column twice": ({"boxes": BOXES.replace("IsInside", "XMin")}, "has the column 'XMin' more than once"),
    "two names": ({"classes": CLASSES.replace("/m/03", "/m/01")}, "calls /m/01 both 'Cat' and 'Tree'"),
    "other images": ({"boxes": BOXES.replace("\na,", "\nx,").replace("\nb,", "\ny,")}, "has no image of --boxes"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_other_files_are_refused(name: str, tmp_path: Path) -> None:
    files, message = MISTAKES[name]
    with pytest.raises(UserError, match=re.escape(message)):
        source(tmp_path, **files).find()


def test_masks_need_their_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--masks and --mask-images belong together"):
        OpenImages(str(tmp_path), "b.csv", "c.csv", masks="m.csv").find()


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = source(tmp_path, image_labels=LABELS)
    words = [("images", given.images), ("boxes", given.boxes), ("classes", given.classes), ("out", f"{tmp_path}/out")]
    command = [word for key, value in words for word in (f"--{key}", value)]
    assert must_records(["convert", "open-images", *command, "--image-labels", given.image_labels], monkeypatch) == 0
    assert len(written(tmp_path / "out")) == 5
