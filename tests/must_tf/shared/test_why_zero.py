"""An AP of 0 explains itself, NaN is never passed over, and what a metric keeps is small."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

from must_tf.spec import ImageInfo
from must_tf.tasks.classification import metric as classification
from must_tf.tasks.depth import metric as depth
from must_tf.tasks.detection import metric as detection
from must_tf.tasks.masks import metric as masks
from must_tf.tasks.normals import metric as normals
from must_tf.tasks.segmentation import metric as segmentation
from tests.support.coco_objects import HEIGHT, WIDTH, objects
from tests.support.measuring import Labels, details, evaluate, measured, metres

OBJECTS = (detection, masks)
BOX = (8, 4, 40, 50)


def reason(module: Any, labels: Labels, predictions: Labels, *classes: str) -> str:
    """Why the headline of one image is 0 or missing."""
    assert not evaluate(module, [(labels, predictions)], *classes).get(module.Metric.headline)
    return details(module, [(labels, predictions)], *classes).reason


@pytest.mark.parametrize("module", OBJECTS)
def test_nothing_labelled(module: Any) -> None:
    assert reason(module, objects(), objects(BOX), "a") == "the dataset has no labelled object"
    crowd = objects(BOX, is_crowd=[True])
    assert reason(module, crowd, objects(BOX), "a") == "the dataset has no labelled object"


@pytest.mark.parametrize("module", OBJECTS)
def test_nothing_predicted_or_all_scores_too_low(module: Any) -> None:
    """Both are one here: what is below the floor never reaches a metric."""
    found = "no predictions: no score reaches 0.05, and lower ones are discarded"
    assert reason(module, objects(BOX), objects(), "a") == found


@pytest.mark.parametrize("module", OBJECTS)
def test_other_classes_predicted_than_labelled(module: Any) -> None:
    labels, found = objects(BOX, BOX, classes=[1, 7]), objects(BOX, BOX, classes=[2, 3])
    assert reason(module, labels, found, "ball", "box", "cone") == (
        "2 predictions, all of classes that are not labelled: predicted box, cone; labelled ball, 7"
    )


@pytest.mark.parametrize("module", OBJECTS)
def test_classes_shifted(module: Any) -> None:
    """Each class occurs on both sides, but never in the same place."""
    labels = objects(BOX, (100, 60, 40, 50), classes=[1, 2])
    found = objects(BOX, (100, 60, 40, 45), classes=[2, 1], scores=[0.9, 0.8])
    assert reason(module, labels, found, "ball", "box") == (
        "objects match, but their classes do not: 'box' overlaps a labelled 'ball' with IoU 1.00. "
        "Are the class ids shifted?"
    )


def test_overlap_too_small() -> None:
    """50 x 10 of 50 x 40 pixels are found: an IoU of 0.25; the masks of the full box are half full: 0.125 of it."""
    labels, found = objects(BOX), objects((8, 4, 10, 50), scores=[0.3])
    expected = (
        "no prediction (1 in all, highest score 0.30) overlaps a label of its class with IoU 0.5; the best IoU is 0.25"
    )
    assert reason(detection, labels, found, "a") == expected
    half = np.ones((50, 10), np.uint8)
    half[::2] = 0
    masked = reason(masks, labels, objects((8, 4, 10, 50), scores=[0.3], crops=[half]), "a")
    assert masked.endswith("the best IoU is 0.12")
    elsewhere = reason(detection, labels, objects((100, 60, 40, 50)), "a")
    assert elsewhere.endswith("the best IoU is 0.00")


def test_right_only_beyond_the_hundredth() -> None:
    """COCO looks at an image's 100 surest of a class."""
    rows = [(100 + place, 0, 2, 2) for place in range(100)]
    found = objects(*rows, BOX, scores=[0.9] * 100 + [0.1])
    expected = "predictions that overlap a label (best IoU 1.00) do not have the image's highest scores"
    assert reason(detection, objects(BOX), found, "a") == expected


@pytest.mark.parametrize("module", OBJECTS)
def test_what_is_right_needs_no_reason(module: Any) -> None:
    assert details(module, [(objects(BOX), objects(BOX))], "a").reason == ""


def test_reasons_of_the_other_tasks() -> None:
    one_hot = np.eye(3, dtype=np.float32)
    wrong = reason(classification, {"probability": one_hot[0]}, {"probability": one_hot[2]}, "hall", "cave", "yard")
    assert wrong == "no image is classified correctly; predicted yard (1); labelled hall (1)"
    wrong = reason(
        segmentation,
        {"classes": np.array([[0, 255]], np.int32)},
        {"classes": np.array([[1, 0]], np.int32)},
        "wall",
        "floor",
        "ball",
    )
    assert wrong == "no pixel is classified correctly; predicted floor; labelled wall"
    assert reason(
        segmentation, {"classes": np.array([[255]], np.int32)}, {"classes": np.array([[0]], np.int32)}, "wall"
    ) == ("every pixel of the labels is ignored")
    assert reason(depth, metres([[2, 3, 4]]), metres([[5, 7.5, 10]])) == (
        "no pixel is within 25 %; predictions are 2.5 times the truth in the median"
    )
    unknown = "no pixel of the labels is known within min_metres, max_metres and crop"
    assert reason(depth, metres([[0, 0]]), metres([[1, 1]])) == unknown
    nowhere = {"normals": np.zeros((1, 2, 3))}
    assert reason(normals, nowhere, nowhere) == "no pixel of the labels is known (all are 0,0,0)"


def test_classes_without_an_image_are_named() -> None:
    one_hot = np.eye(3, dtype=np.float32)
    pairs = [({"probability": one_hot[truth]}, {"probability": one_hot[guess]}) for truth, guess in ((0, 0), (0, 2))]
    beside = details(classification, pairs, "hall", "cave", "yard")
    assert (beside.classes, beside.absent) == ({"top1": {"hall": 0.5}}, ("cave", "yard"))


@pytest.mark.parametrize("module", [detection, masks, segmentation])
def test_what_a_metric_keeps_does_not_grow_with_the_images(module: Any) -> None:
    """Ten images of 1.2 megapixels with twenty objects each: less than 8 KB each, whole masks would be 24 MB.

    Half of it are the overlaps of each object with ten others.
    """
    height, width = 960, 1280
    scaled = objects(*[(4 * place, 0, 60, 100) for place in range(20)], classes=[1] * 20)
    scaled["crops"] = [np.ones((100 * height // HEIGHT, 60 * width // WIDTH), np.uint8)] * 20
    pixels = {"classes": np.zeros((height, width), np.int32)}
    labels = pixels if module is segmentation else scaled
    image = ImageInfo("a", height, width)
    metric = measured(module, [], "a")
    metric.add(labels, labels, image)
    tracemalloc.start()
    for _ in range(10):
        metric.add(labels, labels, image)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 10 * 8000
