"""Assertions inside of the input pipeline's graph: the rules of `opening.py`, for tensors.

Each returns its tensor unchanged, so that nothing uses the tensor before it is checked.
"""

from __future__ import annotations

import tensorflow as tf

from must_tf.data import opening


def required(values: tf.Tensor, condition: tf.Tensor, message: str, *shown: tf.Tensor) -> tf.Tensor:
    """Returns the values unchanged, after asserting a condition. Costs a microsecond: tf.debugging has a branch."""
    checked = tf.raw_ops.Assert(condition=condition, data=[tf.constant(message), *shown], summarize=6)
    with tf.control_dependencies([checked] if checked is not None else []):
        return tf.identity(values)


def bounded(encoded: tf.Tensor) -> tf.Tensor:
    """Returns an encoded image unchanged, after asserting that its header promises at most `opening.MAX_PIXELS`."""
    jpeg = tf.equal(tf.strings.substr(encoded, 0, 3), opening.JPEG)
    size = tf.cond(jpeg, lambda: tf.io.extract_jpeg_shape(encoded)[:2], lambda: png_sizes(encoded)[0])
    pixels = tf.reduce_prod(tf.cast(size, tf.int64))
    return required(encoded, pixels <= opening.MAX_PIXELS, "image is too large", size)


def png_sizes(files: tf.Tensor) -> tf.Tensor:
    """Returns height and width, int32 [N, 2], of PNG files from their headers. Fails if one is too short."""
    width_height = tf.io.decode_raw(tf.strings.substr(files, opening.PNG_SIZE, 8), tf.int32, little_endian=False)
    return tf.reverse(tf.reshape(width_height, [-1, 2]), [1])


def half(encoded: tf.Tensor, found: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Returns the file of a map unchanged, after asserting that the map has half of the image's height and width.

    Args:
      encoded: the file.
      found, size: height and width of the map and of the image, int32 [2] each.
    """
    fits = tf.reduce_all(found == opening.half(size))
    return required(encoded, fits, "map and image differ in size", found, size)


def checked_map(ids: tf.Tensor, count: int, source: str) -> tf.Tensor:
    """Returns a map of class ids, uint8 [h, w], unchanged, after asserting that they are below `count`, or
    `opening.UNKNOWN`.

    Model Garden would silently train other ids as background, or with a loss of 0.

    Args:
      ids: the map.
      count: 0 means that the task has no class names: nothing is checked.
      source: the origin of the ids, for the error message.
    """
    if not 0 < count < opening.UNKNOWN:
        return ids
    # `UNKNOWN + 1` is 0 in a byte. Rows are reduced faster than all pixels at once.
    above = tf.cast(tf.reduce_max(tf.reduce_max(ids + 1, axis=1)), tf.int32)
    return required(ids, above <= count, f"{source}: class ids must be below {count}", above - 1)
