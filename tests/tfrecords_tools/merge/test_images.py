"""Records of one photo come together by its content, whatever the sets call it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.converting import converted, dump, noise, read, save
from tests.support.merging import image_record, make, merged, metres, notes, objects, picture
from tfrecords_tools.merge.images import united
from tfrecords_tools.sources.coco.coco import Coco
from tfrecords_tools.sources.images import UnlabelledImages

RENAMED = "image: the same photo under another id"
BOXES = {"detection": (objects([1]), "real:boxes")}
DEPTH = {"depth": (metres(2.0), "real:depth")}

# Records (place, id, set) of one content, and the images that they belong to: by hand.
UNITED = {
    "two names": ([(0, "a", 0), (5, "b", 1)], {0: 0, 5: 0}),
    "one name": ([(0, "a", 0), (5, "a", 1)], {0: 0, 5: 0}),
    "twice in a set": ([(0, "a", 0), (1, "b", 0)], {0: 0, 1: 1}),
    "twice in each set": ([(0, "a", 0), (1, "b", 0), (5, "c", 1), (6, "d", 1)], {0: 0, 1: 1, 5: 0, 6: 1}),
    "its id first": ([(0, "a", 0), (1, "b", 0), (5, "c", 1), (6, "a", 1)], {0: 0, 1: 1, 5: 1, 6: 0}),
    "one too many": ([(0, "a", 0), (5, "b", 1), (6, "c", 1), (9, "d", 2)], {0: 0, 5: 0, 6: 6, 9: 0}),
    "an id twice in a set": ([(0, "a", 0), (1, "a", 0), (5, "b", 1), (6, "b", 1)], {0: 0, 1: 0, 5: 0, 6: 0}),
    "known by a later name": ([(0, "a", 0), (5, "b", 1), (9, "b", 2)], {0: 0, 5: 0, 9: 0}),
}


@pytest.mark.parametrize("name", UNITED)
def test_records_of_one_content(name: str) -> None:
    records, wanted = UNITED[name]
    assert united(records) == wanted


def test_a_dataset_converted_twice_is_one(tmp_path: Path) -> None:
    """As COCO, which counts its images, and as a folder, which takes the files' names."""
    for number in range(6):
        save(tmp_path / "photos" / f"p{number}.png", noise(20, 30, number))
    images = [{"id": 10 + n, "file_name": f"p{n}.png", "height": 20, "width": 30} for n in range(6)]
    boxes = [{"id": n, "image_id": 10 + n, "category_id": 1, "bbox": [1, 1, 3, 4]} for n in range(6)]
    content = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "cat"}]}
    root = str(tmp_path / "photos")
    converted(Coco(root, dump(tmp_path / "boxes.json", content)), tmp_path / "coco")
    converted(UnlabelledImages(root), tmp_path / "folder")
    written = merged(tmp_path / "out", [f"{tmp_path}/{name}/*.tfrecord" for name in ("coco", "folder")], shards=2)
    assert (written.records, notes(written)) == (6, {RENAMED: 6})
    assert set(read(tmp_path / "out", written.classes)) == {str(10 + number) for number in range(6)}
    written = merged(tmp_path / "back", [f"{tmp_path}/{name}/*.tfrecord" for name in ("folder", "coco")])
    back = read(tmp_path / "back", written.classes)
    assert {name: set(each.labels) for name, each in back.items()} == {f"p{n}": {"detection"} for n in range(6)}


def test_sets_that_number_their_photos_differently(tmp_path: Path) -> None:
    """The second set calls photos 1 and 2 of the first 2 and 1, and another photo 3."""
    first = [image_record(str(number), BOXES) for number in (1, 2, 3)]
    second = [image_record(name, DEPTH, image) for name, image in (("2", 1), ("1", 2), ("3", 9))]
    given = [make(tmp_path / "a", first, {"detection": ["cat"]}), make(tmp_path / "b", second, {})]
    written = merged(tmp_path / "out", given)
    records = read(tmp_path / "out", written.classes)
    (renamed,) = set(records) - {"1", "2", "3"}
    assert {name: each.stored for name, each in records.items()} == {
        **{str(number): picture(number) for number in (1, 2, 3)},
        renamed: picture(9),
    }
    assert [set(records[name].labels) for name in ("1", "2", "3")] == [{"detection", "depth"}] * 2 + [{"detection"}]
    assert notes(written) == {RENAMED: 2, "image: id belongs to another image": 1}


def test_a_photo_that_is_twice_in_a_set_stays_twice(tmp_path: Path) -> None:
    """Its two records may be labelled differently. The other set's depth belongs to the one with its id."""
    twice = [image_record(name, {"depth": (metres(far), "real:a")}, 7) for name, far in (("x", 1.0), ("y", 2.0))]
    given = [
        make(tmp_path / "a", twice, {}),
        make(tmp_path / "b", [image_record("y", BOXES, 7)], {"detection": ["cat"]}),
    ]
    written = merged(tmp_path / "out", given)
    records = read(tmp_path / "out", written.classes)
    assert {name: set(each.labels) for name, each in records.items()} == {"x": {"depth"}, "y": {"depth", "detection"}}
    np.testing.assert_allclose(records["y"].labels["depth"]["metres"], 2.0, atol=5e-4)
    assert notes(written) == {"image: the same photo more than once": 1}


def test_an_id_that_was_united_away_is_free_for_another_photo(tmp_path: Path) -> None:
    """The second set's 7 is the first one's 1; the third set has another photo 7."""
    given = [
        make(tmp_path / "a", [image_record("1", BOXES)], {"detection": ["cat"]}),
        make(tmp_path / "b", [image_record("7", DEPTH, 1)], {}),
        make(tmp_path / "c", [image_record("7", DEPTH, 5)], {}),
    ]
    written = merged(tmp_path / "out", given)
    records = read(tmp_path / "out", written.classes)
    assert {name: each.stored for name, each in records.items()} == {"1": picture(1), "7": picture(5)}
