"""The paper's head: fused P2, 3 convs, linear; predicts log metres, or inverse depth for the loss "ssi"."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import tensorflow as tf

from must_tf.data import host_maps
from must_tf.data.geometry import Frame, in_bands, restore_planes
from must_tf.spec import Arrays, Given, HeadSettings, Ideal, Tensors
from must_tf.tasks.depth.config import Config

if TYPE_CHECKING:
    import tf_keras

# Range of the raw output, 5 cm to 400 m. Prevents overflow if the head diverges.
LOG_METRES = (-3.0, 6.0)


def head(config: Config, settings: HeadSettings) -> tf_keras.layers.Layer:
    """Returns the head; its raw output is `map` [B, S/4, S/4, 1], log metres or inverse depth up to scale and shift."""
    from must_tf.shared.pixel_head import PixelHead

    return PixelHead(1, config.filters, settings, "depth")


def unit(config: Config) -> str:
    """Returns the unit of the predictions in words."""
    return "inverse depth, no unit" if config.loss == "ssi" else "metres"


def decode(raw: Tensors, given: Given, config: Config) -> Tensors:
    """Returns `metres` or `inverse_depth` [B, S/4, S/4]; the latter may be negative, because its shift is arbitrary."""
    del given
    if config.loss == "ssi":
        return {"inverse_depth": raw["map"][..., 0]}
    return {"metres": tf.exp(tf.clip_by_value(raw["map"][..., 0], *LOG_METRES))}


def ideal(targets: Arrays, config: Config) -> Ideal:
    """Returns the targets, with 1 (metre) for unknown pixels."""
    key = "inverse_depth" if config.loss == "ssi" else "metres"
    known = targets[key] > 0
    return Ideal({key: np.where(known, targets[key], 1.0)}, known)


def restore(predictions: Tensors, frame: Frame) -> Tensors:
    """Returns the same maps, float32 [h, w]."""
    if all(map(host_maps.is_host, predictions.values())):
        of_bands = {key: host_maps.restore_planes(values[..., None], frame) for key, values in predictions.items()}
        return host_maps.in_bands(
            frame, lambda rows: {key: cv2.transpose(planes_of(rows)[0]) for key, planes_of in of_bands.items()}
        )
    planes = {key: restore_planes(values[..., None], frame) for key, values in predictions.items()}
    specs = dict.fromkeys(planes, tf.TensorSpec([None, None]))

    def band(top: tf.Tensor, bottom: tf.Tensor) -> Tensors:
        return {key: tf.transpose(planes_of(top, bottom)[0]) for key, planes_of in planes.items()}

    return in_bands(frame, specs, band)
