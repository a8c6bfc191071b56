"""The way from the head's logits to a distribution."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tensorflow as tf

from must_tf.data.geometry import Frame
from must_tf.spec import Arrays, Given, HeadSettings, Ideal, Tensors
from must_tf.tasks.classification.config import Config

if TYPE_CHECKING:
    import tf_keras


def head(config: Config, settings: HeadSettings) -> tf_keras.layers.Layer:
    """Returns the head for `config.classes`."""
    from must_tf.tasks.classification.head import ClassificationHead

    return ClassificationHead(len(config.classes), settings)


def decode(raw: Tensors, given: Given, config: Config) -> Tensors:
    """Returns `probability` [B, C]."""
    del given, config
    return {"probability": tf.nn.softmax(raw["logits"])}


def ideal(targets: Arrays, config: Config) -> Ideal:
    """Returns the distribution itself."""
    del config
    return Ideal({"probability": targets["probability"]})


def restore(predictions: Tensors, frame: Frame) -> Tensors:
    """Returns the predictions unchanged: a class has no position in the image."""
    del frame
    return predictions
