"""The paper's classification head: C5, global average pooling, linear."""

from __future__ import annotations

import tensorflow as tf
import tf_keras

from must_tf.data.geometry import Frame
from must_tf.spec import Arrays, Given, HeadSettings, Ideal, Pyramid, Tensors
from must_tf.tasks.classification.config import Config


class ClassificationHead(tf_keras.layers.Layer):
    """Pyramid -> {"logits": float32 [B, C]}."""

    def __init__(self, classes: int, settings: HeadSettings):
        super().__init__(name="classification")
        self._linear = tf_keras.layers.Dense(classes, kernel_regularizer=settings.regularizer, name="linear")

    def call(self, pyramid: Pyramid, given: Given, training: bool) -> Tensors:
        """Averages over the whole input and classifies."""
        del given, training
        return {"logits": tf.cast(self._linear(tf.reduce_mean(pyramid.c5, axis=[1, 2])), tf.float32)}


def head(config: Config, settings: HeadSettings) -> tf_keras.layers.Layer:
    """Returns the head for `config.classes`."""
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
