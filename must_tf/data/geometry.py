"""One geometry per image: every label is warped by the same `Warp` as the pixels, and back by the same `Frame`.

Pixel centres lie at +0.5. An original image [h, w] is mirrored if `flip`, scaled to `scaled` pixels, and the window
of S x S pixels whose top left corner lies at `offset` is cut out. What lies outside of the image is unknown.

    output = mirrored * scaled / original - offset
"""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from official.modeling import hyperparams

from must_tf.config.fields import above
from must_tf.data import resample

# Fills what lies outside of the image: the mean of the normalisation in `trunk.py`, so that it is zero there.
OUTSIDE = (124, 116, 104)


@dataclasses.dataclass
class Augmentation(hyperparams.Config):
    """What is drawn per training image.

    Attributes:
      flip: mirror every second image.
      scale_min, scale_max: the zoom is uniform between these; 1.0 fits the whole image into the input.
    """

    flip: bool = True
    scale_min: float = above(0.5, 0)
    scale_max: float = above(2.0, 0)


class Warp(NamedTuple):
    """Original image -> network input. All but `size` are tensors."""

    original: tf.Tensor  # [2] int32 height, width
    flip: tf.Tensor  # [] bool
    scaled: tf.Tensor  # [2] int32 height, width of the scaled image
    offset: tf.Tensor  # [2] int32 top left corner of the window in the scaled image
    size: int  # S


class Frame(NamedTuple):
    """Network input -> original image, for an image that was only fitted (no mirror, offset 0)."""

    original: tf.Tensor  # [2] int32 height, width
    scaled: tf.Tensor  # [2] int32; float32 where a map's cells are counted instead of pixels (another network's)
    size: int  # S


def fitted_size(original: tf.Tensor, size: int, zoom: tf.Tensor | float = 1.0) -> tf.Tensor:
    """Height and width [2] int32 of the image when its longer side is `size * zoom` pixels."""
    original = tf.cast(original, tf.float32)
    scaled = tf.round(original * (size * zoom / tf.reduce_max(original, axis=-1, keepdims=True)))
    return tf.maximum(tf.cast(scaled, tf.int32), 1)


def fit(original: tf.Tensor, size: int) -> Warp:
    """The whole image, not mirrored, in the input's top left corner: evaluation, labelling, serving."""
    zeros = tf.zeros([2], tf.int32)
    return Warp(original, tf.constant(False), fitted_size(original, size), zeros, size)


def draw(original: tf.Tensor, size: int, augmentation: Augmentation, seed: tf.Tensor) -> Warp:
    """A random warp, a pure function of `seed` [2]: (the run's seed, the image's place in the order)."""
    numbers = tf.random.stateless_uniform([4], seed)
    low, high = augmentation.scale_min, augmentation.scale_max
    scaled = fitted_size(original, size, low + (high - low) * numbers[0])
    room = tf.maximum(scaled - size, 0)
    offset = tf.cast(numbers[1:3] * tf.cast(room + 1, tf.float32), tf.int32)
    flip = tf.logical_and(augmentation.flip, numbers[3] < 0.5)
    return Warp(original, flip, scaled, tf.minimum(offset, room), size)


def shown(warp: Warp) -> tf.Tensor:
    """Height and width [2] int32 of the part of the input that shows the image."""
    return tf.minimum(warp.scaled - warp.offset, warp.size)


def enlargement(warp: Warp) -> tf.Tensor:
    """How much larger things look than in the fitted image, [] float32."""
    fitted = tf.cast(fitted_size(warp.original, warp.size), tf.float32)
    return tf.reduce_mean(tf.cast(warp.scaled, tf.float32) / fitted)


def _axes(warp: Warp, stride: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Rows and columns of the original under the centres of the output cells that show the image: the first ones."""
    centres = (tf.range(warp.size // stride, dtype=tf.float32) + 0.5) * stride

    def source(axis: int) -> tf.Tensor:
        ratio = tf.cast(warp.original[axis] / warp.scaled[axis], tf.float32)
        places = tf.cast(tf.floor((centres + tf.cast(warp.offset[axis], tf.float32)) * ratio), tf.int32)
        return places[: tf.math.count_nonzero(places < warp.original[axis], dtype=tf.int32)]

    rows, columns = source(0), source(1)
    return rows, tf.where(warp.flip, warp.original[1] - 1 - columns, columns)


def warp_nearest(values: tf.Tensor, warp: Warp, fill: float, stride: int = 1) -> tf.Tensor:
    """Labels per pixel [h, w, ...] -> [S / stride, S / stride, ...], each the nearest original pixel's."""
    rows, columns = _axes(warp, stride)
    side, inner = warp.size // stride, values.shape[2:]
    channels = inner.num_elements()
    height, width = tf.size(rows), tf.size(columns)
    # A zoom so small that no cell's centre shows the image: nothing is known.
    empty = tf.equal(height * width, 0)
    picked = tf.cond(
        empty,
        lambda: tf.zeros(tf.concat([[height, width], inner], 0), values.dtype),
        lambda: resample.nearest(values, rows, columns),
    )
    picked = tf.reshape(picked, [height, width, channels])
    return tf.reshape(resample.framed(picked, side, (fill,) * channels), [side, side, *inner])


def warp_image(image: tf.Tensor, warp: Warp) -> tf.Tensor:
    """Pixels uint8 [h, w, 3] -> uint8 [S, S, 3], bilinear, averaged where it shrinks."""
    size, offset = shown(warp), tf.cast(warp.offset, tf.float32)
    scale = tf.cast(warp.scaled / warp.original, tf.float32)
    width = tf.shape(image)[1]
    used = tf.minimum(width, resample.reach(offset[1] + tf.cast(size[1], tf.float32), scale[1]))
    image = tf.cond(warp.flip, lambda: tf.reverse(image[:, width - used :], [1]), lambda: image[:, :used])
    turned = tf.cast(tf.round(resample.triangle(image, size, scale, offset)), tf.uint8)
    return resample.framed(tf.transpose(turned, [1, 0, 2]), warp.size, OUTSIDE)


def warp_boxes(boxes: tf.Tensor, warp: Warp) -> tf.Tensor:
    """Normalised boxes [N, 4] -> pixels of the input, *not* clipped to it (`clip` does that)."""
    y0, x0, y1, x1 = tf.unstack(boxes, axis=-1)
    x0, x1 = tf.where(warp.flip, 1.0 - x1, x0), tf.where(warp.flip, 1.0 - x0, x1)
    scale = tf.tile(tf.cast(warp.scaled, tf.float32), [2])
    offset = tf.tile(tf.cast(warp.offset, tf.float32), [2])
    return tf.stack([y0, x0, y1, x1], axis=-1) * scale - offset


def clip(boxes: tf.Tensor, warp: Warp) -> tf.Tensor:
    """Boxes in pixels of the input [N, 4], cut to the part that shows the image."""
    limit = tf.tile(tf.cast(shown(warp), tf.float32), [2])
    return tf.minimum(tf.maximum(boxes, 0.0), limit)


class CropView(NamedTuple):
    """What of an object's mask is seen. All are tensors; several objects' have a leading axis."""

    whole: tf.Tensor  # [4] the pixels that its box touches in the original, in pixels of the input
    seen: tf.Tensor  # [4] its box, clipped to what the input shows


def crop_view(boxes: tf.Tensor, warp: Warp) -> CropView:
    """Of normalised boxes [N, 4]."""
    return CropView(warp_boxes(_touched(boxes, warp.original), warp), clip(warp_boxes(boxes, warp), warp))


def warp_crop(crop: tf.Tensor, view: CropView, warp: Warp, side: int) -> tf.Tensor:
    """An object's mask, re-cut to the visible part of its box.

    Args:
      crop: uint8 [ch, cw, 1] the mask over the whole pixels that the box touches in the original, 0 or 1.
      view: the object's.
      warp: the image's.
      side: M.

    Returns:
      float32 [M, M] in 0..1, over the box that `clip(warp_boxes(box))` gives.
    """
    crop = tf.raw_ops.Reverse(tensor=crop, dims=tf.stack([False, warp.flip, False]))
    whole, seen = view
    shape = tf.cast(tf.shape(crop)[:2], tf.float32)
    per_pixel = shape / tf.maximum(whole[2:] - whole[:2], 1e-6)  # crop pixels per input pixel
    extent = tf.maximum((seen[2:] - seen[:2]) * per_pixel, 1e-6)  # of the visible part, crop pixels
    scale = side / extent
    offset = (seen[:2] - whole[:2]) * per_pixel * scale
    turned = resample.triangle(crop, tf.constant([side, side]), scale, offset)
    return tf.ensure_shape(tf.transpose(turned[..., 0]), [side, side])


def crop_window(box: np.ndarray, height: int, width: int) -> tuple[int, int, int, int]:
    """Rows y0..y1 and columns x0..x1 (ends exclusive) of the pixels that a normalised box touches.

    The thousandth of a pixel absorbs that a border at a whole pixel is not exact in float32.
    """
    y0, x0, y1, x1 = np.asarray(box, np.float64).tolist()
    top, left = math.floor(y0 * height + 1e-3), math.floor(x0 * width + 1e-3)
    bottom, right = math.ceil(y1 * height - 1e-3), math.ceil(x1 * width - 1e-3)
    top, left = min(max(top, 0), height - 1), min(max(left, 0), width - 1)
    return top, left, min(max(bottom, top + 1), height), min(max(right, left + 1), width)


def _touched(boxes: tf.Tensor, original: tf.Tensor) -> tf.Tensor:
    """`crop_window` in the graph, normalised again: [N, 4] -> [N, 4]."""
    size = tf.tile(tf.cast(original, tf.float32), [2])
    low = tf.floor(boxes[:, :2] * size[:2] + 1e-3)
    high = tf.maximum(tf.math.ceil(boxes[:, 2:] * size[2:] - 1e-3), low + 1.0)
    return tf.concat([low, high], 1) / size


def restore_boxes(boxes: tf.Tensor, frame: Frame) -> tf.Tensor:
    """Pixels of a fitted input [N, 4] -> normalised, inside of the image."""
    scale = tf.tile(tf.cast(frame.scaled, tf.float32), [2])
    return tf.clip_by_value(boxes / scale, 0.0, 1.0)


def shown_cells(frame: Frame, stride: int) -> tf.Tensor:
    """How many rows and columns [2] int32 of a map's cells show the image; the last ones perhaps in part."""
    # A thousandth of a cell is rounding, where `scaled` is no whole number.
    return tf.cast(tf.math.ceil(tf.cast(frame.scaled, tf.float32) / float(stride) - 1e-3), tf.int32)


def restore_map(values: tf.Tensor, frame: Frame) -> tf.Tensor:
    """Predictions per cell [S / stride, S / stride, C] -> float32 [h, w, C], bilinear."""
    stride = frame.size // values.shape[0]
    # Cells that show nothing of the image say anything, and must not bleed into its last rows and columns.
    height, width = tf.unstack(shown_cells(frame, stride))
    values = values[:height, :width]
    scale = tf.cast(frame.original, tf.float32) / tf.cast(frame.scaled, tf.float32) * float(stride)
    return tf.raw_ops.ScaleAndTranslate(
        images=tf.cast(values, tf.float32)[None],
        size=frame.original,
        scale=scale,
        translation=tf.zeros([2]),
        kernel_type="triangle",
        antialias=False,
    )[0]
