"""One geometry per image: a `Warp` maps the pixels and every label to the network's input, a `Frame` maps back.

An original image [h, w] is mirrored if `flip`, scaled to `scaled` pixels, and cut to the window of S x S pixels whose
top left corner is at `offset`:

    output = mirrored * scaled / original - offset

Conventions in this module and in all tasks:

- Axes are y (down), then x (right): sizes are height, width. Pixel centres are at +0.5.
- Boxes are [y0, x0, y1, x1]. In the original frame they are normalised to 0..1, in the input they are in pixels.
- h, w: size of the original image in pixels. S: side of the square network input in pixels.
- A map with stride s has S / s x S / s cells of s x s input pixels.
- Input pixels outside of the image are unknown: every label has a value that says so.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from must_tf.config.base import Config
from must_tf.config.fields import within
from must_tf.data import resample

# Colour of input pixels outside of the image: ImageNet's mean, which becomes zero or nearly so when it is normalised.
OUTSIDE = (124, 116, 104)
MOST_ZOOM = 16.0  # beyond, an input shows some pixels of its image
# Pixels of a map that are restored or measured at once: what is computed on the way takes many times the memory of the
# map.
BAND = 4_000_000


@dataclasses.dataclass
class Augmentation(Config):
    """Data augmentation, drawn for each training image.

    Attributes:
      flip: mirror images left to right with probability 1/2.
      scale_min, scale_max: bounds of the zoom, drawn uniformly; at 1.0 the whole image fits into the input.
    """

    flip: bool = True
    scale_min: float = within(0.5, MOST_ZOOM)
    scale_max: float = within(2.0, MOST_ZOOM)


class Warp(NamedTuple):
    """The mapping from an original image to the network's input. All fields except `size` are tensors."""

    original: tf.Tensor  # [2] int32 height, width of the original image, pixels
    flip: tf.Tensor  # [] bool, mirrored left to right
    scaled: tf.Tensor  # [2] int32 height, width of the scaled image, pixels
    offset: tf.Tensor  # [2] int32 top left corner of the window in the scaled image, pixels
    size: int  # S


class Frame(NamedTuple):
    """The mapping from the network's input back to an original image that was only fitted: no mirror, offset 0.

    A restored map has one pixel for each `step` x `step` pixels of the image, and what it shows is at their centre.
    """

    # Tensors, or arrays on the host: there an operation of TensorFlow takes ten times as long as NumPy's.
    original: tf.Tensor  # [2] int32 height, width of the original image, pixels
    # [2] int32 height, width of the scaled image, pixels. float32 if it counts another network's map cells instead.
    scaled: tf.Tensor
    size: int  # S
    step: int = 1

    @property
    def map_size(self) -> tf.Tensor:
        """Height and width [2] int32 of restored maps, pixels."""
        return -(-self.original // self.step)


def fitted_size(original: tf.Tensor, size: int, zoom: tf.Tensor | float = 1.0) -> tf.Tensor:
    """Returns height and width [2] int32 of the image scaled so that its longer side is `size * zoom` pixels."""
    original = tf.cast(original, tf.float32)
    scaled = tf.round(original * (size * zoom / tf.reduce_max(original, axis=-1, keepdims=True)))
    return tf.maximum(tf.cast(scaled, tf.int32), 1)


def fit(original: tf.Tensor, size: int) -> Warp:
    """Returns the warp of evaluation, labelling and serving: the whole image, not mirrored, in the top left corner."""
    zeros = tf.zeros([2], tf.int32)
    return Warp(original, tf.constant(False), fitted_size(original, size), zeros, size)


def random_warp(original: tf.Tensor, size: int, augmentation: Augmentation, seed: tf.Tensor) -> Warp:
    """Draws a training image's warp, a pure function of `seed` [2]: (the run's seed, the image's index in the run)."""
    numbers = tf.random.stateless_uniform([4], seed)
    low, high = augmentation.scale_min, augmentation.scale_max
    scaled = fitted_size(original, size, low + (high - low) * numbers[0])
    room = tf.maximum(scaled - size, 0)
    offset = tf.cast(numbers[1:3] * tf.cast(room + 1, tf.float32), tf.int32)
    flip = tf.logical_and(augmentation.flip, numbers[3] < 0.5)
    return Warp(original, flip, scaled, tf.minimum(offset, room), size)


def visible_size(warp: Warp) -> tf.Tensor:
    """Returns height and width [2] int32 of the part of the input that shows the image, in pixels."""
    return tf.minimum(warp.scaled - warp.offset, warp.size)


def enlargement(warp: Warp) -> tf.Tensor:
    """Returns how many times larger objects appear than in the fitted image, [] float32."""
    fitted = tf.cast(fitted_size(warp.original, warp.size), tf.float32)
    return tf.reduce_mean(tf.cast(warp.scaled, tf.float32) / fitted)


def _axes(warp: Warp, stride: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the rows [H] and columns [W] of the original that lie under the centres of the output's cells.

    Only cells that show the image are included. They are the first ones of each axis.
    """
    centres = (tf.range(warp.size // stride, dtype=tf.float32) + 0.5) * stride

    def source(axis: int) -> tf.Tensor:
        ratio = tf.cast(warp.original[axis] / warp.scaled[axis], tf.float32)
        places = tf.cast(tf.floor((centres + tf.cast(warp.offset[axis], tf.float32)) * ratio), tf.int32)
        return places[: tf.math.count_nonzero(places < warp.original[axis], dtype=tf.int32)]

    rows, columns = source(0), source(1)
    return rows, tf.where(warp.flip, warp.original[1] - 1 - columns, columns)


def warp_nearest(values: tf.Tensor, warp: Warp, fill: float, stride: int = 1) -> tf.Tensor:
    """Warps a label map [h, w, ...] to [S / stride, S / stride, ...] by nearest neighbour.

    Args:
      values: one label per original pixel, or per 2 x 2 of them: see `record.decode_map`.
      warp: the image's.
      fill: the label of cells outside of the image.
      stride: input pixels per cell.
    """
    steps = tf.where(tf.shape(values)[:2] == warp.original, 1, 2)
    rows, columns = (places // steps[axis] for axis, places in enumerate(_axes(warp, stride)))
    side, inner = warp.size // stride, values.shape[2:]
    channels = inner.num_elements()
    height, width = tf.size(rows), tf.size(columns)
    # If the zoom is very small, the image may cover no cell's centre: then every cell is unknown.
    empty = tf.equal(height * width, 0)
    picked = tf.cond(
        empty,
        lambda: tf.zeros(tf.concat([[height, width], inner], 0), values.dtype),
        lambda: resample.nearest(values, rows, columns),
    )
    picked = tf.reshape(picked, [height, width, channels])
    return tf.reshape(resample.padded_to_square(picked, side, (fill,) * channels), [side, side, *inner])


def warp_image(image: tf.Tensor, warp: Warp) -> tf.Tensor:
    """Warps an image uint8 [h, w, 3] to uint8 [S, S, 3]: bilinear if it grows, averaged if it shrinks."""
    size, offset = visible_size(warp), tf.cast(warp.offset, tf.float32)
    scale = tf.cast(warp.scaled / warp.original, tf.float32)
    width = tf.shape(image)[1]
    used = tf.minimum(width, resample.pixels_needed(offset[1] + tf.cast(size[1], tf.float32), scale[1]))
    image = tf.cond(warp.flip, lambda: tf.reverse(image[:, width - used :], [1]), lambda: image[:, :used])

    def resampled() -> tf.Tensor:
        transposed = tf.cast(tf.round(resample.window_of_scaled(image, size, scale, offset)), tf.uint8)
        return tf.transpose(transposed, [1, 0, 2])

    def cut() -> tf.Tensor:  # the same pixels, and a tenth of the time
        return tf.slice(image, tf.concat([warp.offset, [0]], 0), tf.concat([size, [3]], 0))

    window = tf.cond(tf.reduce_all(warp.scaled == warp.original), cut, resampled)
    return resample.padded_to_square(tf.ensure_shape(window, [None, None, 3]), warp.size, OUTSIDE)


def warp_boxes(boxes: tf.Tensor, warp: Warp) -> tf.Tensor:
    """Warps normalised boxes [N, 4] to pixels of the input. They are *not* clipped to it: see `clip`."""
    y0, x0, y1, x1 = tf.unstack(boxes, axis=-1)
    x0, x1 = tf.where(warp.flip, 1.0 - x1, x0), tf.where(warp.flip, 1.0 - x0, x1)
    scale = tf.tile(tf.cast(warp.scaled, tf.float32), [2])
    offset = tf.tile(tf.cast(warp.offset, tf.float32), [2])
    return tf.stack([y0, x0, y1, x1], axis=-1) * scale - offset


def clip(boxes: tf.Tensor, warp: Warp) -> tf.Tensor:
    """Clips boxes [N, 4] in pixels of the input to the part that shows the image."""
    limit = tf.tile(tf.cast(visible_size(warp), tf.float32), [2])
    return tf.minimum(tf.maximum(boxes, 0.0), limit)


class CropView(NamedTuple):
    """The visible part of an object's mask: two boxes in pixels of the input, [4], or [N, 4] for N objects.

    `whole` covers all original pixels that the object's box touches: the extent of its mask crop. `seen` is its box,
    clipped to the part of the input that shows the image.
    """

    whole: tf.Tensor
    seen: tf.Tensor


def crop_view(boxes: tf.Tensor, warp: Warp) -> CropView:
    """Returns the views of the objects with these normalised boxes [N, 4]."""
    return CropView(warp_boxes(_touched(boxes, warp.original), warp), clip(warp_boxes(boxes, warp), warp))


def warp_crop(crop: tf.Tensor, view: CropView, warp: Warp, side: int) -> tf.Tensor:
    """Returns one object's mask, re-cut to the visible part of its box.

    Args:
      crop: uint8 [ch, cw, 1], 0 or 1, the mask over all original pixels that the box touches.
      view: the object's.
      warp: the image's.
      side: M.

    Returns:
      float32 [M, M] in 0..1, covering `clip(warp_boxes(box))`.
    """
    crop = tf.raw_ops.Reverse(tensor=crop, dims=tf.stack([False, warp.flip, False]))
    whole, seen = view
    shape = tf.cast(tf.shape(crop)[:2], tf.float32)
    per_pixel = shape / tf.maximum(whole[2:] - whole[:2], 1e-6)  # crop pixels per input pixel
    extent = tf.maximum((seen[2:] - seen[:2]) * per_pixel, 1e-6)  # size of the visible part in crop pixels
    scale = side / extent
    offset = (seen[:2] - whole[:2]) * per_pixel * scale
    transposed = resample.window_of_scaled(crop, tf.constant([side, side]), scale, offset)
    return tf.ensure_shape(tf.transpose(transposed[..., 0]), [side, side])


def crop_window(box: np.ndarray, height: int, width: int) -> tuple[int, int, int, int]:
    """Returns (y0, x0, y1, x1), ends exclusive, of the whole pixels that a normalised box touches.

    Box edges at whole pixels are not exact in float32, so that edges may be off by a thousandth of a pixel.
    """
    y0, x0, y1, x1 = np.asarray(box, np.float64).tolist()
    top, left = math.floor(y0 * height + 1e-3), math.floor(x0 * width + 1e-3)
    bottom, right = math.ceil(y1 * height - 1e-3), math.ceil(x1 * width - 1e-3)
    top, left = min(max(top, 0), height - 1), min(max(left, 0), width - 1)
    return top, left, min(max(bottom, top + 1), height), min(max(right, left + 1), width)


def _touched(boxes: tf.Tensor, original: tf.Tensor) -> tf.Tensor:
    """Returns `crop_window` of normalised boxes [N, 4], computed in the graph and normalised again: [N, 4]."""
    size = tf.tile(tf.cast(original, tf.float32), [2])
    low = tf.minimum(tf.maximum(tf.floor(boxes[:, :2] * size[:2] + 1e-3), 0.0), size[:2] - 1.0)
    high = tf.minimum(tf.maximum(tf.math.ceil(boxes[:, 2:] * size[2:] - 1e-3), low + 1.0), size[2:])
    return tf.concat([low, high], 1) / size


def restore_boxes(boxes: tf.Tensor, frame: Frame) -> tf.Tensor:
    """Maps boxes [N, 4] in pixels of a fitted input back to normalised boxes, clipped to the image."""
    scale = tf.tile(tf.cast(frame.scaled, tf.float32), [2])
    return tf.clip_by_value(boxes / scale, 0.0, 1.0)


def visible_cells(frame: Frame, stride: int) -> tf.Tensor:
    """Returns how many rows and columns [2] int32 of a map's cells show the image, including partly covered ones."""
    # If `scaled` is not a whole number, a thousandth of a cell is a rounding error.
    return tf.cast(tf.math.ceil(tf.cast(frame.scaled, tf.float32) / float(stride) - 1e-3), tf.int32)


def restore_planes(values: tf.Tensor, frame: Frame) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Maps predictions per cell [S / stride, S / stride, C] back to the original, bilinear.

    Returns:
      A function that returns the rows from the first to the one before the second argument, float32 [C, w, rows], one
      transposed plane per channel: the caller can compute with whole planes before it transposes them back.
    """
    stride = frame.size // values.shape[0]
    # Predictions outside of the image are arbitrary, and must not bleed into its last rows and columns.
    height, width = tf.unstack(visible_cells(frame, stride))
    values = values[:height, :width]
    if frame.step > 1:  # the centre of the last pixels may be on the border, where resampling gives 0
        values = tf.concat([values, values[-1:]], 0)
        values = tf.concat([values, values[:, -1:]], 1)
    scale = tf.cast(frame.original, tf.float32) / tf.cast(frame.scaled, tf.float32) * (stride / frame.step)
    columns = resample.columns_of_scaled(tf.cast(values, tf.float32), frame.map_size[0], scale[0])
    return lambda top, bottom: resample.planes_of_columns(columns[..., top:bottom], frame.map_size[1], scale[1])


def bands(height: int, width: int) -> list[slice]:
    """Returns the bands of rows in which a map is measured; one for all of it if it is not large."""
    rows = max(1, BAND // width)
    return [slice(top, top + rows) for top in range(0, height, rows)]


def in_bands(
    frame: Frame, specs: Mapping[str, tf.TensorSpec], band: Callable[[tf.Tensor, tf.Tensor], Mapping[str, tf.Tensor]]
) -> dict[str, tf.Tensor]:
    """Makes restored maps of an image, some rows at a time if it is large.

    Args:
      frame: the image's.
      specs: {name: type and shape of a map}; the numbers of its rows and columns are not known.
      band: returns the rows from the first to the one before the second argument of every map.
    """
    height, width = tf.unstack(frame.map_size)
    rows = tf.maximum(BAND // width, 1)
    count = -(-height // rows)
    arrays = {
        name: tf.TensorArray(spec.dtype, count, infer_shape=False, element_shape=spec.shape)
        for name, spec in specs.items()
    }

    def added(place: tf.Tensor, arrays: dict[str, tf.TensorArray]) -> tuple[tf.Tensor, dict[str, tf.TensorArray]]:
        found = band(place * rows, tf.minimum((place + 1) * rows, height))
        return place + 1, {name: array.write(place, found[name]) for name, array in arrays.items()}

    loop = (tf.constant(0), arrays)
    _, arrays = tf.while_loop(lambda place, _: place < count, added, loop, parallel_iterations=1)
    return {name: array.concat() for name, array in arrays.items()}
