"""The paper's head: fused P2, 3 convs, linear; softmax per pixel."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tf_keras

from must_tf.data.geometry import Frame, restore_map, visible_cells
from must_tf.shared.pixel_head import PixelHead
from must_tf.spec import Arrays, Given, HeadSettings, Ideal, Tensors
from must_tf.tasks.segmentation.config import Config
from must_tf.tasks.segmentation.labels import IGNORE

AT_ONCE = 8192  # pixels whose probabilities of all classes are held at a time
Cells = tuple[tf.Tensor, tf.Tensor, tf.Tensor]  # see `_between`


def head(config: Config, settings: HeadSettings) -> tf_keras.layers.Layer:
    """Returns the head; its raw output is `map`, logits [B, S/4, S/4, C]."""
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


def restore(predictions: Tensors, frame: Frame) -> Tensors:
    """Returns `classes` int32 [h, w] and `confidence` float32 [h, w] of the interpolated probabilities.

    If all cells around a pixel have the same best class, it is also the best of any mixture of them, and its
    probability is the mixture of their highest ones. For such pixels one map is interpolated instead of one per class.
    """
    stride = frame.size // predictions["probability"].shape[0]
    rows, columns = tf.unstack(visible_cells(frame, stride))
    probability = predictions["probability"][:rows, :columns]  # [gh, gw, C]
    best = tf.argmax(probability, axis=-1, output_type=tf.int32)
    highest = tf.reduce_max(predictions["probability"], axis=-1, keepdims=True)
    confidence = restore_map(highest, frame)[..., 0]
    down, right = (_between(frame, stride, axis, (rows, columns)[axis]) for axis in (0, 1))
    corners = [tf.gather(tf.gather(best, row), column, axis=1) for row in down[:2] for column in right[:2]]
    agreed = (corners[0] == corners[1]) & (corners[0] == corners[2]) & (corners[0] == corners[3])
    places = tf.where(~agreed)  # [M, 2]
    classes, shares = _mixed(probability, places, down, right)
    return {
        "classes": tf.tensor_scatter_nd_update(corners[0], places, classes),
        "confidence": tf.clip_by_value(tf.tensor_scatter_nd_update(confidence, places, shares), 0.0, 1.0),
    }


def _between(frame: Frame, stride: int, axis: int, cells: tf.Tensor) -> Cells:
    """Returns for each pixel of an axis the cells before and after it, int32, and the share of the latter, float32."""
    per_pixel = tf.cast(frame.scaled[axis], tf.float32) / tf.cast(frame.original[axis], tf.float32) / float(stride)
    centres = (tf.range(frame.original[axis], dtype=tf.float32) + 0.5) * per_pixel - 0.5
    before = tf.floor(centres)
    first, second = (tf.clip_by_value(tf.cast(before, tf.int32) + step, 0, cells - 1) for step in (0, 1))
    return first, second, centres - before


def _mixed(probability: tf.Tensor, places: tf.Tensor, down: Cells, right: Cells) -> tuple[tf.Tensor, tf.Tensor]:
    """Interpolates all classes at the pixels [M, 2], a part at a time; returns the best class and its probability."""
    count = tf.shape(places)[0]
    parts = tf.reshape(tf.pad(places, [[0, -count % AT_ONCE], [0, 0]]), [-1, AT_ONCE, 2])

    def cell(row: tf.Tensor, column: tf.Tensor) -> tf.Tensor:
        return tf.gather_nd(probability, tf.stack([row, column], axis=-1))

    def best_of(part: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        (top, bottom, low), (left, other, far) = (
            [tf.gather(values, part[:, axis]) for values in lines] for axis, lines in enumerate((down, right))
        )
        upper, lower = (_blend(cell(row, left), cell(row, other), far) for row in (top, bottom))
        values = _blend(upper, lower, low)  # [AT_ONCE, C]
        return tf.argmax(values, axis=-1, output_type=tf.int32), tf.reduce_max(values, axis=-1)

    signature = (tf.TensorSpec([AT_ONCE], tf.int32), tf.TensorSpec([AT_ONCE], tf.float32))
    classes, shares = tf.map_fn(best_of, parts, fn_output_signature=signature)
    return tf.reshape(classes, [-1])[:count], tf.reshape(shares, [-1])[:count]


def _blend(first: tf.Tensor, second: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    """Mixes two tensors [M, C] row by row; `share` [M] is that of the second."""
    return first * (1.0 - share)[:, None] + second * share[:, None]
