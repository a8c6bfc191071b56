"""Hand-worked cases and this task's part of the generated scenes, for `tests/test_contract_*.py`."""

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
VARIANTS = (CONFIG, dataclasses.replace(CONFIG, stride=4))
UNBATCHED: tuple[str, ...] = ()
TOLERANCE = {"metres": 100.0 / 65535 / 2 + 1e-5}  # half a unit at the example's 100 m
RESTORED = 0.99  # delta1; edges are lost where the network's resolution is below the image's

E = float(np.e)
SEVEN = 7.0  # a prediction where nothing is known
# d = 0.4 - 0 and 1.2 - ln e = 0.2: mean of squares (0.16 + 0.04) / 2 = 0.1, square of the mean 0.09.
PREDICTED, TRUE = {"map": [[[[0.4], [SEVEN]], [[1.2], [SEVEN]]]]}, {"metres": [[[1.0, 0.0], [E, 0.0]]]}
CASES: tuple[Any, ...] = (
    (PREDICTED, TRUE, {}, {"silog": 0.055}),  # 0.1 - 0.5 * 0.09
    (PREDICTED, TRUE, {"variance_focus": 1.0}, {"silog": 0.01}),
    # An image of which no pixel is known.
    (PREDICTED, {"metres": [[[0.0, 0.0], [0.0, 0.0]]]}, {}, {"silog": 0.0}),
)


def scene_labels(scene: Scene) -> Labels:
    """The labels of a generated scene."""
    return scene.labels["depth"]


def example(height: int, width: int) -> Labels:
    """What no scene has: farther than millimetres reach in 16 bits, and holes."""
    metres = np.linspace(0.0, 100.0, height * width, dtype=np.float32).reshape(height, width)
    metres[::3, ::2] = 0.0
    return {"metres": metres}


def empty(height: int, width: int) -> Labels:
    """Somebody measured and got nothing back."""
    return {"metres": np.zeros([height, width], np.float32)}


def by_hand(feature: Any) -> Labels:
    """The labels in a record's features, without the code under test: keys, types and codes as published."""
    assert feature["image/depth/kind"].bytes_list.value == [b"metric"]
    units = np.array(Image.open(io.BytesIO(feature["image/depth/encoded"].bytes_list.value[0])))
    return {"metres": units.astype(np.float32) * np.float32(feature["image/depth/scale"].float_list.value[0])}


def oracle(labels: Labels, window: Any, config: Any) -> dict[str, Any]:
    """Targets by hand, from how large a metre is on the input.

    A camera of focal length f (in pixels) shows a metre at distance d as f / d pixels: f / d * scaled / original on
    the input. The fitted image, of focal length f * fitted / original, shows it as large at d * fitted / scaled.
    """
    metres = labels["metres"].astype(np.float64)
    focal = 100.0  # cancels
    longer = max(window.original)
    pixels_per_metre = focal / np.where(metres > 0, metres, 1.0) * max(window.scaled) / longer
    looks = focal * window.size / longer / pixels_per_metre
    return {"metres": window.pixels(np.where(metres > 0, looks, 0.0), 0.0, config.stride)}


def difference(got: dict[str, Any], expected: dict[str, Any]) -> float:
    """Share of pixels that are more than 2 % apart, or known only once."""
    low, high = np.minimum(got["metres"], expected["metres"]), np.maximum(got["metres"], expected["metres"])
    return float(np.mean(high > 1.02 * low))


def perfect(targets: dict[str, Any], config: Any) -> dict[str, Any]:
    """What `decode` gives when the network is right; a network says something everywhere, here 1 m."""
    del config
    return {"metres": np.where(targets["metres"] > 0, targets["metres"], 1.0)}


def decoded(config: Any, size: int) -> dict[str, tuple[int, ...]]:
    """Shapes of `decode` without the batch axis."""
    del config
    return {"metres": (size // 4, size // 4)}


def reference(raw: dict[str, Any], targets: dict[str, Any], config: Any) -> dict[str, float]:
    """The formula image by image in NumPy, resized by OpenCV."""
    values = []
    for predicted, metres in zip(raw["map"], targets["metres"], strict=True):
        known = metres > 0
        difference = (cv2.resize(predicted[..., 0], metres.shape) - np.log(np.where(known, metres, 1.0)))[known]
        values.append(np.mean(difference**2) - config.variance_focus * np.mean(difference) ** 2)
    return {"silog": float(np.mean(values))}
