"""Hand-made SavedModels with known answers, and images on which a mirrored or transposed answer would show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import yaml

from must_tf.data import record
from must_tf.spec import ImageInfo
from tests.support.tiny import image_bytes

Outputs = dict[str, tf.Tensor]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Model(tf.Module):
    """`answer` as the signature of a SavedModel with one variable."""

    def __init__(self, answer: Callable[[tf.Tensor], Outputs], weight: float = 1.0):
        super().__init__()
        self.weight = tf.Variable(weight)
        self._answer = answer

    def call(self, image: tf.Tensor) -> Outputs:
        """Returns the answer; float outputs are multiplied by the weight."""
        outputs = self._answer(image)
        return {name: value * self.weight if value.dtype == tf.float32 else value for name, value in outputs.items()}


def save(
    folder: Path,
    answer: Callable[[tf.Tensor], Outputs],
    shape: Sequence[int | None],
    dtype: Any = tf.float32,
    weight: float = 1.0,
) -> str:
    """Writes a SavedModel with one input, `image`."""
    model = Model(answer, weight)
    signature = tf.function(model.call).get_concrete_function(tf.TensorSpec(shape, dtype, name="image"))
    tf.saved_model.save(model, str(folder), signatures=signature)
    return str(folder)


def write_adapter(path: Path, content: dict[str, Any]) -> str:
    """Writes an adapter file and returns its path."""
    path.write_text(yaml.safe_dump(content))
    return str(path)


def red_slope(height: int, width: int) -> np.ndarray:
    """Returns uint8 [h, w, 3]: red grows by 100 levels downwards and by 120 to the right, the rest is constant."""
    down = np.linspace(0, 100, height)[:, None]
    right = np.linspace(0, 120, width)[None, :]
    image = np.full([height, width, 3], 90, np.uint8)
    image[..., 0] = np.rint(20 + down + right)
    return image


def unlabelled(index: int, image: np.ndarray) -> bytes:
    """Returns a record without labels."""
    return record.encode(image_bytes(image), ImageInfo(f"photo-{index}", *image.shape[:2]), {}, {})


def midas(folder: Path, weight: float = 1.0) -> str:
    """Writes a model with the signature of MiDaS: a normalised NCHW image in, inverse depth out. Redder is nearer."""

    def answer(image: tf.Tensor) -> Outputs:
        return {"default": 700.0 * (image[:, 0] * STD[0] + MEAN[0]) - 50.0}

    return save(folder, answer, [1, 3, 256, 256], weight=weight)
