"""Turns the network's outputs into labels in the original image's frame, for evaluation, labelling and serving."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from must_tf.data.geometry import Frame
from must_tf.spec import ImageInfo, Labels, TaskConfig, TaskSpec
from must_tf.tasks import discover

Arrays = dict[str, np.ndarray]


class Restorer:
    """Restores the predictions of single images and keeps those that are worth a label."""

    def __init__(self, specs: Mapping[str, TaskSpec], configs: Mapping[str, TaskConfig], size: int):
        """`size` is the side of the network's input in pixels."""
        self._specs, self._configs, self._size = specs, configs, size

    def labels(self, predictions: Mapping[str, Arrays], image_info: np.ndarray, source_id: str) -> dict[str, Labels]:
        """Returns one image's predictions as labels by task.

        Args:
          predictions: {task: {name: array}} in the network's frame, without a batch axis.
          image_info: int32 [4], original height and width, scaled height and width.
          source_id: of the image.
        """
        info = ImageInfo(source_id, int(image_info[0]), int(image_info[1]))
        return kept(self.restored(predictions, image_info), info, self._configs)

    def restored(self, predictions: Mapping[str, Arrays], image_info: np.ndarray, step: int = 1) -> dict[str, Arrays]:
        """Returns all of one image's predictions in the original frame.

        Args:
          predictions, image_info: as those of `labels`.
          step: of maps, see `Frame`.
        """
        with tf.device("CPU:0"):  # an accelerator is left to the networks
            original, scaled = np.asarray(image_info[:2], np.int32), np.asarray(image_info[2:], np.int32)
            frame = Frame(original, scaled, self._size, step)
            restored = {name: self._specs[name].restore(values, frame) for name, values in predictions.items()}
        return tf.nest.map_structure(np.asarray, restored)  # unlike `numpy`, it does not copy


def kept(restored: Mapping[str, Arrays], info: ImageInfo, configs: Mapping[str, TaskConfig]) -> dict[str, Labels]:
    """Returns the part of one image's restored predictions that is worth a label, by task."""
    return {name: discover()[name].keep(values, info, configs[name]) for name, values in restored.items()}
