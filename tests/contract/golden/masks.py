"""Golden cases of masks, see `golden_cases.py`."""

from __future__ import annotations

import dataclasses
import io
from typing import Any

import cv2
import numpy as np
import tensorflow as tf
from official.vision.losses import maskrcnn_losses
from PIL import Image

from must_tf.data.scenes import CLASSES, Scene
from must_tf.spec import Labels
from must_tf.tasks.masks import Config
from must_tf.tasks.masks.labels import cut, paste
from tests.contract.golden import detection

CONFIG = Config(enabled=True, classes=CLASSES["masks"], filters=8, sampled_rois=8, target_side=56, max_objects=6)
VARIANTS = (
    CONFIG,
    dataclasses.replace(
        CONFIG, target_side=28, class_thresholds=(f"{CLASSES['masks'][3]}=0.3",), mask_score_threshold=0.7
    ),
)
UNBATCHED: tuple[str, ...] = ()
TOLERANCE = detection.TOLERANCE | {"crops": 0.0, "mask_scores": 0.0}
RESTORED = 0.99  # AP; 28 x 28 per object
SIZE = 128  # of the input in the tests: masks are compared where they lie on it

LN3 = float(np.log(3.0))
HALF = [[1.0, 1.0], [0.0, 0.0]]
CASES: tuple[Any, ...] = (
    # Logits 0: ln 2 = 0.693147 whatever is true. No object: does not count. Logits ln 3, half of it true:
    # (-ln(3/4) - ln(1/4)) / 2 = (0.287682 + 1.386294) / 2 = 0.836988.
    (
        {
            "logits": [[[[0.0] * 2] * 2, [[99.0] * 2] * 2, [[LN3] * 2] * 2]],
            "mask_targets": [[HALF, [[0.0] * 2] * 2, HALF]],
            "classes": [[1, 0, 2]],
        },
        {},
        {},
        {"cross_entropy": (0.693147 + 0.836988) / 2},
    ),
)


def scene_labels(scene: Scene) -> Labels:
    """Returns the labels of a generated scene."""
    return scene.labels["masks"]


COUNTS = {1: 1, 2: 1, 3: 1, 4: 1}  # objects with a mask, in `example`


def example(height: int, width: int) -> Labels:
    """Returns what no scene has: detection's oddities, each with a disc."""
    labels = detection.example(height, width)
    rows, columns = np.mgrid[:height, :width]
    disc = (rows - height / 2) ** 2 + (columns - width / 2) ** 2 < (min(height, width) / 3) ** 2
    scores = np.array([0.65, 1.0, 0.75, 0.9], np.float32)
    return labels | {"crops": [cut(disc, box) for box in labels["boxes"]], "mask_scores": scores}


def empty(height: int, width: int) -> Labels:
    """Returns a label without objects."""
    return detection.empty(height, width) | {"crops": [], "mask_scores": np.zeros([0], np.float32)}


def by_hand(feature: Any) -> Labels:
    """Decodes a record's features without the code under test: keys, types and codes as published."""
    pngs = feature["image/object/mask_crop"].bytes_list.value
    crops = [np.array(Image.open(io.BytesIO(png)).convert("L")) for png in pngs]  # 1 bit: 0 and 255
    assert all(set(np.unique(crop)) <= {0, 255} for crop in crops)
    scores = feature["image/object/mask_score"].float_list.value or [1.0] * len(crops)
    return detection.by_hand(feature) | {
        "crops": [(crop // 255).astype(np.uint8) for crop in crops],
        "mask_scores": np.array(scores, np.float32),
    }


def oracle(labels: Labels, window: Any, config: Any) -> dict[str, Any]:
    """Computes targets by hand: every cell of a target looks up the original's mask at its position."""
    side = config.target_side
    # An object whose mask is below its threshold has no target.
    labels = labels | {"scores": np.where(labels["mask_scores"] < config.mask_score_threshold, 0.0, labels["scores"])}
    full = paste(labels, *window.original)
    masks = np.zeros([config.max_objects, side, side], np.uint8)
    for row, (index, box) in enumerate(detection.chosen(labels, window, config)):
        for i, j in np.ndindex(side, side):
            y, x = box[0] + (i + 0.5) / side * (box[2] - box[0]), box[1] + (j + 0.5) / side * (box[3] - box[1])
            masks[row, i, j] = 255 * full[index][window.source(y, x)]
    return detection.oracle(labels, window, config) | {"masks": masks}


def on_input(targets: dict[str, Any]) -> np.ndarray:
    """Pastes the target masks into the input: bool [M, SIZE, SIZE]."""
    pasted = np.zeros([len(targets["boxes"]), SIZE, SIZE], bool)
    for row, (box, mask) in enumerate(zip(targets["boxes"], targets["masks"], strict=True)):
        if targets["classes"][row] > 0:
            y, x = (np.mgrid[:SIZE, :SIZE] + 0.5).astype(np.float32)
            rows = ((y - box[0]) / (box[2] - box[0]) * len(mask) - 0.5).astype(np.float32)
            columns = ((x - box[1]) / (box[3] - box[1]) * len(mask) - 0.5).astype(np.float32)
            inside = (y > box[0]) & (y < box[2]) & (x > box[1]) & (x < box[3])
            values = cv2.remap(
                mask.astype(np.float32), columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
            )
            pasted[row] = inside & (values >= 127.5)
    return pasted


def difference(got: dict[str, Any], expected: dict[str, Any]) -> float:
    """Returns the share of objects whose class, box or mask (IoU below 0.9, from 150 pixels on) differs."""
    if detection.difference(got, expected) > 0:
        return 1.0
    first, second = on_input(got), on_input(expected)
    shared, either = (first & second).sum((1, 2)), (first | second).sum((1, 2))
    return float(np.sum((either >= 150) & (shared < 0.9 * either)) / max(np.sum(expected["classes"] > 0), 1))


def decoded(config: Any, size: int) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of `decode` without the batch axis; detection's are those of its own CONFIG."""
    del config
    found = detection.decoded(detection.CONFIG, size)
    return found | {"probability": (*found["scores"], 28, 28)}


def reference(raw: dict[str, Any], targets: dict[str, Any], config: Any) -> dict[str, float]:
    """Computes Model Garden's own loss, without the 0.01 that it adds to the number of pixels."""
    del targets, config
    pixels = 28 * 28 * np.sum(raw["classes"] > 0)
    loss = maskrcnn_losses.MaskrcnnLoss()
    logits, masks = tf.constant(raw["logits"]), tf.constant(raw["mask_targets"])
    return {"cross_entropy": float(loss(logits, masks, raw["classes"])) * (1 + 0.01 / pixels)}
