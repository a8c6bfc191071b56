"""Decodes any JPEG or PNG file to the pixels that its record holds, with TensorFlow's operations only.

Conversion, prediction and the exported SavedModel all use these functions, so one file has one picture.

| file | pixels |
|---|---|
| JPEG, grey, RGB or CMYK | as TensorFlow decodes them |
| JPEG, turned by EXIF | turned, compressed again at quality 95, 4:4:4, and decoded: records keep JPEGs |
| PNG, turned by EXIF | turned |
| PNG with 16 bits | divided by 257 and rounded, so that 65535 becomes 255 |
| PNG with alpha or a transparent colour | over white |
| PNG with a palette, or fewer than 8 bits | their colours |

The orientation is that of the EXIF block: the first APP1 segment of a JPEG that has one, or the chunk eXIf of a PNG.
Damaged EXIF means upright.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from must_tf.data import record

QUALITY = 95  # of a JPEG that was turned
JPEG = b"\xff\xd8\xff"  # the first bytes of JPEG files
EXIF = b"Exif\0\0"
ORIENTATION = 0x0112  # the EXIF tag; 1 is upright, 5 to 8 are turned by 90 degrees
SHORT = 3  # the type of its value
UPRIGHT, LAST = 1, 8
# JPEG segments: a marker of two bytes, then a length of two bytes that counts itself.
APP1, SCAN = 0xE1, 0xDA
# PNG: 8 bytes, then chunks of length, type, content and CRC of 4 bytes each. IHDR is the first.
FIRST_CHUNK, CHUNK_BYTES = 8, 12
EXIF_CHUNK, TRANSPARENT_CHUNK = b"eXIf", b"tRNS"
BIT_DEPTH, COLOUR_TYPE = 24, 25  # positions in a PNG
DEEP = 16  # bits
ALPHA = 4  # the bit of the colour type
NOWHERE = -1


class Found(NamedTuple):
    """The blocks of an image file that decide about its pixels.

    Attributes:
      exif: position of the EXIF block's TIFF header, int32 []; `NOWHERE` without one.
      transparent: bool [], a PNG has alpha or a transparent colour.
    """

    exif: tf.Tensor
    transparent: tf.Tensor


def decode(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes the bytes of a JPEG or PNG, upright, to uint8 [h, w, 3]."""
    return tf.ensure_shape(tf.cond(_is_jpeg(encoded), lambda: _jpeg(encoded), lambda: _png(encoded)), [None, None, 3])


def orientation(encoded: tf.Tensor) -> tf.Tensor:
    """Returns the EXIF orientation of a JPEG or PNG, int32 [] from 1 to 8; 1 without EXIF."""
    return _orientation(encoded, _found(encoded).exif)


def png_pixels(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes the bytes of a PNG to uint8 [h, w, 3] as they are stored, without turning them."""
    return _png_pixels(encoded, _found(encoded).transparent)


def turned_jpeg(encoded: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Turns a JPEG upright and compresses it again."""
    pixels = turned(record.decode_image(encoded), orientation)
    return tf.io.encode_jpeg(pixels, "rgb", QUALITY, chroma_downsampling=False)


def turned(pixels: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Turns pixels [h, w, c] with an EXIF orientation upright."""
    swapped = orientation > 4
    pixels = tf.cond(swapped, lambda: tf.transpose(pixels, [1, 0, 2]), lambda: pixels)
    from_right = tf.reduce_any(orientation == tf.constant([2, 3, 6, 7]))
    pixels = tf.cond(from_right, lambda: tf.reverse(pixels, [1]), lambda: pixels)
    from_below = tf.reduce_any(orientation == tf.constant([3, 4, 7, 8]))
    return tf.cond(from_below, lambda: tf.reverse(pixels, [0]), lambda: pixels)


def over_white(rgba: tf.Tensor) -> tf.Tensor:
    """Composes uint8 [h, w, 4] over white: (c a + 255 (255 - a)) / 255, rounded. Returns uint8 [h, w, 3]."""
    colour, alpha = tf.cast(rgba[..., :3], tf.uint16), tf.cast(rgba[..., 3:], tf.uint16)
    total = colour * alpha + 255 * (255 - alpha)  # at most 255 * 255, which 16 bits hold
    return tf.cast((total + 127) // 255, tf.uint8)


def _is_jpeg(encoded: tf.Tensor) -> tf.Tensor:
    return tf.equal(tf.strings.substr(encoded, 0, len(JPEG)), JPEG)


def _jpeg(encoded: tf.Tensor) -> tf.Tensor:
    direction = _orientation(encoded, _segments(encoded).exif)
    upright = tf.cond(direction == UPRIGHT, lambda: encoded, lambda: turned_jpeg(encoded, direction))
    return record.decode_image(upright)


def _png(encoded: tf.Tensor) -> tf.Tensor:
    found = _chunks(encoded)
    return turned(_png_pixels(encoded, found.transparent), _orientation(encoded, found.exif))


def _png_pixels(encoded: tf.Tensor, transparent: tf.Tensor) -> tf.Tensor:
    def deep() -> tf.Tensor:
        levels = tf.cast(tf.io.decode_png(encoded, channels=4, dtype=tf.uint16), tf.int32)
        return over_white(tf.cast((levels + 128) // 257, tf.uint8))

    def shallow() -> tf.Tensor:
        return tf.cond(
            transparent,
            lambda: over_white(tf.io.decode_png(encoded, channels=4)),
            lambda: tf.io.decode_png(encoded, channels=3),
        )

    # A file that is too short to have a bit depth is refused by the decoder.
    is_deep = tf.equal(_number(encoded, BIT_DEPTH, 1), DEEP)
    return tf.ensure_shape(tf.cond(is_deep, deep, shallow), [None, None, 3])


def _found(encoded: tf.Tensor) -> Found:
    exif, transparent = tf.cond(_is_jpeg(encoded), lambda: _segments(encoded), lambda: _chunks(encoded))
    return Found(exif, transparent)


def _has(encoded: tf.Tensor, *marks: bytes) -> tf.Tensor:
    """Tests if any of these bytes occur anywhere. Most files have none, and need not be walked part by part."""
    return tf.reduce_any(tf.stack([tf.size(tf.strings.split(encoded, mark)) > 1 for mark in marks]))


def _segments(encoded: tf.Tensor) -> Found:
    exif = tf.cond(_has(encoded, EXIF), lambda: _walked_segments(encoded), lambda: tf.constant(NOWHERE))
    return Found(exif, tf.constant(False))


def _walked_segments(encoded: tf.Tensor) -> tf.Tensor:
    """Walks the segments of a JPEG from the start of the file to the EXIF block or the first scan."""
    length = tf.strings.length(encoded)

    def before_scan(at: tf.Tensor, exif: tf.Tensor) -> tf.Tensor:
        is_marker = tf.equal(_number(encoded, at, 1), 0xFF) & tf.not_equal(_number(encoded, at + 1, 1), SCAN)
        return (exif == NOWHERE) & (at + 4 <= length) & is_marker

    def step(at: tf.Tensor, exif: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        is_exif = tf.equal(_number(encoded, at + 1, 1), APP1) & tf.equal(_bytes(encoded, at + 4, len(EXIF)), EXIF)
        return at + 2 + _number(encoded, at + 2, 2), tf.where(is_exif, at + 4 + len(EXIF), exif)

    start = (tf.constant(2), tf.constant(NOWHERE))
    return tf.while_loop(before_scan, step, start, parallel_iterations=1)[1]


def _chunks(encoded: tf.Tensor) -> Found:
    has_alpha = tf.not_equal(tf.bitwise.bitwise_and(_number(encoded, COLOUR_TYPE, 1), ALPHA), 0)
    exif, transparent = tf.cond(
        _has(encoded, EXIF_CHUNK, TRANSPARENT_CHUNK),
        lambda: _walked_chunks(encoded),
        lambda: (tf.constant(NOWHERE), tf.constant(False)),
    )
    return Found(exif, transparent | has_alpha)


def _walked_chunks(encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Walks the chunks of a PNG to its end: EXIF may follow the pixels."""
    length = tf.strings.length(encoded)

    def before_end(at: tf.Tensor, exif: tf.Tensor, transparent: tf.Tensor) -> tf.Tensor:
        del exif, transparent
        return at + CHUNK_BYTES <= length

    def step(at: tf.Tensor, exif: tf.Tensor, transparent: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        kind, content = _bytes(encoded, at + 4, 4), at + 8
        content = tf.where(tf.equal(_bytes(encoded, content, len(EXIF)), EXIF), content + len(EXIF), content)
        is_exif = tf.equal(kind, EXIF_CHUNK) & (exif == NOWHERE)
        transparent |= tf.equal(kind, TRANSPARENT_CHUNK)
        size = _number(encoded, at, 4)
        size = tf.where((size < 0) | (size > length), length, size)  # an invalid one ends the walk
        return at + CHUNK_BYTES + size, tf.where(is_exif, content, exif), transparent

    start = (tf.constant(FIRST_CHUNK), tf.constant(NOWHERE), tf.constant(False))
    _, exif, transparent = tf.while_loop(before_end, step, start, parallel_iterations=1)
    return exif, transparent


def _orientation(encoded: tf.Tensor, exif: tf.Tensor) -> tf.Tensor:
    """Reads the orientation from the TIFF header at `exif`: byte order, 42, and the position of the first table."""

    def read() -> tf.Tensor:
        little = tf.equal(_bytes(encoded, exif, 2), b"II")
        table = exif + _number(encoded, exif + 4, 4, little)
        rows = tf.io.decode_raw(_bytes(encoded, table + 2, 12 * _number(encoded, table, 2, little)), tf.uint8)
        rows = tf.cast(tf.reshape(rows[: tf.size(rows) // 12 * 12], [-1, 12]), tf.int32)
        # [N, 12] -> [N] tag, type and value
        tags, types, values = (_of_two(rows[:, at], rows[:, at + 1], little) for at in (0, 2, 8))
        values = tf.boolean_mask(values, (tags == ORIENTATION) & (types == SHORT))
        return tf.concat([values, [UPRIGHT]], 0)[0]

    value = tf.cond(exif == NOWHERE, lambda: tf.constant(UPRIGHT), read)
    return tf.where((value >= UPRIGHT) & (value <= LAST), value, UPRIGHT)


def _of_two(first: tf.Tensor, second: tf.Tensor, little: tf.Tensor) -> tf.Tensor:
    return tf.where(little, second * 256 + first, first * 256 + second)


def _bytes(encoded: tf.Tensor, at: tf.Tensor | int, count: tf.Tensor | int) -> tf.Tensor:
    """Returns bytes of the file; fewer, or none, beyond its end."""
    length = tf.strings.length(encoded)
    start = tf.clip_by_value(tf.convert_to_tensor(at, tf.int32), 0, length)
    return tf.strings.substr(encoded, start, tf.maximum(tf.convert_to_tensor(count, tf.int32), 0))


def _number(encoded: tf.Tensor, at: tf.Tensor | int, count: int, little: tf.Tensor | bool = False) -> tf.Tensor:
    """Returns an unsigned number of `count` bytes as int32; bytes beyond the end are zeros, 2^31 and more overflow."""
    digits = tf.cast(tf.io.decode_raw(_bytes(encoded, at, count), tf.uint8), tf.int32)
    digits = tf.pad(digits, [[0, count - tf.size(digits)]])
    digits = tf.where(little, digits, tf.reverse(digits, [0]))
    return tf.reduce_sum(tf.bitwise.left_shift(digits, tf.range(0, 8 * count, 8)))
