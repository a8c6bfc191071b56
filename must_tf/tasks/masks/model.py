"""The way from the head's logits to a probability over each box."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import tensorflow as tf

from must_tf.data.geometry import Frame
from must_tf.spec import Arrays, Given, HeadSettings, Ideal, Tensors
from must_tf.tasks.detection import model as detection
from must_tf.tasks.masks.config import SIDE, Config

if TYPE_CHECKING:
    import tf_keras


def head(config: Config, settings: HeadSettings) -> tf_keras.layers.Layer:
    """Returns the head for `config.classes`, which must be detection's."""
    from must_tf.tasks.masks.head import MaskHead

    return MaskHead(config, settings)


def decode(raw: Tensors, given: Given, config: Config) -> Tensors:
    """Returns detection's predictions and `probability` [B, D, 28, 28] over each box."""
    del config
    return dict(given.predictions["detection"]) | {"probability": tf.sigmoid(raw["logits"])}


def ideal(targets: Arrays, config: Config) -> Ideal:
    """Returns detection's, and the masks at the head's resolution."""
    masks = np.asarray(targets["masks"], np.float32) / 255.0  # [B, M, side, side]
    maps = [[cv2.resize(mask, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for mask in image] for image in masks]
    objects = detection.ideal(targets, config).predictions
    return Ideal(objects | {"probability": np.array(maps, np.float32)})


def restore(predictions: Tensors, frame: Frame) -> Tensors:
    """Returns detection's; the probabilities are relative to the box and do not change."""
    return detection.restore(predictions, frame)
