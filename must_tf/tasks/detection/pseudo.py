"""Pseudo labels of detection: all boxes above a low floor, with their scores. The paper's threshold of 0.5 applies on
reading.
"""

from __future__ import annotations

import numpy as np

from must_tf.spec import ImageInfo, Labels
from must_tf.tasks.detection.config import Config
from must_tf.tasks.detection.model import FLOOR


def kept(predictions: dict[str, np.ndarray]) -> np.ndarray:
    """Returns the indices of the detections above the floor that have an extent, highest scores first."""
    boxes, scores = predictions["boxes"], predictions["scores"]
    sides = boxes[:, 2:] - boxes[:, :2]
    present = np.arange(len(scores)) < predictions["count"]
    return np.flatnonzero(present & (scores >= FLOOR) & (sides.min(axis=-1) > 0))


def keep(predictions: dict[str, np.ndarray], info: ImageInfo, config: Config) -> Labels:
    """Returns labels in detection's format; the area is the box's."""
    del config
    indices = kept(predictions)
    boxes = np.asarray(predictions["boxes"][indices], np.float32)
    sides = boxes[:, 2:] - boxes[:, :2]
    return {
        "boxes": boxes,
        "classes": np.asarray(predictions["classes"][indices], np.int32),
        "scores": np.asarray(predictions["scores"][indices], np.float32),
        "is_crowd": np.zeros(len(indices), bool),
        "area": np.float32(sides[:, 0] * sides[:, 1] * info.height * info.width),
    }
