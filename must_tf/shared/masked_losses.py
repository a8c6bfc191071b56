"""Losses over labelled pixels and images only, and resizing of outputs to the labels' resolution."""

from __future__ import annotations

import tensorflow as tf

from must_tf.spec import Tensors, Term


def resize_to(values: tf.Tensor, side: int) -> tf.Tensor:
    """Resizes outputs [B, R, R, C] -> [B, side, side, C], bilinear. Labels are never resized."""
    return values if values.shape[1] == side else tf.image.resize(values, [side, side])


def visible(tensors: Tensors, weight: tf.Tensor) -> Tensors:
    """Casts to float32, and sets the rows of unlabelled images to 0.

    These rows may hold anything, even NaN, and masking the loss afterwards would leave the gradient NaN.

    Args:
      tensors: each [B, ...]; anything but float tensors is returned unchanged.
      weight: [B]
    """

    def zeroed(values: tf.Tensor) -> tf.Tensor:
        if not (tf.is_tensor(values) and values.dtype.is_floating):
            return values
        values = tf.cast(values, tf.float32)
        rows = tf.reshape(weight > 0, [-1] + [1] * (values.shape.rank - 1))
        return tf.where(rows, values, tf.zeros_like(values))

    return {key: zeroed(values) for key, values in tensors.items()}


def without_hardest(values: tf.Tensor, known: tf.Tensor, pseudo: tf.Tensor, share: float) -> tf.Tensor:
    """Drops the `share` of pseudo-labelled pixels with the highest loss from the known pixels of each image.

    Where a trained student disagrees most with a teacher, the teacher is probably wrong. All real labels are kept.
    Source: the trimmed loss of MiDaS, https://arxiv.org/abs/1907.01341.

    Args:
      values: [B, R, R] loss per pixel, or anything that orders the pixels in the same way; gets no gradient.
      known: bool [B, R, R].
      pseudo: bool [B], true for images with a pseudo label.
      share: in [0, 1), of the known pixels, rounded down. Pixels tied with the last one that is kept are kept too.

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
    believed = ~(values > limit[..., None])  # NaN is kept, so that a diverged head is noticed
    return known & (believed | ~pseudo[:, None, None])


def per_pixel(values: tf.Tensor, known: tf.Tensor, weight: tf.Tensor) -> Term:
    """Returns the term of a loss per pixel; an image counts its known pixels.

    Args:
      values: [B, R, R] loss per pixel; unknown pixels may have any value, even NaN.
      known: bool [B, R, R].
      weight: [B] of the image; 0 if it is not labelled.
    """
    counted = tf.logical_and(known, weight[:, None, None] > 0)
    weighted = tf.where(counted, values, 0.0) * weight[:, None, None]
    return Term(tf.reduce_sum(weighted, axis=[1, 2]), tf.reduce_sum(tf.cast(counted, tf.float32), axis=[1, 2]))


def per_image(values: tf.Tensor, weight: tf.Tensor) -> Term:
    """Returns the term of a loss per image, values [B]; weight [B] is 0 for unlabelled images."""
    counted = weight > 0
    return Term(tf.where(counted, values, 0.0) * weight, tf.cast(counted, tf.float32))
