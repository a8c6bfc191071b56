"""Decodes the images of a batch one by one: an image that cannot be served costs its own row and no other.

A file's size is read from its header before anything is decoded, because a small file can hold a huge image. Two limits
bound the memory:

    per image   height x width
    per batch   rows x the largest height x the largest width, the size of each padded map of the outputs

Images are admitted in their order in the batch. `image/status` is "ok", or says why a row has no predictions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from must_tf.data import decoding, record

PNG = b"\x89PNG\r\n\x1a\n"
PNG_SIZE = 16  # position of width and height in a PNG file, 4 bytes each
STATUS = "image/status"
OK = "ok"
CROWDED_OUT = "does not fit into the batch"
UNREADABLE = "damaged, truncated, or neither JPEG nor PNG"


class Source(NamedTuple):
    """One kind of input. Both functions take one item of a batch, and may fail.

    `size` returns height and width [2] int32 without decoding; `decode` returns uint8 [h, w, 3].
    """

    spec: tf.TensorSpec
    size: Callable[[tf.Tensor], tf.Tensor]
    decode: Callable[[tf.Tensor], tf.Tensor]


def encoded() -> Source:
    """Returns JPEG or PNG files, string [B]."""
    return Source(tf.TensorSpec([None], tf.string, "image_bytes"), header_size, decoding.decode)


def pixels() -> Source:
    """Returns decoded images of one size, uint8 [B, H, W, 3]."""
    spec = tf.TensorSpec([None, None, None, 3], tf.uint8, "image_tensor")
    return Source(spec, lambda image: tf.shape(image)[:2], lambda image: image)


def records() -> Source:
    """Returns serialised records, string [B], of which only the image is read."""

    def image_of(serialized: tf.Tensor) -> tf.Tensor:
        return tf.io.parse_single_example(serialized, record.IMAGE_FEATURES)["image/encoded"]

    spec = tf.TensorSpec([None], tf.string, "tf_example")
    return Source(spec, lambda item: header_size(image_of(item)), lambda item: record.decode_image(image_of(item)))


def header_size(file: tf.Tensor) -> tf.Tensor:
    """Returns height and width [2] int32 of a JPEG or PNG file. Fails if it is neither."""

    def png() -> tf.Tensor:
        is_png = tf.debugging.assert_equal(tf.strings.substr(file, 0, len(PNG)), PNG)
        with tf.control_dependencies([is_png] if is_png is not None else []):
            width_height = tf.io.decode_raw(tf.strings.substr(file, PNG_SIZE, 8), tf.int32, little_endian=False)
        return tf.reverse(tf.ensure_shape(width_height, [2]), [0])

    is_jpeg = tf.equal(tf.strings.substr(file, 0, 3), b"\xff\xd8\xff")
    return tf.cond(is_jpeg, lambda: tf.io.extract_jpeg_shape(file)[:2], png)


def is_crowded_out(row: Mapping[str, Any]) -> bool:
    """Returns True if an image is not served because of the others in its batch. `row` has its outputs as NumPy."""
    return bool(row[STATUS].item().startswith(CROWDED_OUT.encode()))


def decoded(item: tf.Tensor, source: Source, limit: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Decodes one item of a batch.

    Args:
      item: of the input.
      source: its kind.
      limit: the largest number of pixels.

    Returns:
      The image, uint8 [h, w, 3], and its status, a string. If the status is not "ok", the image is one black pixel.
    """

    def attempt(item: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        size = source.size(item)
        count = tf.reduce_prod(tf.cast(size, tf.int64))
        in_bounds = tf.reduce_all(size > 0) & (count <= limit)
        image = tf.cond(in_bounds, lambda: source.decode(item), _blank)
        height, width = tf.unstack(tf.strings.as_string(size))
        shown = tf.strings.join([width, " x ", height, f" pixels; from 1 to {limit} are served"])
        return tf.ensure_shape(image, [None, None, 3]), tf.where(in_bounds, OK, shown)

    return _guarded(attempt, item, (_blank(), tf.constant(UNREADABLE)))


def _blank() -> tf.Tensor:
    image = tf.zeros([1, 1, 3], tf.uint8)
    return tf.ensure_shape(tf.raw_ops.PlaceholderWithDefault(input=image, shape=[None, None, 3]), [None, None, 3])


def _guarded(function: Callable[[tf.Tensor], Any], item: tf.Tensor, instead: Any) -> Any:
    """Returns `function(item)`, or `instead` if one of its operations fails. Graphs catch errors in no other way."""
    attempt = tf.data.Dataset.from_tensors(item).map(function).ignore_errors(log_warning=False)
    return attempt.concatenate(tf.data.Dataset.from_tensors(instead)).take(1).get_single_element()


def admitted(sizes: tf.Tensor, status: tf.Tensor, limit: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Applies the limit on the pixels of a batch.

    Args:
      sizes: int32 [B, 2], height and width of each image.
      status: string [B], of each image by itself.
      limit: the largest number of pixels of a padded map over all rows.

    Returns:
      The status of each image in this batch, and the largest height and width [2] int32 of those that are served; 0 if
      there are none.
    """
    rows = tf.shape(sizes, out_type=tf.int64)[0]

    def add(largest: tf.Tensor, row: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        size, is_ok = row
        grown = tf.maximum(largest, size)
        fits = is_ok & (rows * tf.reduce_prod(tf.cast(grown, tf.int64)) <= limit)
        return tf.where(fits, grown, largest)

    is_ok = tf.equal(status, OK)
    running = tf.scan(add, (sizes, is_ok), initializer=tf.zeros([2], tf.int32))  # [B, 2] after each row
    fits = tf.reduce_all(sizes <= running, axis=1)
    message = f"{CROWDED_OUT}, whose rows x largest height x largest width is limited to {limit}"
    return tf.where(is_ok & ~fits, message, status), running[-1]
