"""A seventh task, the brightness of an image: `grey` float32 [1], mean of all pixels, 0 to 1; `certainty` [1].

The test copies this file into must_tf/tasks/brightness/ of another folder. No other task has labels of this kind.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from must_tf.config.fields import between, by_hand, measuring, threshold
from must_tf.data import record
from must_tf.label_content import LabelContent, Summary
from must_tf.shared.masked_losses import per_image
from must_tf.spec import (
    Arrays,
    Given,
    HeadSettings,
    Ideal,
    ImageInfo,
    Labels,
    Pyramid,
    TaskConfig,
    TaskSpec,
    Tensors,
    Term,
)

GREY, CERTAINTY = "image/brightness/grey", "image/brightness/certainty"


@dataclasses.dataclass
class Config(TaskConfig):
    """Attributes:
    scale: of the output.
    certainty_threshold: a teacher's labels below are not trained on.
    gamma: of the brightness that is compared.
    by_hand: only `loss_weight` counts.
    """

    scale: float = 1.0
    certainty_threshold: float = threshold(between(0.5, 0, 1))
    gamma: float = measuring(1.0)
    by_hand: bool = by_hand(True)


def features(config: Config) -> dict[str, Any]:
    return {
        GREY: tf.io.FixedLenFeature([1], tf.float32, [0.0]),
        CERTAINTY: tf.io.FixedLenFeature([1], tf.float32, [1.0]),
    }


def read(parsed: Tensors, size: tf.Tensor, config: Config) -> Tensors:
    return {"grey": parsed[GREY], "certainty": parsed[CERTAINTY]}


def write(labels: Labels, info: ImageInfo) -> dict[str, tf.train.Feature]:
    return {GREY: record.float_feature(labels["grey"]), CERTAINTY: record.float_feature(labels["certainty"])}


def targets(parsed: Tensors, size: tf.Tensor, warp: Any, config: Config) -> Tensors:
    labels = read(parsed, size, config)
    return {"grey": labels["grey"], "believed": believed(labels, config)[0]}


def believed(labels: Any, config: Config) -> Any:
    return labels["certainty"] >= config.certainty_threshold


class Head(tf_keras.layers.Layer):
    def __init__(self, settings: HeadSettings):
        super().__init__(name="brightness")
        self._linear = tf_keras.layers.Dense(1, kernel_regularizer=settings.regularizer)

    def call(self, pyramid: Pyramid, given: Given, training: bool) -> Tensors:
        return {"grey": tf.cast(self._linear(tf.reduce_mean(pyramid.c5, axis=[1, 2])), tf.float32)}


def loss(raw: Tensors, targets: Tensors, config: Config) -> dict[str, Term]:
    return {"squared": per_image(tf.reduce_sum((raw["grey"] - targets["grey"]) ** 2, axis=-1), targets["weight"])}


def decode(raw: Tensors, given: Given, config: Config) -> Tensors:
    return {"grey": raw["grey"] * config.scale}


def keep(predictions: Arrays, info: ImageInfo, config: Config) -> Labels:
    return {"grey": np.clip(predictions["grey"], 0, 1).astype(np.float32), "certainty": np.array([0.75], np.float32)}


class Metric:
    figures: tuple[str, ...] = ("error",)
    headline = "error"
    higher_is_better = False

    def __init__(self, config: Config) -> None:
        self._errors: list[float] = []
        self._gamma = config.gamma

    def add(self, labels: Labels, predictions: Labels, image: ImageInfo) -> None:
        real, found = (side["grey"] ** self._gamma for side in (labels, predictions))
        self._errors.append(float(np.abs(real - found).mean()))

    def merge(self, later: Metric) -> None:
        self._errors += later._errors

    def result(self) -> dict[str, float]:
        return {"error": float(np.mean(self._errors))} if self._errors else {}


def draw(image: np.ndarray, labels: Labels, config: Config) -> np.ndarray:
    drawn = image.copy()
    drawn[: drawn.shape[0] // 8] = np.uint8(255 * np.clip(labels["grey"][0], 0, 1))
    return drawn


def content(labels: Labels, info: ImageInfo, config: Config) -> LabelContent:
    return LabelContent("images", np.ones([1], bool), scores=labels["certainty"])


def problems(labels: Labels, info: ImageInfo, config: Config) -> Iterator[tuple[str, str]]:
    if not 0 <= labels["grey"][0] <= 1:
        yield "brightness is not in 0..1", f"{labels['grey'][0]}"


TASK = TaskSpec(
    name="brightness",
    needs=(),
    Config=Config,
    features=features,
    read=read,
    write=write,
    targets=targets,
    head=lambda config, settings: Head(settings),
    terms=lambda config: ("squared",),
    loss=loss,
    decode=decode,
    restore=lambda predictions, frame: predictions,
    ideal=lambda targets, config: Ideal({"grey": targets["grey"]}),
    keep=keep,
    Metric=Metric,
    draw=draw,
    believed=believed,
    summary=Summary(
        kind="brightness",
        content=content,
        problems=problems,
        add=lambda labels, config: {"light": float(labels["grey"][0])},
        figures=lambda sums, images: {"light": sums["light"] / images},
    ),
)
