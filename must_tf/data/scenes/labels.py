"""The labels of a ray-cast world for all six tasks, in the format of the tasks' `labels.py`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from must_tf.data.scenes.domains import FIRST_OBJECT, ROOMS, SKY
from must_tf.data.scenes.trace import Hits
from must_tf.data.scenes.world import World

# An object is labelled if at least this much of it is visible: pixels at 128 x 128, and the share of its pixels.
MIN_PIXELS, MIN_SHARE = 12, 0.2
OF_MASKS = ("crops", "mask_scores")  # keys that detection's labels do not have

Labels = dict[str, dict[str, Any]]


def labels(world: World, hits: Hits, size: tuple[int, int]) -> Labels:
    """Returns the exact labels of a (height, width) picture, {task: label}."""
    objects = _objects(world, hits, size)
    return {
        "classification": {"probability": np.eye(len(ROOMS), dtype=np.float32)[world.room]},
        "detection": {key: value for key, value in objects.items() if key not in OF_MASKS},
        "masks": objects,
        "segmentation": _segmentation(world, hits, size),
        "depth": {
            "metres": np.where(hits.body < 0, 0, hits.metres).reshape(size),
            "inverse_depth": np.zeros(size, np.float32),
        },
        "normals": {"normals": _camera_normals(world, hits, size)},
    }


def _segmentation(world: World, hits: Hits, size: tuple[int, int]) -> dict[str, object]:
    # The sky comes last, because its index is -1.
    surfaces = np.array([body.surface for body in world.bodies] + [SKY], np.int32)
    return {
        "classes": surfaces[hits.body].reshape(size),
        "confidence": np.ones(size, np.float32),
    }


def _camera_normals(world: World, hits: Hits, size: tuple[int, int]) -> NDArray[np.float32]:
    """Converts normals from the world frame (y up) to the camera frame (x right, y down, z forward), [h, w, 3]."""
    c, s = np.float32(math.cos(world.tilt)), np.float32(math.sin(world.tilt))
    x, y, z = hits.normals
    return np.stack([x, -c * y - s * z, c * z - s * y], axis=-1).reshape(*size, 3)


def _objects(world: World, hits: Hits, size: tuple[int, int]) -> dict[str, object]:
    boxes, classes, area, crops = [], [], [], []
    body_map = hits.body.reshape(size)
    enough = MIN_PIXELS * (min(size) / 128) ** 2
    for index, body in enumerate(world.bodies):
        mask = body_map == index
        visible = int(mask.sum())
        worth = visible >= max(1, enough, MIN_SHARE * hits.seen[index])
        if body.surface < FIRST_OBJECT or not worth:
            continue
        y0, x0, y1, x1 = _extents(mask)
        boxes.append((y0 / size[0], x0 / size[1], y1 / size[0], x1 / size[1]))
        classes.append(body.surface - FIRST_OBJECT + 1)  # 0 is background
        area.append(visible)
        crops.append(mask[y0:y1, x0:x1].astype(np.uint8))
    return {
        "boxes": np.array(boxes, np.float32).reshape(-1, 4),
        "classes": np.array(classes, np.int32),
        "scores": np.ones(len(boxes), np.float32),
        "is_crowd": np.zeros(len(boxes), bool),
        "area": np.array(area, np.float32),
        "crops": crops,
        "mask_scores": np.ones(len(boxes), np.float32),
    }


def _extents(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Returns the bounds y0, x0, y1, x1 of the mask in pixels, ends exclusive."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1
