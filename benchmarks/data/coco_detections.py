"""Made-up detections of an imperfect network, scattered around COCO's labels."""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
import tensorflow as tf

from must_tf.data import record
from must_tf.spec import Labels
from must_tf.tasks import discover
from must_tf.tasks.detection.model import FLOOR

DETECTIONS, MAP = 100, 28
OBJECTS = 0.6  # share of the detections that are near an object; the others are anywhere
JITTER, BLUR, DOUBT = 0.06, 1.0, 0.15  # share of a box's side; cells of the map; share of wrong classes
TASKS = ("detection", "masks")


class Image(NamedTuple):
    """One image's labels, its COCO id, and its height and width in pixels."""

    labels: Labels
    number: int
    size: tuple[int, int]


class Detections(NamedTuple):
    """By falling score: boxes [N, 4] normalised to the image, classes [N] from 1, probabilities [N, 28, 28]."""

    boxes: np.ndarray
    classes: np.ndarray
    scores: np.ndarray
    maps: np.ndarray


def made_up(image: Image, class_count: int, seed: int) -> Detections:
    """Makes up detections of an imperfect network: moved, blurred, doubled, some of a wrong class, some of nothing."""
    rng = np.random.default_rng(seed)
    labels, count = image.labels, len(image.labels["boxes"])
    # Above the floor, so that both sides keep all of them.
    scores = np.sort(rng.uniform(FLOOR + 0.01, 1.0, DETECTIONS).astype(np.float32))[::-1]
    of_object = (rng.random(DETECTIONS) < OBJECTS) & (count > 0)
    chosen = rng.integers(0, max(count, 1), DETECTIONS)
    classes = rng.integers(1, class_count + 1, DETECTIONS)
    sure = of_object & (rng.random(DETECTIONS) > DOUBT)
    boxes, maps = np.zeros([DETECTIONS, 4], np.float32), np.zeros([DETECTIONS, MAP, MAP], np.float32)
    for i in range(DETECTIONS):
        truth = labels["boxes"][chosen[i]] if of_object[i] else _anywhere(rng)
        side = np.tile(truth[2:] - truth[:2], 2)
        box = np.clip(truth + rng.normal(0, JITTER, 4) * side, 0.0, 1.0)
        boxes[i] = box if (box[2:] > box[:2] + 0.01).all() else truth
        mask = labels["crops"][chosen[i]] if of_object[i] else _ellipse()
        maps[i] = _seen(mask, truth, boxes[i])
    classes[sure] = labels["classes"][chosen[sure]]
    return Detections(boxes, classes.astype(np.int32), scores, maps)


def _anywhere(rng: np.random.Generator) -> np.ndarray:
    low = rng.random(2) * 0.8
    return np.concatenate([low, np.minimum(low + 0.05 + rng.random(2) * 0.4, 1.0)])


def _ellipse() -> np.ndarray:
    y, x = np.mgrid[-1 : 1 : MAP * 1j, -1 : 1 : MAP * 1j]
    return (x**2 + y**2 <= 1).astype(np.uint8)


def _seen(mask: np.ndarray, of: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Resamples a mask over the box `of` to a blurred map over another box."""
    corners = (box.reshape(2, 2) - of[:2]) / np.maximum(of[2:] - of[:2], 1e-6) * mask.shape  # in pixels of the mask
    rows, columns = (np.linspace(corners[0, axis], corners[1, axis], MAP + 1, dtype=np.float32)[:-1] for axis in (0, 1))
    wide, high = np.meshgrid(columns, rows)
    found = cv2.remap(mask.astype(np.float32), wide, high, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return cv2.GaussianBlur(found, (0, 0), BLUR)


def images(glob: str, configs: dict[str, Any]) -> list[Image]:
    """Returns all images with their labels."""
    specs, found = {name: discover()[name] for name in TASKS}, []
    for serialized in tf.data.TFRecordDataset(sorted(tf.io.gfile.glob(glob))).as_numpy_iterator():
        info = record.info_of(tf.train.Example.FromString(serialized))
        labelled = record.read_labels(serialized, specs, configs)
        found.append(Image(labelled["masks"].labels, int(info.source_id), (info.height, info.width)))
    return found
