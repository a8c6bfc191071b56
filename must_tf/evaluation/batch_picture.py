"""Draws a training batch: the images after flip, zoom and crop, with the labels that the network learns."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from must_tf import label_content
from must_tf.data import geometry
from must_tf.data.geometry import Frame
from must_tf.shared import picture_grid
from must_tf.spec import ImageInfo, Labels, TaskConfig
from must_tf.tasks import discover


def picture(batch: Mapping[str, Any], configs: Mapping[str, TaskConfig], count: int) -> np.ndarray:
    """Returns the first `count` images of a training batch with their targets, uint8 [height, width, 3].

    Args:
      batch: of `data.input.training`.
      configs: of the tasks to draw.
      count: number of images.
    """
    rows = [row_of(tf.nest.map_structure(lambda x, i=i: x[i], batch), configs) for i in range(count)]
    drawers = {task: picture_grid.Drawer(discover()[task].draw, config) for task, config in configs.items()}
    return picture_grid.grid(rows, drawers)


def row_of(element: Mapping[str, Any], configs: Mapping[str, TaskConfig]) -> picture_grid.GridRow:
    """Returns one image of a training batch with the predictions of a perfect network for the tasks it has labels for.

    Args:
      element: of `data.input.Reader.element`, as eager tensors.
      configs: of the tasks to draw.
    """
    side = int(element["image"].shape[0])
    size = tf.cast(element["image_shape"], tf.int32)  # pixels outside of the image have no labels and are not drawn
    frame = Frame(size, size, side)
    image = element["image"].numpy()[: int(size[0]), : int(size[1])]
    labelled = {task: targets for task, targets in element["targets"].items() if float(targets["weight"]) > 0}
    labels = {task: _as_labels(task, targets, configs[task], frame) for task, targets in labelled.items()}
    return picture_grid.GridRow(image, labels, {}, f"image {int(element['index'])} as trained on")


def _as_labels(task: str, targets: Mapping[str, tf.Tensor], config: TaskConfig, frame: Frame) -> Labels:
    """Turns one image's targets into labels. Map pixels without a target are unknown."""
    spec = discover()[task]
    ideal = spec.ideal({key: value[None].numpy() for key, value in targets.items()}, config)
    predictions = {key: tf.convert_to_tensor(value)[0] for key, value in ideal.predictions.items()}
    restored = _restorer(task, frame.size)(predictions, frame.original, frame.scaled)
    arrays = {key: value.numpy() for key, value in restored.items()}
    height, width = (int(side) for side in frame.original)
    info = ImageInfo("view", height, width)
    labels = spec.keep(arrays, info, config)
    if ideal.known is not None:
        stride = frame.size // ideal.known.shape[1]
        known = ideal.known[0].repeat(stride, 0).repeat(stride, 1)[:height, :width]
        labels |= label_content.where(known, labels, info, spec.summary.unknown)
    if "ignored" in targets:
        regions = tf.boolean_mask(targets["ignored"], targets["ignored"][:, 0] >= 0)  # the rest is padding
        labels["ignored"] = geometry.restore_boxes(regions, frame).numpy()
    return labels


@functools.cache
def _restorer(task: str, side: int) -> Callable[..., Mapping[str, tf.Tensor]]:
    """Returns the task's `restore` for frames of a size as a graph: tracing it takes less time than two eager calls."""
    restore = discover()[task].restore
    return tf.function(
        lambda predictions, original, scaled: restore(predictions, Frame(original, scaled, side)),
        autograph=False,
        reduce_retracing=True,
    )
