"""Golden cases of classification, see `golden_cases.py`."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tf_keras

from must_tf.data.scenes import CLASSES, Scene
from must_tf.spec import Labels
from must_tf.tasks.classification import Config

CONFIG = Config(enabled=True, classes=CLASSES["classification"])
# In `example` the teacher's confidence is 0.777.
VARIANTS = (
    CONFIG,
    dataclasses.replace(CONFIG, confidence_threshold=0.8),
    dataclasses.replace(CONFIG, confidence_threshold=0.8, class_thresholds=(f"{CLASSES['classification'][1]}=0.75",)),
)
UNBATCHED: tuple[str, ...] = ()
# Half precision, 2^-11 relative, once for the value and once for the sum that is divided by.
TOLERANCE = {"probability": 2.0**-10}
RESTORED = 1.0

LN3 = float(np.log(3.0))
# softmax of (ln 3, 0, 0, 0) is (3, 1, 1, 1) / 6.
CASES: tuple[Any, ...] = (
    # Half of -ln(3/6), half of -ln(1/6): 0.346574 + 0.895880.
    (
        {"logits": [[LN3, 0.0, 0.0, 0.0]]},
        {"probability": [[0.5, 0.5, 0.0, 0.0]]},
        {},
        {"cross_entropy": 1.242453},
    ),
    # Smoothed by 0.2 over 4 classes: 0.85, 0.05, 0.05, 0.05. 0.85 ln 2 + 0.15 ln 6 = 0.589175 + 0.268764.
    (
        {"logits": [[LN3, 0.0, 0.0, 0.0]]},
        {"probability": [[1.0, 0.0, 0.0, 0.0]]},
        {"label_smoothing": 0.2},
        {"cross_entropy": 0.857939},
    ),
    # Only the likeliest class: -ln(1/6).
    (
        {"logits": [[LN3, 0.0, 0.0, 0.0]]},
        {"probability": [[0.3, 0.4, 0.2, 0.1]]},
        {"cross_entropy": "hard"},
        {"cross_entropy": 1.791759},
    ),
)


def scene_labels(scene: Scene) -> Labels:
    """Returns the labels of a generated scene."""
    return scene.labels["classification"]


COUNTS = {1: 1}  # the hard label, in `example`


def example(height: int, width: int) -> Labels:
    """Returns what no scene has: a teacher's distribution."""
    del height, width
    return {"probability": np.array([0.123, 0.777, 0.0999, 0.0001], np.float32)}


def empty(height: int, width: int) -> Labels:
    """Returns a distribution that says nothing."""
    del height, width
    return {"probability": np.full([4], 0.25, np.float32)}


def by_hand(feature: Any) -> Labels:
    """Decodes a record's features without the code under test: keys, types and codes as published."""
    stored = feature["image/class/probability"].bytes_list.value
    (label,) = feature["image/class/label"].int64_list.value
    if not stored:
        return {"probability": np.eye(4, dtype=np.float32)[label]}
    probability = np.frombuffer(stored[0], "<f2").astype(np.float32)
    assert label == probability.argmax()
    return {"probability": probability}


def oracle(labels: Labels, window: Any, config: Any) -> dict[str, Any]:
    """Computes targets by hand: whatever the crop, the class is the image's."""
    del window
    likeliest = int(labels["probability"].argmax())
    limit = 0.75 if config.class_thresholds and likeliest == 1 else config.confidence_threshold
    believed = np.bool_(labels["probability"][likeliest] >= limit)
    return {"probability": labels["probability"], "believed": believed}


def difference(got: dict[str, Any], expected: dict[str, Any]) -> float:
    """Returns 1 if two targets differ, otherwise 0."""
    off = np.abs(got["probability"] - expected["probability"]).max() > TOLERANCE["probability"]
    return float(off or got["believed"] != expected["believed"])


def decoded(config: Any, size: int) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of `decode` without the batch axis."""
    del size
    return {"probability": (len(config.classes),)}


def reference(raw: dict[str, Any], targets: dict[str, Any], config: Any) -> dict[str, float]:
    """Computes the loss with Keras."""
    loss = tf_keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=config.label_smoothing)
    return {"cross_entropy": float(loss(targets["probability"], raw["logits"]))}
