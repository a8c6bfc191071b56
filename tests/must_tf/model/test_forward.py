"""The student's predictions as a function that is exported and compiled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from must_tf.model import forward


class Recorder(tf_keras.Model):
    """Keeps its inputs, and has a batch normalisation."""

    def __init__(self, synchronized: bool):
        super().__init__(autocast=False)
        self.norm = tf_keras.layers.BatchNormalization(synchronized=synchronized)
        self.norm.build([None, 2, 2, 3])
        self.seen: list[np.ndarray] = []

    def call(self, inputs: Mapping[str, tf.Tensor], training: bool) -> Any:
        """Predicts image_shape + 1."""
        assert not training
        self.seen += [value.numpy() for value in inputs.values()]
        return {"predictions": {"depth": {"metres": inputs["image_shape"] + 1.0}}}


@pytest.mark.parametrize(
    ("count", "synchronized", "rows"),
    [(0, False, 0), (1, False, 2), (1, True, 1), (2, False, 2), (3, False, 3)],
)
def test_a_lone_image_is_predicted_beside_a_copy_that_is_dropped(count: int, synchronized: bool, rows: int) -> None:
    """The model sees the same image twice if its batch normalisation is fused; all other batches are as given."""
    model = Recorder(synchronized)
    image = np.arange(count * 12, dtype=np.uint8).reshape([count, 2, 2, 3])
    shape = np.arange(count * 2, dtype=np.float32).reshape([count, 2])
    predicted = forward.of(model)(tf.constant(image), tf.constant(shape))
    np.testing.assert_array_equal(predicted["depth"]["metres"], shape + 1)
    times = rows // count if count else 0
    np.testing.assert_array_equal(model.seen[0], np.repeat(image, times, axis=0))
    np.testing.assert_array_equal(model.seen[1], np.repeat(shape, times, axis=0))
