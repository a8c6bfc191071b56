"""From the network's outputs to labels in the original image's frame: the one path that evaluation, labelling and
serving share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from must_tf.data.geometry import Frame
from must_tf.spec import ImageInfo, Labels, TaskSpec
from must_tf.tasks import discover


class Restorer:
    """Restores and keeps the predictions of single images."""

    def __init__(self, specs: Mapping[str, TaskSpec], configs: Mapping[str, Any], size: int):
        self._configs = configs

        @tf.function(reduce_retracing=True)
        def restore(predictions: Any, image_info: tf.Tensor) -> Any:
            frame = Frame(image_info[:2], image_info[2:], size)
            return {name: specs[name].restore(predictions[name], frame) for name in predictions}

        self._restore = restore

    def labels(self, predictions: Any, image_info: np.ndarray, source_id: str) -> dict[str, Labels]:
        """One image's predictions (batch axis removed) as labels by task.

        Args:
          predictions: {task: {name: array}} in the network's frame.
          image_info: int32 [4], original height and width, scaled height and width.
          source_id: the image's.
        """
        restored = self.restored(predictions, image_info)
        return kept(restored, ImageInfo(source_id, int(image_info[0]), int(image_info[1])), self._configs)

    def restored(self, predictions: Any, image_info: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
        """The same before anything is dropped: all that was predicted, in the original image's frame."""
        restored = self._restore(predictions, tf.constant(image_info, tf.int32))
        return tf.nest.map_structure(lambda x: x.numpy(), restored)


def kept(
    restored: Mapping[str, dict[str, np.ndarray]], info: ImageInfo, configs: Mapping[str, Any]
) -> dict[str, Labels]:
    """What of one image's restored predictions is worth a label, by task."""
    return {name: discover()[name].keep(found, info, configs[name]) for name, found in restored.items()}
