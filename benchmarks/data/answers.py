"""Predictions of networks that were never run: made up from photos, with the grain of trained networks' predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from benchmarks.data.input_data import FARTHEST, IMAGE_CLASSES, SCENE_CLASSES
from must_tf.data import geometry
from must_tf.tasks.masks.model import SIDE

CELL = 4  # pixels of the network's input
BLUR = 4.0  # cells
BANDS = 12  # of brightness: one class each
DETECTIONS, FOUND = 100, 30  # COCO has 7 objects an image; a detector finds about four times as many above the floor
BOX_CLASSES = 80  # as COCO has
Arrays = dict[str, np.ndarray]


def of_photos(photos: Sequence[np.ndarray], size: int) -> dict[str, Arrays]:
    """Returns predictions for photos uint8 [h, w, 3] in an input of `size` pixels: {task: {key: [B, ...]}}.

    They are those of `TaskSpec.decode`.
    """
    each = [_of_photo(photo, size, np.random.default_rng(number)) for number, photo in enumerate(photos)]
    return {task: {key: np.stack([one[task][key] for one in each]) for key in each[0][task]} for task in each[0]}


def _of_photo(photo: np.ndarray, size: int, rng: np.random.Generator) -> dict[str, Arrays]:
    light, shown = _light(photo, size)
    boxes = _boxes(shown, rng)
    return {
        "classification": {"probability": rng.dirichlet(np.full([IMAGE_CLASSES], 0.05)).astype(np.float32)},
        "detection": boxes,
        "masks": boxes | {"probability": _ellipses(rng)},
        "segmentation": {"probability": _classes(light)},
    } | _surfaces(light)


def _light(photo: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the brightness of each cell, 0 to 1, [n, n], and the size of the photo in the input, pixels [2]."""
    shown = np.asarray(geometry.fitted_size(np.array(photo.shape[:2]), size))
    rows, columns = -(-shown // CELL)
    grey = cv2.resize(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY), (int(columns), int(rows)), interpolation=cv2.INTER_AREA)
    light = cv2.GaussianBlur(grey.astype(np.float32) / 255.0, (0, 0), BLUR)
    below, right = size // CELL - rows, size // CELL - columns
    return np.pad(light, [(0, int(below)), (0, int(right))], mode="edge"), shown


def _surfaces(light: np.ndarray) -> dict[str, Arrays]:
    near = np.linspace(1.0, 0.0, len(light), dtype=np.float32)[:, None]  # the ground rises towards the horizon
    metres = 1.0 + (FARTHEST - 1.0) * (0.7 * near + 0.3 * light)
    slope = np.stack([*np.gradient(metres * 10.0)[::-1], -np.ones_like(light)], axis=-1).astype(np.float32)
    normals = slope / np.linalg.norm(slope, axis=-1, keepdims=True)
    return {"depth": {"metres": metres.astype(np.float32)}, "normals": {"normals": normals}}


def _classes(light: np.ndarray) -> np.ndarray:
    """Returns probabilities float32 [n, n, SCENE_CLASSES]: a band of similar brightness is one class."""
    centres = np.where(np.arange(SCENE_CLASSES) < BANDS, np.arange(SCENE_CLASSES) + 0.5, np.inf)
    logits = -8.0 * np.minimum(np.square(light[..., None] * BANDS - centres), 1.5)  # all others stay possible
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return (weights / weights.sum(axis=-1, keepdims=True)).astype(np.float32)


def _boxes(shown: np.ndarray, rng: np.random.Generator) -> Arrays:
    """Returns detections in pixels of the input, a few to forty percent of the photo's sides in size."""
    sides = shown * rng.uniform(0.06, 0.4, [DETECTIONS, 2])
    corners = rng.uniform(0.0, 1.0, [DETECTIONS, 2]) * (shown - sides)
    return {
        "boxes": np.concatenate([corners, corners + sides], axis=-1).astype(np.float32),
        "classes": rng.integers(1, BOX_CLASSES + 1, [DETECTIONS]).astype(np.int32),
        "scores": np.sort(rng.uniform(0.06, 1.0, [DETECTIONS]).astype(np.float32))[::-1].copy(),
        "count": np.array(FOUND, np.int32),
    }


def _ellipses(rng: np.random.Generator) -> np.ndarray:
    """Returns probabilities float32 [DETECTIONS, SIDE, SIDE] over the boxes."""
    y, x = (np.arange(SIDE)[:, None] + 0.5) / SIDE - 0.5, (np.arange(SIDE) + 0.5) / SIDE - 0.5
    radii = rng.uniform(0.3, 0.55, [DETECTIONS, 2, 1, 1])
    inside = 1.0 - np.hypot(y / radii[:, 0], x / radii[:, 1])
    return (1.0 / (1.0 + np.exp(-12.0 * inside))).astype(np.float32)


def classes() -> Mapping[str, tuple[str, ...]]:
    """Returns the class names of each task that has some."""
    counts = {"classification": IMAGE_CLASSES, "segmentation": SCENE_CLASSES}
    counts |= dict.fromkeys(("detection", "masks"), BOX_CLASSES)
    return {task: tuple(f"class-{number}" for number in range(count)) for task, count in counts.items()}
