"""Results of hand-made labels: arrays in pixels of the photo, and the formats of other tools."""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
import types
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as mask_utils
from pycocotools.coco import COCO

from must_tf.common.errors import UserError
from must_tf.prediction.images import Photo
from must_tf.prediction.result import TILE, Result
from must_tf.spec import Labels, TaskConfig
from must_tf.tasks import discover
from tests.support.tiny import ROOT

HEIGHT, WIDTH = 20, 40
NAMES = ("ball", "cup")
IMAGE = np.full([HEIGHT, WIDTH, 3], 90, np.uint8)
CROP = np.array([[1, 1, 0], [1, 1, 1]], np.uint8)  # of the second object: 2 rows, 3 columns


def objects() -> Labels:
    """A ball over the left half, and a cup at rows 5 to 6 and columns 10 to 12."""
    left = np.ones([HEIGHT, WIDTH // 2], np.uint8)
    return {
        "boxes": np.array([[0, 0, 1, 0.5], [5 / 20, 10 / 40, 7 / 20, 13 / 40]], np.float32),
        "classes": np.array([1, 2], np.int32),
        "scores": np.array([0.9, 0.6], np.float32),
        "is_crowd": np.zeros(2, bool),
        "area": np.array([400, 5], np.float32),
        "crops": [left, CROP],
        "mask_scores": np.array([0.9, 0.8], np.float32),
    }


def maps() -> dict[str, Labels]:
    """Depth grows to the right by 10 mm a pixel; normals face the camera; the right half is of class 1."""
    metres = np.tile(np.arange(1, WIDTH + 1, dtype=np.float32) / 100, [HEIGHT, 1])
    classes = np.zeros([HEIGHT, WIDTH], np.int32)
    classes[:, 20:] = 1
    return {
        "depth": {"metres": metres, "inverse_depth": np.zeros_like(metres)},
        "normals": {"normals": np.tile(np.array([0, 0, -1], np.float32), [HEIGHT, WIDTH, 1])},
        "segmentation": {"classes": classes, "confidence": np.full([HEIGHT, WIDTH], 0.75, np.float32)},
    }


def config(task: str, **fields: Any) -> TaskConfig:
    """A config with the names, if the task has classes."""
    return discover()[task].Config(classes=NAMES if discover()[task].class_ids else (), **fields)


def result(**labels: Labels) -> Result:
    """A result with these labels by task."""
    return Result(Photo("a/photo.jpg", IMAGE), labels, {task: config(task) for task in labels})


def boxes_only() -> Labels:
    return {key: value for key, value in objects().items() if key not in ("crops", "mask_scores")}


def everything() -> Result:
    """A result of all six tasks."""
    classes = {"probability": np.array([0.25, 0.75], np.float32)}
    return result(classification=classes, detection=boxes_only(), masks=objects(), **maps())


def test_boxes_in_pixels_and_masks_at_the_photos_resolution() -> None:
    """x0, y0, x1, y1. Ids count from 0 here and from 1 in the labels."""
    found = everything()
    np.testing.assert_allclose(found.boxes, [[0, 0, 20, 20], [10, 5, 13, 7]], atol=1e-5)
    assert found.classes.tolist() == [0, 1] and found["detection"]["classes"].tolist() == [1, 2]
    assert found.names == ["ball", "cup"]
    np.testing.assert_allclose(found.scores, [0.9, 0.6])
    assert found.masks.shape == (2, HEIGHT, WIDTH) and found.masks.dtype == bool
    assert found.masks[0].sum() == 400 and found.masks[0, :, :20].all()
    assert sorted(np.argwhere(found.masks[1]).tolist()) == [[5, 10], [5, 11], [6, 10], [6, 11], [6, 12]]
    assert found.masks is found.masks  # made once


def test_maps_and_classes() -> None:
    found = everything()
    assert found.depth.shape == found.segmentation.shape == found.confidence.shape == (HEIGHT, WIDTH)
    assert found.depth[0, 0] == np.float32(0.01) and found.segmentation[0].tolist() == [0] * 20 + [1] * 20
    assert found.normals[3, 4].tolist() == [0, 0, -1]
    assert found.label == "cup" and found.probability.tolist() == [0.25, 0.75]


def test_a_missing_head_and_a_misspelt_name_are_explained() -> None:
    found = result(**{"depth": maps()["depth"]})
    with pytest.raises(
        AttributeError, match="'boxes' needs detection or masks, which was not predicted. Its tasks: depth"
    ):
        _ = found.boxes
    with pytest.raises(AttributeError, match="no 'dept'. Did you mean 'depth'"):
        _ = found.dept
    with pytest.raises(KeyError, match="'normals' was not predicted"):
        _ = found["normals"]
    assert not hasattr(found, "masks") and "depth" in dir(found)


def test_relative_depth_is_not_called_metres() -> None:
    """The nearest pixel is the largest of 16 bits, unknown pixels are 0."""
    inverse = np.full([HEIGHT, WIDTH], 1.0, np.float32)
    inverse[0, 0], inverse[1, 1] = 4.0, 0.0
    labels = {"metres": np.zeros_like(inverse), "inverse_depth": inverse}
    relative = Result(Photo("p", IMAGE), {"depth": labels}, {"depth": config("depth", loss="ssi")})
    assert relative.inverse_depth is inverse
    with pytest.raises(AttributeError, match="relative depth.*`inverse_depth`"):
        _ = relative.depth
    (png,) = relative.pngs().values()
    assert png.dtype == np.uint16 and (png[0, 0], png[1, 1], png[2, 2]) == (65535, 0, 16384)
    assert set(relative.to_dict()["depth"]) == {"inverse_depth"}
    with pytest.raises(AttributeError, match="metres. Use `depth`"):
        _ = everything().inverse_depth


def test_pngs() -> None:
    """Millimetres, colours (n + 1) * 127.5, and class ids. Depth that 16 bits cannot hold is unknown."""
    labels = maps()
    labels["depth"]["metres"][0, 0], labels["depth"]["metres"][0, 1] = 65.535, 70.0
    made = result(**labels).pngs()
    assert made["depth"].dtype == np.uint16 and made["depth"][0, :3].tolist() == [65535, 0, 30]
    assert made["normals"].dtype == np.uint8 and made["normals"][0, 0].tolist() == [128, 128, 0]
    assert made["segmentation"].dtype == np.uint8 and made["segmentation"][0, 19:21].tolist() == [0, 1]


def test_coco_results_by_pycocotools() -> None:
    """The RLE is the mask, and COCO's own tools load the results."""
    found = everything().to_coco(7)
    assert [one["category_id"] for one in found] == [1, 2] and [one["category"] for one in found] == ["ball", "cup"]
    assert found[1]["bbox"] == [10, 5, 3, 2] and found[1]["area"] == 5 and found[1]["score"] == 0.6
    for one, mask in zip(found, everything().masks, strict=True):
        np.testing.assert_array_equal(mask_utils.decode(one["segmentation"]), mask)
    coco = COCO()
    coco.dataset = {
        "images": [{"id": 7, "height": HEIGHT, "width": WIDTH}],
        "annotations": [],
        "categories": [{"id": 1}, {"id": 2}],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        assert len(coco.loadRes(json.loads(json.dumps(found))).getAnnIds([7])) == 2


def test_coco_results_of_boxes_and_of_none() -> None:
    assert "segmentation" not in result(detection=boxes_only()).to_coco()[0]
    assert result(**maps()).to_coco() == []


def test_a_dictionary_for_json() -> None:
    """Maps by shape and type, or as lists. Masks are RLE in both cases."""
    content = json.loads(json.dumps(everything().to_dict()))
    assert (content["image"], content["height"], content["width"]) == ("a/photo.jpg", HEIGHT, WIDTH)
    assert content["depth"] == {"depth": {"shape": [HEIGHT, WIDTH], "dtype": "float32"}}
    assert content["classification"] == {"probability": [0.25, 0.75], "label": "cup"}
    assert content["objects"][1]["segmentation"]["size"] == [HEIGHT, WIDTH]
    whole = json.loads(json.dumps(everything().to_dict(maps=True)))
    assert whole["segmentation"]["segmentation"][0] == [0] * 20 + [1] * 20


class Detections:
    """Stands in for `supervision.Detections`."""

    def __init__(self, **fields: Any):
        vars(self).update(fields)


def test_supervision(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package is optional; a stand-in receives its arguments."""
    package: Any = types.ModuleType("supervision")
    package.Detections = Detections
    monkeypatch.setitem(sys.modules, "supervision", package)
    found = everything().to_supervision()
    np.testing.assert_allclose(found.xyxy[1], [10, 5, 13, 7], atol=1e-5)
    assert found.mask.shape == (2, HEIGHT, WIDTH) and found.class_id.tolist() == [0, 1]
    assert found.data["class_name"].tolist() == ["ball", "cup"]
    assert result(detection=boxes_only()).to_supervision().mask is None
    with pytest.raises(UserError, match="holds objects, and this model predicts depth"):
        result(depth=maps()["depth"]).to_supervision()
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(UserError, match="pip install supervision"):
        everything().to_supervision()


def test_pictures() -> None:
    """One task in the photo's size; all tasks beside the photo, each as large as a tile."""
    found = everything()
    for task in found.tasks:
        assert found.draw(task).size == (WIDTH, HEIGHT)
    assert found.draw().size[0] > 7 * TILE
    np.testing.assert_array_equal(found.image, IMAGE)  # drawing changes no photo


def test_without_objects() -> None:
    """An image in which nothing was found has arrays of length 0."""
    nothing = {key: value[:0] for key, value in objects().items()}
    found = result(masks=nothing)
    assert found.boxes.shape == (0, 4) and found.masks.shape == (0, HEIGHT, WIDTH)
    assert found.names == [] and found.to_coco() == [] and found.to_dict()["objects"] == []
    found.draw()


def test_the_documentation_lists_every_array() -> None:
    """The table of docs/predict.md has those that the tasks declare, with their types."""
    page = (ROOT / "docs" / "predict.md").read_text()
    rows = dict(re.findall(r"^\| `result\.(\w+)` \| ([^|]+) \|", page, re.M))
    assert set(rows) == {name for spec in discover().values() for name in spec.summary.arrays}
    found = everything()
    sizes = {"N": 2, "C": 2, "h": HEIGHT, "w": WIDTH}
    for name, text in rows.items():
        kind, _, shape = text.partition(" [")
        if shape and hasattr(found, name):
            wanted = tuple(sizes.get(side, 0) or int(side) for side in shape.rstrip("]").split(", "))
            assert np.shape(getattr(found, name)) == wanted, name
            assert kind == "list of text" or getattr(found, name).dtype == kind, name
