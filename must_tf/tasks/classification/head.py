"""The paper's classification head: C5, global average pooling, linear."""

from __future__ import annotations

import tensorflow as tf
import tf_keras

from must_tf.spec import Given, HeadSettings, Pyramid, Tensors


class ClassificationHead(tf_keras.layers.Layer):
    """Pyramid -> {"logits": float32 [B, C]}."""

    def __init__(self, classes: int, settings: HeadSettings):
        super().__init__(name="classification")
        self._linear = tf_keras.layers.Dense(classes, kernel_regularizer=settings.regularizer, name="linear")

    def call(self, pyramid: Pyramid, given: Given, training: bool) -> Tensors:
        """Averages over the whole input and classifies."""
        del given, training
        return {"logits": tf.cast(self._linear(tf.reduce_mean(pyramid.c5, axis=[1, 2])), tf.float32)}
