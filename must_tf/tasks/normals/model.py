"""The paper's head: fused P2, 3 convs, linear; a normalised vector."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

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
    planes_of = restore_planes(predictions["normals"], frame)

    def band(top: tf.Tensor, bottom: tf.Tensor) -> Tensors:
        planes = planes_of(top, bottom)  # [3, w, rows]
        # As tf.math.l2_normalize, which takes twice the time: reductions over an innermost axis of length 3 are slow.
        x, y, z = tf.unstack(tf.square(planes))
        return {"normals": tf.transpose(planes * tf.math.rsqrt(tf.maximum(x + y + z, 1e-12)), [2, 1, 0])}

    return in_bands(frame, {"normals": tf.TensorSpec([None, None, 3])}, band)
