"""Records exported as a YOLO dataset, read by a few lines of NumPy, and converted back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pycocotools import mask as mask_utils

from must_tf.common.errors import UserError
from must_tf.data import scenes
from must_tf.data.record import Labelled, encode
from must_tf.spec import ImageInfo
from must_tf.tasks import discover
from must_tf.tasks.masks.labels import NO_MASK
from tests.support.converting import converted, files_in, must_records, noise, read
from tests.support.datasets.drawn import masks
from tests.support.exporting import assert_same, lose_its_disk
from tests.support.tiny import ALL, Tiny, image_bytes, scene_record, write_set
from tfrecords_tools.export import outlines
from tfrecords_tools.export.yolo import MIXED, YoloOptions, box_values, export_yolo, lines
from tfrecords_tools.reading import recordset
from tfrecords_tools.sources.drawn.yolo import Yolo
from tfrecords_tools.writing.counts import Tally


def filled(polygon: np.ndarray, height: int, width: int) -> np.ndarray:
    """Returns bool [h, w]: the pixel centres inside of a polygon [N, 2], by the even-odd rule."""
    y, x = np.mgrid[:height, :width] + 0.5
    inside = np.zeros([height, width], bool)
    for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, 0), strict=True):
        if y0 != y1:
            crosses = (y0 > y) != (y1 > y)
            inside ^= crosses & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return inside


@pytest.mark.parametrize("seed", range(6))
def test_an_outline_gives_its_mask_again(seed: int) -> None:
    """Random masks have many parts, holes, and pixels that touch at a corner; two independent fillings agree."""
    mask = np.random.default_rng(seed).random([9, 13]) < (0.3, 0.5, 0.7)[seed % 3]
    polygon = np.array(outlines.outline(mask), np.float64)
    np.testing.assert_array_equal(filled(polygon, 9, 13), mask)
    encoded = mask_utils.frPyObjects([polygon.ravel().tolist()], 9, 13)
    np.testing.assert_array_equal(mask_utils.decode(encoded)[..., 0], mask)


def test_outlines_by_hand() -> None:
    ring = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]])
    part, hole = outlines.loops(ring)
    assert set(part) == {(0, 0), (3, 0), (3, 3), (0, 3)} and set(hole) == {(1, 1), (2, 1), (2, 2), (1, 2)}
    for two in (np.eye(2), np.eye(2)[::-1]):
        assert len(outlines.loops(two)) == 2  # pixels that touch at a corner
    assert outlines.outline(np.zeros([3, 3])) == []
    assert len(outlines.outline(np.ones([40, 50]))) == 4


@pytest.mark.parametrize("seed", range(3))
def test_a_box_has_the_digits_that_restore_it(seed: int) -> None:
    low = np.random.default_rng(seed).random(2) * 0.5
    box = np.array([*low, *(low + 0.1 + 0.3 * low)], np.float32)
    x, y, width, height = map(float, box_values(box).split())
    assert np.array_equal(np.array([y - height / 2, x - width / 2, y + height / 2, x + width / 2], np.float32), box)
    assert box_values(np.array([0.25, 0, 0.75, 0.5], np.float32)) == "0.250000 0.500000 0.500000 0.500000"


@pytest.fixture(scope="module")
def exported(tiny_records: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Exports generated scenes, which have all six tasks."""
    out = tmp_path_factory.mktemp("yolo") / "out"
    summary = export_yolo(
        {"train": recordset.opened(f"{tiny_records.records}/*.tfrecord")}, str(out), YoloOptions(), 1, []
    )
    assert {reason.partition(":")[0] for reason in summary["lost"]} == {
        "classification",
        "depth",
        "normals",
        "segmentation",
    }
    return out


def test_the_files_hold_the_objects(tiny_records: Tiny, exported: Path) -> None:
    content = yaml.safe_load((exported / "data.yaml").read_text())
    before = read(tiny_records.records, scenes.CLASSES)
    assert (content["path"], content["train"]) == (".", "images/train")
    assert list(content["names"].values()) == list(scenes.CLASSES["detection"])
    for source_id, record in before.items():
        assert (exported / f"images/train/{source_id}.png").read_bytes() == record.stored
        rows = (exported / f"labels/train/{source_id}.txt").read_text().splitlines()
        wanted = record.labels["masks"]
        assert [int(row.split()[0]) + 1 for row in rows] == wanted["classes"].tolist()
        height, width = record.image.shape[:2]
        for row, mask in zip(rows, masks(record), strict=True):
            polygon = np.array(row.split()[1:], np.float64).reshape(-1, 2) * [width, height]
            np.testing.assert_array_equal(filled(polygon, height, width), mask)


def test_converted_again_the_masks_are_the_same(tiny_records: Tiny, exported: Path, tmp_path: Path) -> None:
    again = converted(Yolo(str(exported / "data.yaml")), tmp_path / "again")
    before = read(tiny_records.records, scenes.CLASSES)
    assert set(again.records) == set(before) and again.counts() == {} and again.notes() == {}
    for source_id, record in again.records.items():
        for mask, wanted in zip(masks(record), masks(before[source_id]), strict=True):
            np.testing.assert_array_equal(mask, wanted)


def test_boxes_come_back_to_the_last_bit_and_a_second_run_changes_nothing(
    tiny_records: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = f"{tiny_records.records}/*.tfrecord"
    command = ["export-yolo", "--records", records, "--val", records, "--boxes", "--out", f"{tmp_path}/out"]
    assert must_records(command, monkeypatch) == 1  # the labels of other tasks are lost
    first = files_in(tmp_path / "out")
    assert must_records(command, monkeypatch) == 1
    assert files_in(tmp_path / "out") == first
    before = read(tiny_records.records, scenes.CLASSES)
    for split in ("train", "val"):
        again = converted(Yolo(f"{tmp_path}/out/data.yaml", split), tmp_path / split)
        for source_id, record in again.records.items():
            wanted = before[source_id].labels["detection"]
            keys = ("boxes", "classes")
            found = record.labels["detection"]
            assert_same({key: found[key] for key in keys}, {key: wanted[key] for key in keys})


def test_an_export_whose_disk_is_gone_is_not_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sets = {"train": recordset.opened(write_set(tmp_path / "in", [[scene_record(9, ALL)]]))}
    lose_its_disk(tmp_path / "out", monkeypatch)
    with pytest.raises(UserError, match="out was removed while it was being written, or its disk is gone"):
        export_yolo(sets, str(tmp_path / "out"), YoloOptions(), 1, [])
    assert not {path.name for path in (tmp_path / "out").iterdir()} & {"data.yaml", "export.json"}


def test_a_file_has_lines_of_one_kind() -> None:
    """Trainers would take the four numbers of a box beside a polygon for two corners of a polygon."""
    full, none = np.ones([4, 4], np.uint8), np.zeros([4, 4], np.uint8)
    labels: dict[str, Any] = {
        "boxes": np.array([[0, 0, 0.5, 0.5], [0.25, 0.25, 0.75, 0.75]], np.float32),
        "classes": np.array([1, 2]),
        "is_crowd": np.zeros([2], bool),
        "crops": [full, none],
        "mask_scores": np.array([1, NO_MASK], np.float32),
    }
    lost = Tally()
    assert [len(line.split()) for line in lines(labels, ImageInfo("a", 8, 8), lost)] == [5, 5]
    assert {reason: entry["count"] for reason, entry in lost.content.items()} == {MIXED: 1}
    labels["is_crowd"][1] = True  # it is left out anyway
    assert lines(labels, ImageInfo("a", 8, 8), Tally()) == ["0 0 0 0.5 0 0.5 0.5 0 0.5 0 0"]


def test_rectangular_masks_alone_come_back_without_an_option(tmp_path: Path) -> None:
    """Four corners and nothing else would be refused, because they may be an oriented box."""
    labels = {
        "boxes": np.array([[0, 0, 0.5, 0.5]], np.float32),
        "classes": np.array([1]),
        "scores": np.ones(1, np.float32),
        "is_crowd": np.zeros(1, bool),
        "area": np.array([150.0], np.float32),
        "crops": [np.ones([10, 15], np.uint8)],
        "mask_scores": np.ones(1, np.float32),
    }
    labelled = {task: Labelled(labels, "real:x") for task in ("detection", "masks")}
    serialized = encode(image_bytes(noise(20, 30)), ImageInfo("a", 20, 30), labelled, discover())
    sets = {"train": recordset.opened(write_set(tmp_path / "in", [[serialized]], ("detection", "masks")))}
    export_yolo(sets, f"{tmp_path}/out", YoloOptions(), 1, [])
    (again,) = converted(Yolo(f"{tmp_path}/out/data.yaml"), tmp_path / "again").records.values()
    np.testing.assert_array_equal(masks(again)[0], np.pad(np.ones([10, 15], bool), [(0, 10), (0, 15)]))


def test_records_without_boxes_are_refused(tmp_path: Path) -> None:
    write_set(tmp_path / "depth", [[scene_record(0, ("depth",))]], ("depth",))
    with pytest.raises(UserError, match="has no boxes"):
        export_yolo(
            {"train": recordset.opened(f"{tmp_path}/depth/*.tfrecord")}, str(tmp_path / "o"), YoloOptions(), 1, []
        )
