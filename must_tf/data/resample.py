"""Separable resampling by whole rows. The input pipeline spends most of its time here.

`ScaleAndTranslate` processes the columns of an image pixel by pixel, three numbers at a time, but its rows as whole
vectors. Here both passes run over the rows of a [rows, numbers] matrix, with a transposition in between. This is
faster, and bit for bit the same as one call, because every sum has the same terms in the same order.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf


def _rows(values: tf.Tensor, count: tf.Tensor, scale: tf.Tensor, offset: tf.Tensor) -> tf.Tensor:
    """Resamples rows, [h, K] -> float32 [count, K]: row y shows row (y + offset) / scale, averaged if it shrinks."""
    return tf.raw_ops.ScaleAndTranslate(
        images=values[None, :, None, :],
        size=[count, 1],
        scale=tf.stack([scale, 1.0]),
        translation=tf.stack([-offset, 0.0]),
        kernel_type="triangle",
    )[0, :, 0, :]


def columns_of_scaled(values: tf.Tensor, height: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """Scales the rows of a map float32 [h, w, C] to [C, w, H], one transposed plane per channel, bilinear without
    averaging.

    Args:
      values: the map.
      height: H, int32.
      scale: output pixels per cell, float32.
    """
    cells, width = tf.unstack(tf.shape(values)[:2])
    channels = values.shape[2]
    flat = tf.reshape(tf.transpose(values, [0, 2, 1]), [1, cells, channels * width])
    return tf.reshape(tf.transpose(_bilinear(flat, height, scale)[0]), [channels, width, height])


def planes_of_columns(columns: tf.Tensor, width: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """Scales the rest of such a map, or of some of its rows, from [C, w, H] to [C, W, H].

    Each row is computed by itself: a part of the rows is the same part of the result, bit for bit.
    """
    return _bilinear(columns, width, scale)


def _bilinear(values: tf.Tensor, count: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """Resamples rows, float32 [B, h, K] -> [B, count, K]."""
    return tf.raw_ops.ScaleAndTranslate(
        images=values[:, :, None, :],
        size=[count, 1],
        scale=tf.stack([scale, 1.0]),
        translation=tf.zeros([2]),
        kernel_type="triangle",
        antialias=False,
    )[:, :, 0, :]


def pixels_needed(end: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """Returns how many pixels of a row are enough to compute the first `end` output pixels.

    This is more than a kernel's width above the exact number.
    """
    return tf.cast(tf.math.ceil(end / scale + tf.maximum(1.0, 1.0 / scale)), tf.int32) + 2


def window_of_scaled(image: tf.Tensor, size: tf.Tensor, scale: tf.Tensor, offset: tf.Tensor) -> tf.Tensor:
    """Cuts a window out of the scaled image, with the triangle kernel: bilinear if it grows, averaged if it shrinks.

    Args:
      image: [h, w, C], of any number type.
      size: [2] int32 height H and width W of the window, at least 1.
      scale: [2] float32 output pixels per input pixel.
      offset: [2] float32 top left corner of the window in the scaled image, pixels.

    Returns:
      float32 [W, H, C], transposed: the caller can convert it to a smaller type before transposing it back.
    """
    height, width = tf.unstack(tf.shape(image)[:2])
    channels = image.shape[2]
    rows = _rows(tf.reshape(image, [height, width * channels]), size[0], scale[0], offset[0])
    columns = tf.transpose(tf.reshape(rows, [size[0], width, channels]), [1, 0, 2])
    turned = _rows(tf.reshape(columns, [width, size[0] * channels]), size[1], scale[1], offset[1])
    return tf.reshape(turned, [size[1], size[0], channels])


def padded_to_square(values: tf.Tensor, side: int, fill: tuple[float, ...]) -> tf.Tensor:
    """Pads [h, w, C] on the right and below to [side, side, C] with `fill`, one number per channel."""
    height, width = tf.unstack(tf.shape(values)[:2])
    channels = len(fill)
    # Whole rows of numbers: broadcasting one pixel would copy number by number.
    row = tf.constant(np.tile(np.asarray(fill, values.dtype.as_numpy_dtype), side)[None])
    flat = tf.reshape(values, [height, width * channels])
    missing = (side - width) * channels
    filled = tf.concat([flat, tf.broadcast_to(row[:, :missing], [height, missing])], 1)
    below = tf.broadcast_to(row, [side - height, side * channels])
    return tf.reshape(tf.concat([filled, below], 0), [side, side, channels])


def enlarged(values: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Returns a map [h, w, C] whose pixels are 2 x 2 pixels of an image of this size, int32 [2], as [H, W, C]."""
    height, width, channels = tf.unstack(tf.shape(values))
    wide = tf.reshape(tf.stack([values, values], 2), [height, 2 * width, channels])[:, : size[1]]
    return tf.reshape(tf.stack([wide, wide], 1), [2 * height, size[1], channels])[: size[0]]


def nearest(values: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """Picks rows [H], ascending, and columns [W] from [h, w, ...]; columns are picked from the smaller set of rows."""
    used = values[rows[0] : rows[-1] + 1]
    picked = rows - rows[0]
    return tf.cond(
        tf.shape(used)[0] < tf.shape(picked)[0],
        lambda: tf.gather(_columns(used, columns), picked, axis=0),
        lambda: _columns(tf.gather(used, picked, axis=0), columns),
    )


def _columns(values: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """Picks columns [W] from [h, w, ...]."""
    if values.shape.rank > 2:
        return tf.gather(values, columns, axis=1)
    # Transposing the map, picking whole rows and transposing back is faster than picking number by number.
    return tf.transpose(tf.gather(tf.transpose(values), columns))
