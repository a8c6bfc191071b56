"""Real photos exported and converted again. Skipped unless MUST_REAL_DATA is a folder with coco_small and rgbd_small.

The expected values come from the datasets' own files, read by pycocotools and OpenCV.
"""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from tests.support.converting import Converted, converted, read_image
from tests.support.exporting import assert_same, export
from tfrecords_tools.check import run as check
from tfrecords_tools.reading import recordset
from tfrecords_tools.sources.coco.coco import Coco
from tfrecords_tools.sources.rgbd import Rgbd

DATA = Path(os.environ.get("MUST_REAL_DATA", ""))
pytestmark = pytest.mark.skipif("MUST_REAL_DATA" not in os.environ, reason="MUST_REAL_DATA is not set")
# COCO's boxes enclose the polygons, but its masks are rasterised: single pixels are outside of the box.
STICKS_OUT = 0.02


def assert_all_same(again: Converted, wanted: Converted) -> None:
    """Asserts that records are the same, except for the name of their origin."""
    assert set(again.records) == set(wanted.records)
    for source_id, before in wanted.records.items():
        after = again.records[source_id]
        assert after.stored == before.stored
        assert set(after.labels) == set(before.labels)
        for task, labels in before.labels.items():
            assert_same(after.labels[task], labels)


def test_coco_goes_out_and_in_again_and_is_whole(tmp_path: Path) -> None:
    folder = DATA / "coco_small"
    annotations = folder / "annotations" / "instances_train2017.json"
    source = Coco(str(folder / "images/train2017"), str(annotations), str(folder / "panoptic/train2017"))
    first = converted(source, tmp_path / "first", shards=3)
    result = check.check_dataset(recordset.opened(f"{tmp_path}/first/*.tfrecord"), 1)
    assert result["findings"] == {}
    assert all(one["is_perfect"] for one in result["truth_as_prediction"].values())
    out = tmp_path / "out"
    assert export(f"{tmp_path}/first/*.tfrecord", out)["lost"] == {}
    original, again = COCO(str(annotations)), COCO(str(out / "instances.json"))
    assert len(again.anns) == len(original.anns)
    for image_id in original.imgs:
        assert again.imgs[image_id]["file_name"] == original.imgs[image_id]["file_name"]
        wanted, found = (api.loadAnns(api.getAnnIds(imgIds=[image_id])) for api in (original, again))
        for one, other in zip(found, wanted, strict=True):
            assert one["area"] == pytest.approx(other["area"], rel=1e-7)
            np.testing.assert_allclose(one["bbox"], other["bbox"], atol=1e-6)  # as few digits as in the original
            assert again.cats[one["category_id"]]["name"] == original.cats[other["category_id"]]["name"]
            mask, whole = again.annToMask(one).astype(bool), original.annToMask(other).astype(bool)
            assert not (mask & ~whole).any()
            assert (whole & ~mask).sum() <= STICKS_OUT * whole.sum()
    second = converted(Coco(str(out / "rgb"), str(out / "instances.json"), str(out / "panoptic")), tmp_path / "second")
    assert_all_same(second, first)


def test_depth_and_normals_go_out_and_in_again(tmp_path: Path) -> None:
    root = DATA / "rgbd_small"
    first = converted(Rgbd(str(root), "test_*"), tmp_path / "first")
    assert export(f"{tmp_path}/first/*.tfrecord", tmp_path / "out")["lost"] == {}
    for name in first.records:
        for folder in ("depth", "normal"):
            given, exported = (base / folder / f"{name}.png" for base in (root, tmp_path / "out"))
            np.testing.assert_array_equal(
                read_image(exported, cv2.IMREAD_UNCHANGED), read_image(given, cv2.IMREAD_UNCHANGED)
            )
    assert_all_same(converted(Rgbd(str(tmp_path / "out")), tmp_path / "second"), first)
