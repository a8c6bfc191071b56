"""Settings of an export for detected objects. Hence the tasks that are named here: detection and masks."""

from __future__ import annotations

from typing import Literal

import tensorflow as tf

BOXES, CLASSES, SCORES, COUNT = (f"detection/{name}" for name in ("boxes", "classes", "scores", "count"))
GRIDS, FULL = "masks/probability", "masks/png_bytes"
EDGE = 1e-3  # as in `geometry.crop_window`: box edges at whole pixels are not exact in float32
MaskFormat = Literal["box", "full"]
Outputs = dict[str, tf.Tensor]


def above(outputs: Outputs, threshold: float) -> Outputs:
    """Clears the objects of one image that are below a score.

    Args:
      outputs: by <task>/<name>. Scores [N] descend.
      threshold: lowest score.

    Returns:
      The outputs, with 0 in place of the objects that are left out. `detection/count` counts the others.
    """
    if SCORES not in outputs or threshold <= 0:
        return outputs
    # NaN stays: it says that the network diverged.
    is_kept = (tf.range(tf.size(outputs[SCORES])) < outputs[COUNT]) & ~(outputs[SCORES] < threshold)
    cleared = {COUNT: tf.math.count_nonzero(is_kept, dtype=outputs[COUNT].dtype)}
    for name in (BOXES, CLASSES, SCORES, GRIDS):
        if name in outputs:
            value = outputs[name]
            shape = tf.concat([tf.shape(is_kept), tf.ones([value.shape.rank - 1], tf.int32)], 0)
            cleared[name] = tf.where(tf.reshape(is_kept, shape), value, tf.zeros([], value.dtype))
    return outputs | cleared


def with_full_masks(outputs: Outputs, size: tf.Tensor) -> Outputs:
    """Replaces the grids over boxes by masks of the image's size.

    Each mask is a PNG of 8 bits, 255 on the object. One mask at a time is held in memory without compression: 100 masks
    of a photo of 12 megapixels would take 1.2 GB.

    Args:
      outputs: of one image.
      size: [2] int32, height and width.

    Returns:
      The outputs with `masks/png_bytes` string [N] instead of `masks/probability`; empty strings after the last object.
    """
    if GRIDS not in outputs:
        return outputs
    is_object = tf.range(tf.shape(outputs[GRIDS])[0]) < outputs[COUNT]

    def png(row: tuple[tf.Tensor, tf.Tensor, tf.Tensor]) -> tf.Tensor:
        grid, box, is_real = row
        return tf.cond(is_real, lambda: tf.io.encode_png(_pasted(grid, box, size), compression=1), lambda: "")

    spec = tf.TensorSpec([], tf.string)
    rows = (outputs[GRIDS], outputs[BOXES], is_object)
    masks = tf.map_fn(png, rows, parallel_iterations=1, fn_output_signature=spec)
    return {name: value for name, value in outputs.items() if name != GRIDS} | {FULL: masks}


def _pasted(grid: tf.Tensor, box: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Returns one mask uint8 [h, w, 1] of 0 and 255: the pixels with a probability of at least 0.5.

    As in the labels of the task: if there is none, the mask is the likeliest pixel.
    """
    scale = tf.cast(tf.tile(size, [2]), tf.float32)
    y0, x0, y1, x1 = tf.unstack(box * scale)
    height, width = tf.unstack(size)
    rows, top = _weights(y0, y1, height, grid.shape[0])
    columns, left = _weights(x0, x1, width, grid.shape[1])
    likely = tf.matmul(tf.matmul(rows, grid), columns, transpose_b=True)  # [ch, 28] [28, 28] [28, cw] -> [ch, cw]
    best = tf.reduce_max(likely)
    crop = tf.cast(likely >= tf.minimum(best, 0.5), tf.uint8) * 255
    below, beyond = height - top - tf.shape(crop)[0], width - left - tf.shape(crop)[1]
    return tf.pad(crop, [[top, below], [left, beyond]])[..., None]


def _weights(start: tf.Tensor, end: tf.Tensor, length: tf.Tensor, cells: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the weights of bilinear interpolation along one axis, and the first pixel.

    The pixels are those that the box touches, at least one. Beyond the outermost cells' centres, their values go on.

    Args:
      start: of the box, in pixels.
      end: of the box.
      length: number of pixels of the image.
      cells: number of the grid's cells.

    Returns:
      float32 [pixels, cells] and [] int32.
    """
    first = tf.clip_by_value(tf.cast(tf.floor(start + EDGE), tf.int32), 0, length - 1)
    last = tf.clip_by_value(tf.cast(tf.math.ceil(end - EDGE), tf.int32), first + 1, length)
    centres = tf.cast(tf.range(first, last), tf.float32) + 0.5
    places = (centres - start) / tf.maximum(end - start, 1e-6) * cells - 0.5
    places = tf.clip_by_value(places, 0.0, cells - 1.0)
    return tf.maximum(1.0 - tf.abs(places[:, None] - tf.range(cells, dtype=tf.float32)), 0.0), first
