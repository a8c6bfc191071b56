"""Golden cases of depth, see `golden_cases.py`."""

from __future__ import annotations

import dataclasses
import io
from typing import Any

import cv2
import numpy as np
from PIL import Image

from must_tf.data.scenes import CLASSES, Scene
from must_tf.spec import Labels
from must_tf.tasks.depth import Config

CONFIG = Config(enabled=True, classes=CLASSES["depth"], filters=8)
BY_CONFIDENCE: dict[str, Any] = {"weighting": "confidence"}
VARIANTS = (
    CONFIG,
    dataclasses.replace(CONFIG, stride=4, **BY_CONFIDENCE),
    dataclasses.replace(CONFIG, stride=4, loss="l1", confidence_threshold=0.5),
    dataclasses.replace(CONFIG, stride=4, loss="berhu"),
    dataclasses.replace(CONFIG, stride=4, loss="ssi", confidence_threshold=0.25, **BY_CONFIDENCE),
)
UNBATCHED: tuple[str, ...] = ()
TOLERANCE = {
    "metres": 100.0 / 65535 / 2 + 1e-5,  # half a unit at the example's 100 m
    "inverse_depth": 0.0,
    "confidence": 1 / 510 + 1e-6,
}
RESTORED = 0.99  # delta1; edges are lost where the network's resolution is below the image's

E = float(np.e)
SEVEN = 7.0  # a prediction for unknown pixels
# d = 0.4 - 0 and 1.2 - ln e = 0.2: mean of squares (0.16 + 0.04) / 2 = 0.1, square of the mean 0.09.
LN2, LN4, LN6 = (float(np.log(number)) for number in (2.0, 4.0, 6.0))
METRES = {"map": [[[[LN2], [SEVEN]], [[LN6], [SEVEN]]]]}  # log metres
PREDICTED, TRUE = {"map": [[[[0.4], [SEVEN]], [[1.2], [SEVEN]]]]}, {"metres": [[[1.0, 0.0], [E, 0.0]]]}
CASES: tuple[Any, ...] = (
    (PREDICTED, TRUE, {}, {"silog": 0.055}),  # 0.1 - 0.5 * 0.09
    (PREDICTED, TRUE, {"variance_focus": 1.0}, {"silog": 0.01}),
    # An image of which no pixel is known.
    (PREDICTED, {"metres": [[[0.0, 0.0], [0.0, 0.0]]]}, {}, {"silog": 0.0}),
    # 2 and 6 metres, 1 is true: errors of 1 and 5.
    (METRES, {"metres": [[[1.0, 0.0], [1.0, 0.0]]]}, {"loss": "l1"}, {"l1": (1.0 + 5.0) / 2}),
    # c = 5 / 5 = 1: 1 is not above it, (5^2 + 1^2) / 2 = 13.
    (METRES, {"metres": [[[1.0, 0.0], [1.0, 0.0]]]}, {"loss": "berhu"}, {"berhu": (1.0 + 13.0) / 2}),
    # Predicted 1, 2, 3, 9: median 2.5, mean distance from it (1.5 + 0.5 + 0.5 + 6.5) / 4 = 2.25.
    # True 1, 3, 5, 7: median 4, mean distance 2. In units: -6, -2, 2, 26 and -13.5, -4.5, 4.5, 13.5 ninths. Residuals
    # 7.5, 2.5, -2.5, 12.5 ninths: half their mean size is 25/72. Steps at the finest scale: right 5 and 15, down 10 and
    # 10 ninths, over 4 pixels; at the three coarser scales one pixel is left, without a neighbour. Times 0.5.
    (
        {"map": [[[[1.0], [2.0]], [[3.0], [9.0]]]]},
        {"inverse_depth": [[[1.0, 3.0], [5.0, 7.0]]]},
        {"loss": "ssi"},
        {"ssi": 25 / 72, "gradient": 0.5 * 40 / 36},
    ),
    # Only the left column is known; two pixels are always right, up to scale and shift.
    (PREDICTED, {"inverse_depth": [[[1.0, 0.0], [E, 0.0]]]}, {"loss": "ssi"}, {"ssi": 0.0, "gradient": 0.0}),
    # The same value everywhere says nothing about relative depth.
    (PREDICTED, {"inverse_depth": [[[3.0, 3.0], [3.0, 0.0]]]}, {"loss": "ssi"}, {"ssi": 0.0, "gradient": 0.0}),
    # With weights 1 and 1/2: mean of c d^2 (0.16 + 0.02) / 2, mean of c d (0.4 + 0.1) / 2, mean of c 3/4.
    (
        PREDICTED,
        TRUE | {"confidence": [[[1.0, 0.3], [0.5, 0.3]]]},
        BY_CONFIDENCE,
        {"silog": 0.09 - 0.5 * 0.0625 / 0.75},
    ),
    # Weights of 0 everywhere.
    (PREDICTED, TRUE | {"confidence": [[[0.0, 0.3], [0.0, 0.3]]]}, BY_CONFIDENCE, {"silog": 0.0}),
    # Errors of 1 and 5, the second with weight 1/2.
    (
        METRES,
        {"metres": [[[1.0, 0.0], [1.0, 0.0]]], "confidence": [[[1.0, 0.3], [0.5, 0.3]]]},
        {"loss": "l1", **BY_CONFIDENCE},
        {"l1": (1.0 + 2.5) / 2},
    ),
    (
        METRES,
        {"metres": [[[1.0, 0.0], [1.0, 0.0]]], "confidence": [[[1.0, 0.3], [0.5, 0.3]]]},
        {"loss": "berhu", **BY_CONFIDENCE},
        {"berhu": (1.0 + 6.5) / 2},
    ),
    # The residuals of the first case of ssi, with weights: 7.5 + 1.25 + 0.625 + 12.5 ninths. A step has the smaller
    # weight of its pixels: right 5 / 2 and 15 / 4, down 10 / 4 and 10 / 2 ninths.
    (
        {"map": [[[[1.0], [2.0]], [[3.0], [9.0]]]]},
        {"inverse_depth": [[[1.0, 3.0], [5.0, 7.0]]], "confidence": [[[1.0, 0.5], [0.25, 1.0]]]},
        {"loss": "ssi", **BY_CONFIDENCE},
        {"ssi": 21.875 / 72, "gradient": 0.5 * 13.75 / 36},
    ),
    # A teacher's label, half of it left out: the errors of 5 and of 3.
    (
        {"map": [[[[LN2], [LN6]], [[LN4], [0.0]]]]},
        {"metres": [[[1.0, 1.0], [1.0, 1.0]]], "pseudo": [True]},
        {"loss": "l1", "ignore_hardest": 0.5},
        {"l1": (1.0 + 0.0) / 2},
    ),
    # Of a real one all pixels count.
    (
        {"map": [[[[LN2], [LN6]], [[LN4], [0.0]]]]},
        {"metres": [[[1.0, 1.0], [1.0, 1.0]]]},
        {"loss": "l1", "ignore_hardest": 0.5},
        {"l1": (1.0 + 5.0 + 3.0 + 0.0) / 4},
    ),
)


def scene_labels(scene: Scene) -> Labels:
    """Returns the labels of a generated scene, metric depth."""
    return scene.labels["depth"]


COUNTS: dict[int, int] = {}


def example(height: int, width: int) -> Labels:
    """Returns what no scene has: farther than millimetres reach in 16 bits, holes, and a confidence."""
    metres = np.linspace(0.0, 100.0, height * width, dtype=np.float32).reshape(height, width)
    metres[::3, ::2] = 0.0
    confidence = np.linspace(1.0, 0.0, height * width, dtype=np.float32).reshape(height, width)
    return {"metres": metres, "inverse_depth": np.zeros_like(metres), "confidence": confidence}


def empty(height: int, width: int) -> Labels:
    """Returns maps without a known pixel."""
    return {key: np.zeros([height, width], np.float32) for key in ("metres", "inverse_depth")}


def by_hand(feature: Any) -> Labels:
    """Decodes a record's features without the code under test: keys, types and codes as published."""
    assert feature["image/depth/kind"].bytes_list.value == [b"metric"]
    units = np.array(Image.open(io.BytesIO(feature["image/depth/encoded"].bytes_list.value[0])))
    metres = units.astype(np.float32) * np.float32(feature["image/depth/scale"].float_list.value[0])
    return {"metres": metres, "inverse_depth": np.zeros_like(metres)} | confidence_by_hand(feature, "depth")


def confidence_by_hand(feature: Any, task: str) -> Labels:
    """Decodes the confidence of a map if it is stored."""
    stored = feature[f"image/{task}/confidence/encoded"].bytes_list.value
    return {"confidence": np.array(Image.open(io.BytesIO(stored[0]))) / np.float32(255)} if stored else {}


def weights(labels: Labels, window: Any, config: Any) -> tuple[np.ndarray, dict[str, Any]]:
    """Returns which pixels of the original reach the threshold, and the targets that weight the loss, if it is."""
    confidence = labels.get("confidence", np.ones(window.original, np.float32))
    of_loss = {"confidence": window.pixels(confidence, 0.0, config.stride)} if config.weighting == "confidence" else {}
    return confidence >= config.confidence_threshold, of_loss


def oracle(labels: Labels, window: Any, config: Any) -> dict[str, Any]:
    """Computes targets by hand, from how large a metre is on the input.

    A camera of focal length f (in pixels) shows a metre at distance d as f / d pixels: f / d * scaled / original on
    the input. The fitted image, of focal length f * fitted / original, shows it as large at d * fitted / scaled.
    Inverse depth has no unit that could follow the zoom.
    """
    sure, of_loss = weights(labels, window, config)
    metres = np.where(sure, labels["metres"], 0.0).astype(np.float64)
    if config.loss == "ssi":
        inverse = np.where(metres > 0, 1 / np.where(metres > 0, metres, 1.0), labels["inverse_depth"])
        return {"inverse_depth": window.pixels(inverse, 0.0, config.stride)} | of_loss
    focal = 100.0  # cancels
    longer = max(window.original)
    pixels_per_metre = focal / np.where(metres > 0, metres, 1.0) * max(window.scaled) / longer
    looks = focal * window.size / longer / pixels_per_metre
    return {"metres": window.pixels(np.where(metres > 0, looks, 0.0), 0.0, config.stride)} | of_loss


def difference(got: dict[str, Any], expected: dict[str, Any]) -> float:
    """Returns the share of pixels that are more than 2 % apart, or known only once, or differ in confidence."""
    key = "metres" if "metres" in got else "inverse_depth"
    low, high = np.minimum(got[key], expected[key]), np.maximum(got[key], expected[key])
    return float(np.mean((high > 1.02 * low) | unlike(got, expected)))


def unlike(got: dict[str, Any], expected: dict[str, Any]) -> Any:
    """Returns the pixels whose confidence differs by more than its rounding."""
    return "confidence" in got and np.abs(got["confidence"] - expected["confidence"]) > 1 / 500


def decoded(config: Any, size: int) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of `decode` without the batch axis."""
    return {"inverse_depth" if config.loss == "ssi" else "metres": (size // 4, size // 4)}


def reference(raw: dict[str, Any], targets: dict[str, Any], config: Any) -> dict[str, float]:
    """Computes the formulas image by image in NumPy, resized by OpenCV."""
    formula = {"silog": _silog, "l1": _l1, "berhu": _berhu, "ssi": _ssi}[config.loss]
    label = targets["inverse_depth" if config.loss == "ssi" else "metres"]
    resized = [cv2.resize(predicted[..., 0], label.shape[1:]) for predicted in raw["map"]]
    each = [formula(*pair, config) for pair in zip(resized, label, strict=True)]
    pixels = [np.sum(one > 0) if config.loss in ("l1", "berhu") else 1 for one in label]
    return {term: float(np.average([one[term] for one in each], weights=pixels)) for term in each[0]}


def _silog(predicted: np.ndarray, metres: np.ndarray, config: Any) -> dict[str, float]:
    difference = predicted[metres > 0] - np.log(metres[metres > 0])
    return {"silog": np.mean(difference**2) - config.variance_focus * np.mean(difference) ** 2}


def _l1(predicted: np.ndarray, metres: np.ndarray, config: Any) -> dict[str, float]:
    del config
    return {"l1": np.mean(np.abs(np.exp(predicted) - metres)[metres > 0])}


def _berhu(predicted: np.ndarray, metres: np.ndarray, config: Any) -> dict[str, float]:
    del config
    error = np.abs(np.exp(predicted) - metres)[metres > 0]
    limit = error.max() / 5
    return {"berhu": np.mean([e if e <= limit else (e * e + limit * limit) / (2 * limit) for e in error])}


def _ssi(predicted: np.ndarray, inverse: np.ndarray, config: Any) -> dict[str, float]:
    maps = [np.ma.array(values, np.float64, mask=inverse <= 0) for values in (predicted, inverse)]
    units = [(one - np.ma.median(one)) / np.ma.mean(np.abs(one - np.ma.median(one))) for one in maps]
    residual = units[0] - units[1]
    # A masked neighbour masks the difference.
    scales = [residual[:: 2**k, :: 2**k] for k in range(4)]
    steps = [sum(np.abs(np.diff(r, axis=axis)).filled(0).sum() for axis in (0, 1)) / max(r.count(), 1) for r in scales]
    return {"ssi": np.abs(residual).mean() / 2, "gradient": config.gradient_weight * sum(steps)}
