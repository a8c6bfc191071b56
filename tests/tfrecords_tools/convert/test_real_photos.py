"""The converters on real photos: skipped unless MUST_REAL_DATA names a folder with coco_small and rgbd_small.

What is expected comes from the data sets' own files, read by pycocotools and OpenCV.
"""

from __future__ import annotations

import collections
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from must_tf.tasks.masks.labels import paste
from tests.support.converting import Converted, converted, read_image
from tfrecords_tools.sources.coco.coco import Coco
from tfrecords_tools.sources.rgbd import Rgbd

DATA = Path(os.environ.get("MUST_REAL_DATA", ""))
pytestmark = pytest.mark.skipif("MUST_REAL_DATA" not in os.environ, reason="MUST_REAL_DATA is not set")
# COCO's boxes are those of the polygons, its masks are rasterised: single pixels stick out of the box.
STICKS_OUT = 0.02
PIXEL = 1e-3  # float32 of a coordinate of up to 640 pixels


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Converted:
    """The training photos with all their labels."""
    folder = DATA / "coco_small"
    images, panoptic = folder / "images" / "train2017", folder / "panoptic" / "train2017"
    annotations = folder / "annotations" / "instances_train2017.json"
    return converted(Coco(str(images), str(annotations), str(panoptic)), tmp_path_factory.mktemp("coco"))


def test_objects_of_photos_are_those_of_pycocotools(coco: Converted) -> None:
    api = COCO(str(DATA / "coco_small" / "annotations" / "instances_train2017.json"))
    assert (coco.counts(), coco.notes(), len(coco.records)) == ({}, {}, len(api.imgs))
    names = coco.outcome.manifest.classes["detection"]
    for source_id, record in coco.records.items():
        wanted = api.loadAnns(api.getAnnIds(imgIds=[int(source_id)]))
        height, width = record.image.shape[:2]
        labels = record.labels["masks"]
        x, y, w, h = np.array([annotation["bbox"] for annotation in wanted]).reshape(-1, 4).T
        pixels = labels["boxes"] * np.array([height, width] * 2)
        np.testing.assert_allclose(pixels, np.stack([y, x, y + h, x + w], -1), atol=PIXEL)
        assert [names[i - 1] for i in labels["classes"]] == [
            api.cats[annotation["category_id"]]["name"] for annotation in wanted
        ]
        for mask, annotation in zip(paste(labels, height, width), wanted, strict=True):
            whole = api.annToMask(annotation).astype(bool)
            assert not (mask & ~whole).any()
            assert (whole & ~mask).sum() <= STICKS_OUT * whole.sum()


def test_every_class_has_the_area_that_the_panoptic_json_states(coco: Converted) -> None:
    content = json.loads((DATA / "coco_small" / "annotations" / "panoptic_train2017.json").read_text())
    names = {category["id"]: category["name"] for category in content["categories"]}
    classes = coco.outcome.manifest.classes["segmentation"]
    for annotation in content["annotations"]:
        wanted: collections.Counter[str] = collections.Counter()
        for segment in annotation["segments_info"]:
            wanted[names[segment["category_id"]]] += segment["area"]
        class_ids = coco.records[str(annotation["image_id"])].labels["segmentation"]["classes"]
        ids, counts = np.unique(class_ids[class_ids != 255], return_counts=True)
        assert {classes[i]: n for i, n in zip(ids, counts.tolist(), strict=True)} == dict(wanted)


def test_depth_and_normals_are_those_of_the_files(tmp_path: Path) -> None:
    root = DATA / "rgbd_small"
    result = converted(Rgbd(str(root), "test_*"), tmp_path / "records")
    assert len(result.records) == len(list((root / "rgb").glob("test_*")))
    for source_id, record in result.records.items():
        depth = read_image(str(root / "depth" / f"{source_id}.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_allclose(record.labels["depth"]["metres"] * 1000, depth, atol=1e-3)
        colours = read_image(str(root / "normal" / f"{source_id}.png"))[..., ::-1]
        known, normals = colours.any(-1), record.labels["normals"]["normals"]
        np.testing.assert_array_equal(np.abs(normals).sum(-1) > 0, known)
        wanted = colours[known] / 127.5 - 1
        cosine = (wanted * normals[known]).sum(-1) / np.linalg.norm(wanted, axis=-1)
        assert cosine.min() > np.cos(np.radians(0.4))  # the stated precision of normals
