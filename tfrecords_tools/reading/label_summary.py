"""What a label says, whatever its task: which classes, how many objects, how much of the image, how sure.

Labels tell by their own arrays what they are: `boxes` are objects, a vector `probability` is the whole image's, an
array as large as the image is a map. A task of another kind is counted by its origin alone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from must_tf.spec import ImageInfo, Labels
from must_tf.tasks.segmentation.labels import IGNORE

BINS = 10  # of confidence, 0 to 1
OBJECTS, IMAGES, PIXELS = "objects", "images", "pixels"


class Facts(NamedTuple):
    """What one task's label of one image says.

    `classes`: place in the class names -> how many of `unit`. `known`: share of the image's pixels, of maps alone.
    `confidence`: the mean, None where the label has none; `bins`: int64 [BINS], how many of `unit` are how sure.
    """

    unit: str
    classes: dict[int, int]
    objects: int | None = None
    known: float | None = None
    confidence: float | None = None
    bins: np.ndarray = np.zeros(BINS, np.int64)  # never written to


def of(labels: Labels, info: ImageInfo) -> Facts:
    """The facts of one label in the original image's frame."""
    if "boxes" in labels:
        return _of_objects(labels)
    if is_distribution(labels):
        return _of_image(np.asarray(labels["probability"]))
    values = map_of(labels, info)
    return Facts("", {}) if values is None else _of_map(labels, values)


def is_distribution(labels: Labels) -> bool:
    """Whether the label is `probability` [C] of the whole image."""
    return "probability" in labels and np.ndim(labels["probability"]) == 1


def map_of(labels: Labels, info: ImageInfo) -> np.ndarray | None:
    """The label's array [h, w, ...]: class ids, else the first that knows a pixel (of depth, metres or inverse depth is
    all 0), else the first; None where there is none."""
    size = (info.height, info.width)
    found = {key: value for key, value in labels.items() if np.shape(value)[:2] == size and np.ndim(value) > 1}
    if "classes" in found:
        return found["classes"]
    return next((value for value in found.values() if np.any(value)), next(iter(found.values()), None))


def known_pixels(labels: Labels, values: np.ndarray) -> np.ndarray:
    """bool [h, w]: class ids other than ignore, and what is not zero of any other map."""
    if "classes" in labels:
        return np.not_equal(values, IGNORE)
    return np.any(values.reshape(*values.shape[:2], -1), axis=-1)


def _of_objects(labels: Labels) -> Facts:
    scores = np.asarray(labels["scores"], np.float32)
    confidence = float(scores.mean()) if scores.size else None
    counts = _counted(np.asarray(labels["classes"]) - 1)  # id 0 is the background
    return Facts(OBJECTS, counts, len(labels["boxes"]), None, confidence, _binned(scores))


def _of_image(probability: np.ndarray) -> Facts:
    if not probability.size:  # no class has a name
        return Facts(IMAGES, {})
    likeliest = int(probability.argmax())
    sure = float(probability[likeliest])
    return Facts(IMAGES, {likeliest: 1}, None, None, sure, _binned(np.array([sure])))


def _of_map(labels: Labels, values: np.ndarray) -> Facts:
    known = known_pixels(labels, values)
    facts = Facts(PIXELS, {}, known=float(known.mean()))
    if "classes" in labels:
        facts = facts._replace(classes=_counted(values[known]))
    if "confidence" in labels and known.any():
        sure = labels["confidence"][known]
        facts = facts._replace(confidence=float(sure.mean()), bins=_binned(sure))
    return facts


def _counted(ids: np.ndarray) -> dict[int, int]:
    found, counts = np.unique(ids, return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))


def _binned(values: np.ndarray) -> np.ndarray:
    """Counts [BINS] of values in 0..1; 1.0 is in the last bin."""
    places = np.clip((values.astype(np.float64) * BINS + 1e-6).astype(np.int64), 0, BINS - 1)
    return np.bincount(places, minlength=BINS)
