"""The paper's head: fused P2, 3 convs, linear; softmax per pixel."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import tensorflow as tf

from must_tf.data import host_maps, resample
from must_tf.data.geometry import Frame, in_bands, restore_planes, visible_cells
from must_tf.spec import Arrays, Given, HeadSettings, Ideal, Tensors
from must_tf.tasks.segmentation import host
from must_tf.tasks.segmentation.config import Config
from must_tf.tasks.segmentation.host import AT_ONCE, CERTAIN
from must_tf.tasks.segmentation.labels import IGNORE

if TYPE_CHECKING:
    import tf_keras

Best = tuple[tf.Tensor, tf.Tensor]  # the best classes of pixels, int32 [P], and their probabilities [P]


def head(config: Config, settings: HeadSettings) -> tf_keras.layers.Layer:
    """Returns the head; its raw output is `map`, logits [B, S/4, S/4, C]."""
    from must_tf.shared.pixel_head import PixelHead

    return PixelHead(len(config.classes), config.filters, settings, "segmentation", tells_apart=True)


def decode(raw: Tensors, given: Given, config: Config) -> Tensors:
    """Returns `probability` [B, S/4, S/4, C]."""
    del given, config
    return {"probability": tf.nn.softmax(raw["map"])}


def ideal(targets: Arrays, config: Config) -> Ideal:
    """Returns probability 1 for the class of each pixel, and equal probabilities if the class is unknown."""
    classes = targets["class_bytes"]  # [B, T, T]
    probability = np.eye(IGNORE + 1, len(config.classes), dtype=np.float32)
    probability[IGNORE] = 1 / len(config.classes)
    return Ideal({"probability": probability[classes]}, classes != IGNORE)


class _Grid(NamedTuple):
    """The network's probabilities in the cells that show the image, row by row.

    Attributes:
      probability: [cells, C].
      best: int32 [gh, gw], the likeliest class.
      highest: [gh, gw], its probability.
      second: [cells], the highest probability of another class.
    """

    probability: tf.Tensor
    best: tf.Tensor
    highest: tf.Tensor
    second: tf.Tensor


class _Pixels(NamedTuple):
    """Pixels between four cells: above left, above right, below left and below right. [P] each.

    Attributes:
      gap: int32, the place of their gap among the undecided ones.
      low, far: float32, the shares of the cells below and on the right.
    """

    gap: tf.Tensor
    low: tf.Tensor
    far: tf.Tensor

    def blended(self, values: Sequence[tf.Tensor]) -> tf.Tensor:
        """Interpolates values of the four cells, [P, ...] each."""
        low, far = (tf.reshape(share, [-1] + [1] * (values[0].shape.rank - 1)) for share in (self.low, self.far))
        upper, lower = (values[at] * (1.0 - far) + values[at + 1] * far for at in (0, 2))
        return upper * (1.0 - low) + lower * low


def restore(predictions: Tensors, frame: Frame) -> Tensors:
    """Returns `classes` int32 [h, w] and `confidence` float32 [h, w] of the interpolated probabilities.

    If all cells around a pixel have the same best class, it is also the best of any mixture of them, and its
    probability is the mixture of their highest ones. For such pixels one map is interpolated instead of one per class.
    """
    probability = predictions["probability"]
    if host_maps.is_host(probability):
        return host.restore(probability, frame)
    stride = frame.size // probability.shape[0]
    rows, columns = tf.unstack(visible_cells(frame, stride))
    grid = _grid(probability[:rows, :columns])
    around = [[0, probability.shape[0] - rows], [0, probability.shape[1] - columns]]
    highest = tf.ensure_shape(tf.pad(grid.highest, around), probability.shape[:2])
    confidence_of = restore_planes(highest[..., None], frame)
    lines = _line(frame, stride, 0, rows), _line(frame, stride, 1, columns)
    gaps, cells = _gaps(grid.best)
    quick = functools.partial(_best_of_cells, _candidates(grid, cells))
    exact = functools.partial(_best_of_all, grid.probability, cells)

    def band(top: tf.Tensor, bottom: tf.Tensor) -> Tensors:
        (down, low), (right, far) = [part[top:bottom] for part in lines[0]], lines[1]
        classes = resample.nearest(gaps, down, right)
        places = tf.where(classes < 0)  # [M, 2]
        pixels = _Pixels(-1 - tf.gather_nd(classes, places), tf.gather(low, places[:, 0]), tf.gather(far, places[:, 1]))
        mixed, shares = _mixed(quick, exact, pixels)
        confidence = tf.tensor_scatter_nd_update(tf.transpose(confidence_of(top, bottom)[0]), places, shares)
        return {
            "classes": tf.tensor_scatter_nd_update(classes, places, mixed),
            "confidence": tf.clip_by_value(confidence, 0.0, 1.0),
        }

    specs = {"classes": tf.TensorSpec([None, None], tf.int32), "confidence": tf.TensorSpec([None, None])}
    return in_bands(frame, specs, band)


def _grid(probability: tf.Tensor) -> _Grid:
    highest, best = (each[..., 0] for each in tf.math.top_k(probability, 1))  # takes less time than argmax
    flat = tf.reshape(probability, [-1, probability.shape[-1]])
    there = tf.stack([tf.range(tf.shape(flat)[0]), tf.reshape(best, [-1])], axis=-1)
    without_best = tf.tensor_scatter_nd_update(flat, there, tf.zeros_like(there[:, 0], tf.float32))
    return _Grid(flat, best, highest, tf.reduce_max(without_best, axis=-1))


def _line(frame: Frame, stride: int, axis: int, cells: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns for each pixel of an axis the gap between cells that it lies in, int32, and the share of the cell after
    the gap, float32. Gap 0 is in front of the first cell.
    """
    per_pixel = tf.cast(frame.scaled[axis], tf.float32) / tf.cast(frame.original[axis], tf.float32) / float(stride)
    centres = (tf.range(frame.map_size[axis], dtype=tf.float32) + 0.5) * (frame.step * per_pixel) - 0.5
    before = tf.floor(centres)
    return tf.clip_by_value(tf.cast(before, tf.int32) + 1, 0, cells), centres - before


def _gaps(best: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """Returns the class in each gap between four cells, int32 [gh + 1, gw + 1], and the cells around undecided gaps.

    A gap is undecided if its cells differ in their best classes. The first undecided gap has -1 instead of a class, the
    second -2. Beyond a border there are the cells at the border again.

    Returns:
      The gaps, and 4 x int32 [G], the cells around each undecided one.
    """
    classes, (rows, columns) = best, tf.unstack(tf.shape(best))
    for _ in range(2):  # [gh, gw] -> [gw, gh + 1] -> [gh + 1, gw + 1]
        padded = tf.concat([classes[:1], classes, classes[-1:]], 0)
        classes = tf.transpose(tf.where(padded[:-1] == padded[1:], padded[:-1], -1))
    places = tf.where(classes < 0)  # [G, 2]
    numbers = -1 - tf.range(tf.shape(places)[0])
    y, x = tf.unstack(tf.cast(places, tf.int32), axis=1)
    lines = (tf.maximum(y - 1, 0), tf.minimum(y, rows - 1)), (tf.maximum(x - 1, 0), tf.minimum(x, columns - 1))
    cells = [row * columns + column for row in lines[0] for column in lines[1]]
    return tf.tensor_scatter_nd_update(classes, places, numbers), cells


def _mixed(quick: Callable[[_Pixels], Best], exact: Callable[[_Pixels], Best], pixels: _Pixels) -> Best:
    """Returns the best classes of pixels in undecided gaps, and their probabilities, [M] each.

    `quick` gives class -1 if it cannot say; `exact` takes longer.
    """
    classes, shares = _in_parts(quick, pixels, 2 * AT_ONCE)
    unsure = tf.where(classes < 0)  # [U, 1]
    left = _Pixels(*(tf.gather(each, unsure[:, 0]) for each in pixels))
    certain = _in_parts(exact, left, AT_ONCE)
    return (
        tf.tensor_scatter_nd_update(classes, unsure, certain[0]),
        tf.tensor_scatter_nd_update(shares, unsure, certain[1]),
    )


def _in_parts(best: Callable[[_Pixels], Best], pixels: _Pixels, most: int) -> Best:
    """Returns the best classes of the pixels and their probabilities, [M] each; computes at most so many at a time."""
    count = tf.shape(pixels.gap)[0]
    parts = tf.maximum(-(-count // most), 1)
    each = -(-count // parts)
    padded = [tf.reshape(tf.pad(values, [[0, parts * each - count]]), [parts, each]) for values in pixels]
    signature = (tf.TensorSpec([None], tf.int32), tf.TensorSpec([None], tf.float32))
    classes, shares = tf.map_fn(lambda part: best(_Pixels(*part)), tuple(padded), fn_output_signature=signature)
    return tf.reshape(classes, [-1])[:count], tf.reshape(shares, [-1])[:count]


class _Candidates(NamedTuple):
    """The two best classes of the cells around each gap, [G] each.

    Attributes:
      classes: int32, of the two.
      values: for each of them, its probabilities in the 4 cells.
      second: the second highest probabilities in the 4 cells; infinite if a third class is the best of a cell.
    """

    classes: Sequence[tf.Tensor]
    values: Sequence[Sequence[tf.Tensor]]
    second: Sequence[tf.Tensor]


def _candidates(grid: _Grid, cells: Sequence[tf.Tensor]) -> _Candidates:
    """Returns the candidates of the gaps. There are fewer gaps than pixels, and reading single numbers is slow."""
    count, flat = grid.probability.shape[-1], tf.reshape(grid.probability, [-1])
    best = [tf.gather(tf.reshape(grid.best, [-1]), cell) for cell in cells]
    second = functools.reduce(lambda found, other: tf.where(found == best[0], other, found), best)
    values = [[tf.gather(flat, cell * count + one) for cell in cells] for one in (best[0], second)]
    known = functools.reduce(tf.logical_and, [(one == best[0]) | (one == second) for one in best])
    limits = [tf.where(known, tf.gather(grid.second, cell), float("inf")) for cell in cells]
    return _Candidates((best[0], second), values, limits)


def _best_of_cells(gaps: _Candidates, pixels: _Pixels) -> Best:
    """Returns the best class of pixels and its probability, [P] each; class -1 if it cannot be said.

    It is nearly always the best class of one of the four cells. Of all other classes, none is above the mixture of the
    second highest probabilities.
    """
    limit = pixels.blended([tf.gather(values, pixels.gap) for values in gaps.second])
    first, second = (tf.gather(one, pixels.gap) for one in gaps.classes)
    shares = [pixels.blended([tf.gather(of_cell, pixels.gap) for of_cell in values]) for values in gaps.values]
    highest = tf.maximum(*shares)
    is_second = (shares[1] > shares[0]) | ((shares[1] == shares[0]) & (second < first))  # as argmax
    is_certain = highest > CERTAIN * limit  # NaN is not
    return tf.where(is_certain, tf.where(is_second, second, first), -1), highest


def _best_of_all(probability: tf.Tensor, cells: Sequence[tf.Tensor], pixels: _Pixels) -> Best:
    """Returns the best class of pixels and its probability, [P] each, by interpolating all classes."""
    mixtures = pixels.blended([tf.gather(probability, tf.gather(cell, pixels.gap)) for cell in cells])  # [P, C]
    return tf.argmax(mixtures, axis=-1, output_type=tf.int32), tf.reduce_max(mixtures, axis=-1)
