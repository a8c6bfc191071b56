"""Fused P2, 3 convs, linear (the paper's head); softmax per pixel."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras

from must_tf.data.geometry import Frame, restore_map
from must_tf.heads import PixelHead
from must_tf.spec import Given, HeadSettings, Tensors


def head(config: Any, settings: HeadSettings) -> tf_keras.layers.Layer:
    """Raw: `map` logits [B, S/4, S/4, C]."""
    return PixelHead(len(config.classes), config.filters, settings, "segmentation")


def decode(raw: Tensors, given: Given, config: Any) -> Tensors:
    """`probability` [B, S/4, S/4, C]."""
    del given, config
    return {"probability": tf.nn.softmax(raw["map"])}


def restore(predictions: Tensors, frame: Frame) -> Tensors:
    """`classes` int32 [h, w], `confidence` float32 [h, w]: probabilities are interpolated, then the best is taken."""
    probability = restore_map(predictions["probability"], frame)
    return {
        "classes": tf.argmax(probability, axis=-1, output_type=tf.int32),
        "confidence": tf.clip_by_value(tf.reduce_max(probability, axis=-1), 0.0, 1.0),
    }
