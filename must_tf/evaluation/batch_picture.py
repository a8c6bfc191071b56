"""A training batch as a picture: labels as the network is to learn them, after flip, zoom and crop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from must_tf import label_content
from must_tf.data import geometry
from must_tf.data.geometry import Frame
from must_tf.shared import picture_grid
from must_tf.spec import ImageInfo, Labels
from must_tf.tasks import discover


def picture(batch: Mapping[str, Any], configs: Mapping[str, Any], count: int) -> np.ndarray:
    """The first `count` images of a training batch with their targets, uint8 [height, width, 3].

    Args:
      batch: as `data.input.training` makes it.
      configs: of the tasks that are drawn.
      count: images.
    """
    rows = [row_of(tf.nest.map_structure(lambda x, i=i: x[i], batch), configs) for i in range(count)]
    return picture_grid.grid(
        rows, {task: picture_grid.Drawer(discover()[task].draw, config) for task, config in configs.items()}
    )


def row_of(element: Mapping[str, Any], configs: Mapping[str, Any]) -> picture_grid.GridRow:
    """One image of a training batch, and what a perfect network would predict for it where it has labels.

    Args:
      element: as `data.input.Reader.element` makes it, with tensors that have values.
      configs: of the tasks that are drawn.
    """
    side = int(element["image"].shape[0])
    size = tf.cast(element["image_shape"], tf.int32)  # what lies outside of the image is not labelled, and not drawn
    frame = Frame(size, size, side)
    image = element["image"].numpy()[: int(size[0]), : int(size[1])]
    labelled = {task: targets for task, targets in element["targets"].items() if float(targets["weight"]) > 0}
    labels = {task: _as_labels(task, targets, configs[task], frame) for task, targets in labelled.items()}
    return picture_grid.GridRow(image, labels, {}, f"image {int(element['index'])} as trained on")


def _as_labels(task: str, targets: Mapping[str, tf.Tensor], config: Any, frame: Frame) -> Labels:
    spec = discover()[task]
    ideal = spec.ideal({key: value[None].numpy() for key, value in targets.items()}, config)
    predictions = {key: tf.convert_to_tensor(value)[0] for key, value in ideal.predictions.items()}
    arrays = {key: np.asarray(value) for key, value in spec.restore(predictions, frame).items()}
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
