"""The paper's head: fused P2, 3 convs, linear; a normalised vector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
import tensorflow as tf

from must_tf.data import host_maps
from must_tf.data.geometry import Frame, in_bands, restore_planes
from must_tf.spec import Arrays, Given, HeadSettings, Ideal, Tensors
from must_tf.tasks.normals import labels
from must_tf.tasks.normals.config import Config

if TYPE_CHECKING:
    import tf_keras


def head(config: Config, settings: HeadSettings) -> tf_keras.layers.Layer:
    """Returns the head; its raw output is `map` [B, S/4, S/4, 3], not normalised."""
    from must_tf.shared.pixel_head import PixelHead

    return PixelHead(3, config.filters, settings, "normals")


def decode(raw: Tensors, given: Given, config: Config) -> Tensors:
    """Returns `normals` [B, S/4, S/4, 3], unit vectors."""
    del given, config
    return {"normals": tf.math.l2_normalize(raw["map"], axis=-1)}


def ideal(targets: Arrays, config: Config) -> Ideal:
    """Returns the targets' vectors; unknown pixels face right."""
    del config
    normals = labels.seen({key: tf.constant(targets[key]) for key in ("normal_colours", "mirrored")}).numpy()
    known = normals.any(-1)  # [B, T, T]
    return Ideal({"normals": np.where(known[..., None], normals, np.array([1.0, 0.0, 0.0], np.float32))}, known)


def restore(predictions: Tensors, frame: Frame) -> Tensors:
    """Returns `normals` float32 [h, w, 3], interpolated and normalised again."""
    if host_maps.is_host(predictions["normals"]):
        axes_of = host_maps.restore_planes(predictions["normals"], frame)
        return host_maps.in_bands(frame, lambda rows: {"normals": _normalised(axes_of(rows))})
    planes_of = restore_planes(predictions["normals"], frame)

    def band(top: tf.Tensor, bottom: tf.Tensor) -> Tensors:
        planes = planes_of(top, bottom)  # [3, w, rows]
        # As tf.math.l2_normalize, which takes twice the time: reductions over an innermost axis of length 3 are slow.
        x, y, z = tf.unstack(tf.square(planes))
        return {"normals": tf.transpose(planes * tf.math.rsqrt(tf.maximum(x + y + z, 1e-12)), [2, 1, 0])}

    return in_bands(frame, {"normals": tf.TensorSpec([None, None, 3])}, band)


def _normalised(axes: Sequence[np.ndarray]) -> np.ndarray:
    """Returns unit vectors [rows, w, 3] from their axes, 3 x [w, rows]; on the host, with the numbers of the graph."""
    squares = np.square(axes[0])
    for axis in axes[1:]:
        squares += np.square(axis)
    lengths = np.asarray(tf.math.rsqrt(np.maximum(squares, np.float32(1e-12), out=squares)))
    return cv2.merge([cv2.transpose(axis * lengths) for axis in axes])
