"""Fused P2, 3 convs, linear (the paper's head): the logarithm of the metres."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras

from must_tf.data.geometry import Frame, restore_map
from must_tf.heads import PixelHead
from must_tf.spec import Given, HeadSettings, Tensors

# exp of the raw output: 5 cm to 400 m. Keeps a diverging head from overflowing.
LOG_METRES = (-3.0, 6.0)


def head(config: Any, settings: HeadSettings) -> tf_keras.layers.Layer:
    """Raw: `map` log metres [B, S/4, S/4, 1]."""
    return PixelHead(1, config.filters, settings, "depth")


def decode(raw: Tensors, given: Given, config: Any) -> Tensors:
    """`metres` [B, S/4, S/4]."""
    del given, config
    return {"metres": tf.exp(tf.clip_by_value(raw["map"][..., 0], *LOG_METRES))}


def restore(predictions: Tensors, frame: Frame) -> Tensors:
    """`metres` float32 [h, w]."""
    return {"metres": restore_map(predictions["metres"][..., None], frame)[..., 0]}
