"""Fused P2, 3 convs, linear (the paper's head): the logarithm of the metres, or for the loss "ssi" inverse depth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf
import tf_keras

from must_tf.data.geometry import Frame, restore_map
from must_tf.shared.pixel_head import PixelHead
from must_tf.spec import Arrays, Given, HeadSettings, Ideal, Tensors

if TYPE_CHECKING:
    from must_tf.tasks.depth import Config


# exp of the raw output: 5 cm to 400 m. Keeps a diverging head from overflowing.
LOG_METRES = (-3.0, 6.0)


def head(config: Config, settings: HeadSettings) -> tf_keras.layers.Layer:
    """Raw: `map` log metres, or inverse depth up to scale and shift, [B, S/4, S/4, 1]."""
    return PixelHead(1, config.filters, settings, "depth")


def unit(config: Config) -> str:
    """What the predictions are measured in."""
    return "inverse depth, no unit" if config.loss == "ssi" else "metres"


def decode(raw: Tensors, given: Given, config: Config) -> Tensors:
    """`metres` or `inverse_depth` [B, S/4, S/4]; the latter may be negative, its shift means nothing."""
    del given
    if config.loss == "ssi":
        return {"inverse_depth": raw["map"][..., 0]}
    return {"metres": tf.exp(tf.clip_by_value(raw["map"][..., 0], *LOG_METRES))}


def ideal(targets: Arrays, config: Config) -> Ideal:
    """The targets, and 1 (metre) where they are unknown."""
    key = "inverse_depth" if config.loss == "ssi" else "metres"
    known = targets[key] > 0
    return Ideal({key: np.where(known, targets[key], 1.0)}, known)


def restore(predictions: Tensors, frame: Frame) -> Tensors:
    """The same, float32 [h, w]."""
    return {key: restore_map(values[..., None], frame)[..., 0] for key, values in predictions.items()}
