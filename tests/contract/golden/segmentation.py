"""Golden cases of segmentation, see `golden_cases.py`."""

from __future__ import annotations

import dataclasses
import io
from typing import Any

import numpy as np
import tensorflow as tf
from official.vision.losses import segmentation_losses
from PIL import Image

from must_tf.data.scenes import CLASSES, Scene
from must_tf.spec import Labels
from must_tf.tasks.segmentation import Config

CONFIG = Config(enabled=True, classes=CLASSES["segmentation"], filters=8)
OWN = {CLASSES["segmentation"][2]: 0.9, CLASSES["segmentation"][5]: 0.15}
VARIANTS = (
    CONFIG,
    dataclasses.replace(CONFIG, stride=4, weighting="confidence"),
    dataclasses.replace(CONFIG, class_thresholds=tuple(f"{name}={number}" for name, number in OWN.items())),
)
UNBATCHED: tuple[str, ...] = ()
TOLERANCE = {"classes": 0.0, "confidence": 1 / 510 + 1e-6}  # 8 bits
RESTORED = 0.96  # mIoU; edges are lost where the network's resolution is below the image's

UNSURE = [0.0] * 8
LN9 = float(np.log(9.0))
SURE_OF_1 = [0.0, LN9] + [0.0] * 6  # 9 / 16
WRONG = [99.0] + [0.0] * 7
CASES: tuple[Any, ...] = (
    # -ln(1/8) = 2.079442 and -ln(9/16) = 0.575364; the two ignored pixels do not count, however wrong.
    (
        {"map": [[[UNSURE, WRONG], [SURE_OF_1, WRONG]]]},
        {"class_bytes": [[[0, 255], [1, 255]]]},
        {},
        {"cross_entropy": (2.079442 + 0.575364) / 2},
    ),
    # One cell of the head covers four target pixels: three -ln(1/16) = 2.772589 and one -ln(9/16).
    (
        {"map": [[[SURE_OF_1]]]},
        {"class_bytes": [[[0, 2], [1, 7]]]},
        {},
        {"cross_entropy": (3 * 2.772589 + 0.575364) / 4},
    ),
    # Half as sure, half as much; the mean is still over two pixels.
    (
        {"map": [[[UNSURE, WRONG], [SURE_OF_1, WRONG]]]},
        {"class_bytes": [[[0, 255], [1, 255]]], "confidence": [[[0.5, 1.0], [1.0, 1.0]]]},
        {"weighting": "confidence"},
        {"cross_entropy": (2.079442 / 2 + 0.575364) / 2},
    ),
    # The harder half of a teacher's known pixels is left out.
    (
        {"map": [[[UNSURE, WRONG], [SURE_OF_1, WRONG]]]},
        {"class_bytes": [[[0, 255], [1, 255]]], "pseudo": [True]},
        {"ignore_hardest": 0.5},
        {"cross_entropy": 0.575364},
    ),
)


def scene_labels(scene: Scene) -> Labels:
    """Returns the labels of a generated scene."""
    return scene.labels["segmentation"]


COUNTS = {0: 1, 1: 1, 2: 1, 3: 1, 4: 1, 5: 1, 6: 1, 7: 1}  # classes that are seen, in `example`


def example(height: int, width: int) -> Labels:
    """Returns what no scene has: ignored pixels, and a teacher's confidence on both sides of the threshold."""
    rows = np.arange(height)[:, None] + np.arange(width)[None, :]
    return {
        "classes": np.where(rows % 5 == 0, 255, rows % 8).astype(np.int32),
        "confidence": ((rows % 11) / 10.0).astype(np.float32),
    }


def empty(height: int, width: int) -> Labels:
    """Returns a map of ignored pixels."""
    return {"classes": np.full([height, width], 255, np.int32), "confidence": np.ones([height, width], np.float32)}


def by_hand(feature: Any) -> Labels:
    """Decodes a record's features without the code under test: keys, types and codes as published."""
    classes = Image.open(io.BytesIO(feature["image/segmentation/class/encoded"].bytes_list.value[0]))
    stored = feature["image/segmentation/confidence/encoded"].bytes_list.value
    confidence = Image.open(io.BytesIO(stored[0])) if stored else Image.new("L", classes.size, 255)
    return {"classes": np.array(classes, np.int32), "confidence": np.array(confidence, np.float32) / 255}


def oracle(labels: Labels, window: Any, config: Any) -> dict[str, Any]:
    """Computes targets by hand: what is believed, pixel by pixel."""
    classes = labels["classes"].copy()
    limits = np.full([256], config.confidence_threshold)
    for name, number in OWN.items() if config.class_thresholds else ():
        limits[config.classes.index(name)] = number
    classes[labels["confidence"] < limits[classes]] = 255
    found = {"class_bytes": window.pixels(classes, 255, config.stride)}
    if config.weighting == "confidence":
        found["confidence"] = window.pixels(labels["confidence"], 0.0, config.stride)
    return found


def difference(got: dict[str, Any], expected: dict[str, Any]) -> float:
    """Returns the share of pixels that differ; confidence to its 8 bits."""
    off = got["class_bytes"] != expected["class_bytes"]
    if "confidence" in expected:
        off |= np.abs(got["confidence"] - expected["confidence"]) > TOLERANCE["confidence"]
    return float(np.mean(off))


def decoded(config: Any, size: int) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of `decode` without the batch axis."""
    return {"probability": (size // 4, size // 4, len(config.classes))}


def reference(raw: dict[str, Any], targets: dict[str, Any], config: Any) -> dict[str, float]:
    """Computes Model Garden's own loss."""
    del config
    loss = segmentation_losses.SegmentationLoss(
        label_smoothing=0.0, class_weights=[], ignore_label=255, use_groundtruth_dimension=True
    )
    return {"cross_entropy": float(loss(tf.constant(raw["map"]), tf.constant(targets["class_bytes"])[..., None]))}
