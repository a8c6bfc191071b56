"""Losses over labelled pixels and images only, and the resizing that brings outputs to the labels' resolution."""

from __future__ import annotations

import tensorflow as tf

from must_tf.spec import Tensors, Term


def resize_to(values: tf.Tensor, side: int) -> tf.Tensor:
    """[B, R, R, C] -> [B, side, side, C], bilinear; outputs go to the labels' resolution, never the reverse."""
    return values if values.shape[1] == side else tf.image.resize(values, [side, side])


def visible(tensors: Tensors, weight: tf.Tensor) -> Tensors:
    """The same, but 0 in the rows of images where nobody looked, and in float32, whatever the heads compute in.

    What stands there may be anything, even NaN, and the gradient of a NaN that is left out afterwards is still NaN.

    Args:
      tensors: each [B, ...]; whatever is no float tensor stays as it is.
      weight: [B]
    """

    def one(values: tf.Tensor) -> tf.Tensor:
        if not (tf.is_tensor(values) and values.dtype.is_floating):
            return values
        values = tf.cast(values, tf.float32)
        rows = tf.reshape(weight > 0, [-1] + [1] * (values.shape.rank - 1))
        return tf.where(rows, values, tf.zeros_like(values))

    return {key: one(values) for key, values in tensors.items()}


def without_hardest(values: tf.Tensor, known: tf.Tensor, pseudo: tf.Tensor, share: float) -> tf.Tensor:
    """The known pixels without the `share` of a teacher's whose loss is highest, image by image.

    Where a student that has learned from many labels disagrees most with a teacher, the teacher is likelier wrong than
    right. Real labels all stay. Source: the trimmed loss of MiDaS, https://arxiv.org/abs/1907.01341.

    Args:
      values: [B, R, R] the loss per pixel, or what orders pixels as it does; it gets no gradient from here.
      known: bool [B, R, R].
      pseudo: bool [B] of the image.
      share: in [0, 1); of the known pixels, rounded down. Pixels as hard as the last one that stays, stay too.

    Returns:
      bool [B, R, R]
    """
    if not share:
        return known
    flat = tf.reshape(tf.where(known, values, values.dtype.max), [-1, values.shape[1] * values.shape[2]])
    count = tf.reduce_sum(tf.cast(known, tf.int32), axis=[1, 2])
    dropped = tf.cast(tf.floor(share * tf.cast(count, tf.float32)), tf.int32)
    last = tf.maximum(count - dropped - 1, 0)[:, None]
    limit = tf.gather(tf.sort(tf.stop_gradient(flat), axis=-1), last, batch_dims=1)  # [B, 1]
    believed = ~(values > limit[..., None])  # what is no number stays, so that a diverged head is noticed
    return known & (believed | ~pseudo[:, None, None])


def per_pixel(values: tf.Tensor, known: tf.Tensor, weight: tf.Tensor) -> Term:
    """Mean over known pixels of the labelled images; an image counts its known pixels.

    Args:
      values: [B, R, R] the loss per pixel; where not known it may be anything, even NaN.
      known: [B, R, R] bool.
      weight: [B] of the image; 0 where nobody looked.
    """
    counted = tf.logical_and(known, weight[:, None, None] > 0)
    weighted = tf.where(counted, values, 0.0) * weight[:, None, None]
    return Term(tf.reduce_sum(weighted, axis=[1, 2]), tf.reduce_sum(tf.cast(counted, tf.float32), axis=[1, 2]))


def per_image(values: tf.Tensor, weight: tf.Tensor) -> Term:
    """Mean over labelled images: values [B], weight [B]."""
    counted = weight > 0
    return Term(tf.where(counted, values, 0.0) * weight, tf.cast(counted, tf.float32))
