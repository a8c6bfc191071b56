"""Golden cases of normals, see `golden_cases.py`."""

from __future__ import annotations

import dataclasses
import io
from typing import Any

import cv2
import numpy as np
from PIL import Image

from must_tf.data.scenes import CLASSES, Scene
from must_tf.spec import Labels
from must_tf.tasks.normals import Config
from tests.contract.golden.depth import confidence_by_hand, unlike, weights

CONFIG = Config(enabled=True, classes=CLASSES["normals"], filters=8)
BY_CONFIDENCE: dict[str, Any] = {"confidence_threshold": 0.5, "weighting": "confidence"}
VARIANTS = (CONFIG, dataclasses.replace(CONFIG, stride=4, loss="l1", **BY_CONFIDENCE))
UNBATCHED: tuple[str, ...] = ()
TOLERANCE = {"normals": 3**0.5 / 255 + 1e-6, "confidence": 1 / 510 + 1e-6}  # 1/255 in each of three components
RESTORED = 1.8  # mean angle in degrees; edges are lost where the network's resolution is below the image's

WALL, UNKNOWN = [128, 128, 0], [0, 0, 0]  # colours; a wall's vector is (1, 1, -255) / LENGTH
LENGTH = (1 + 1 + 255**2) ** 0.5
PREDICTED = {"map": [[[[0.0, 0.0, -2.0], [3.0, 0.0, -4.0]], [[0.0, 0.0, 0.5], [9.0, 9.0, 9.0]]]]}
TRUE = {"normal_colours": [[[WALL, WALL], [WALL, UNKNOWN]]], "mirrored": [False]}
# Right but for the length, nearly. (3, 0, -4) / 5 against the wall. Opposite. One pixel is unknown.
RIGHT, OTHER, OPPOSITE = 1 - 255 / LENGTH, 1 - (0.6 + 0.8 * 255) / LENGTH, 1 + 255 / LENGTH
CASES: tuple[Any, ...] = (
    (PREDICTED, TRUE, {}, {"cosine": (RIGHT + OTHER + OPPOSITE) / 3}),
    # The wall's x is -1 / LENGTH in a mirrored world.
    (PREDICTED, TRUE | {"mirrored": [True]}, {}, {"cosine": (RIGHT + (OTHER + 1.2 / LENGTH) + OPPOSITE) / 3}),
    # Axis by axis: x and y are off by 1 / LENGTH, but (0.6, 0, -0.8) in x by 0.6 less that.
    (
        PREDICTED,
        TRUE,
        {"loss": "l1"},
        {"l1": ((RIGHT + 2 / LENGTH) + (0.6 + 255 / LENGTH - 0.8) + (OPPOSITE + 2 / LENGTH)) / 3},
    ),
    # With weights 1, 1/2 and 1/4.
    (
        PREDICTED,
        TRUE | {"confidence": [[[1.0, 0.5], [0.25, 0.3]]]},
        BY_CONFIDENCE,
        {"cosine": (RIGHT + OTHER / 2 + OPPOSITE / 4) / 3},
    ),
    # The third of a teacher's three known pixels that is most off is left out.
    (PREDICTED, TRUE | {"pseudo": [True]}, {"ignore_hardest": 0.4}, {"cosine": (RIGHT + OTHER) / 2}),
)


def scene_labels(scene: Scene) -> Labels:
    """Returns the labels of a generated scene."""
    return scene.labels["normals"]


COUNTS: dict[int, int] = {}


def example(height: int, width: int) -> Labels:
    """Returns what no scene has: every direction of a half sphere, holes, and a confidence."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    vectors = np.stack([x, y, -np.ones_like(x)], axis=-1)
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    vectors[::3, ::2] = 0.0
    return {"normals": vectors.astype(np.float32), "confidence": np.float32(np.abs(x))}


def empty(height: int, width: int) -> Labels:
    """Returns maps without a known pixel."""
    return {"normals": np.zeros([height, width, 3], np.float32)}


def by_hand(feature: Any) -> Labels:
    """Decodes a record's features without the code under test: keys, types and codes as published."""
    colours = np.array(Image.open(io.BytesIO(feature["image/normals/encoded"].bytes_list.value[0])))
    return {"normals": vectors(colours)} | confidence_by_hand(feature, "normals")


def vectors(colours: Any, mirrored: Any = False) -> np.ndarray:
    """Converts colours uint8 [..., 3] to vectors float32 by the published rule; negates x if `mirrored`, [] or [B]."""
    shifted = colours / np.float32(127.5) - 1
    found = shifted / np.linalg.norm(shifted, axis=-1, keepdims=True)
    turned = np.where(np.asarray(mirrored)[..., None, None, None], [-1, 1, 1], 1)
    return np.where(colours.any(-1, keepdims=True), found * turned, 0).astype(np.float32)


def oracle(labels: Labels, window: Any, config: Any) -> dict[str, Any]:
    """Computes targets by hand: the vectors of the original pixels, for windows that do not mirror."""
    sure, of_loss = weights(labels, window, config)
    known = labels["normals"].any(-1) & sure
    colours = np.where(known[..., None], np.rint((labels["normals"] + 1) * 127.5), 0).astype(np.uint8)
    return {"normal_colours": window.pixels(colours, 0, config.stride), "mirrored": False} | of_loss


def difference(got: dict[str, Any], expected: dict[str, Any]) -> float:
    """Returns the share of pixels that are more than 2 degrees apart, or known only once, or differ in confidence."""
    first, second = (vectors(each["normal_colours"], each["mirrored"]) for each in (got, expected))
    return float(np.mean((np.linalg.norm(first - second, axis=-1) > np.radians(2.0)) | unlike(got, expected)))


def decoded(config: Any, size: int) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of `decode` without the batch axis."""
    del config
    return {"normals": (size // 4, size // 4, 3)}


def reference(raw: dict[str, Any], targets: dict[str, Any], config: Any) -> dict[str, float]:
    """Computes the formulas in NumPy, resized by OpenCV."""
    values: list[float] = []
    for predicted, normals in zip(raw["map"], vectors(targets["normal_colours"], targets["mirrored"]), strict=True):
        known = np.any(normals != 0, axis=-1)
        resized = cv2.resize(predicted, normals.shape[:2])[known]
        resized /= np.maximum(np.linalg.norm(resized, axis=-1, keepdims=True), 1e-6)
        if config.loss == "l1":
            values += list(np.linalg.norm(resized - normals[known], ord=1, axis=-1))
        else:
            values += list(1.0 - np.sum(resized * normals[known], axis=-1))
    return {config.loss: float(np.mean(values))}
