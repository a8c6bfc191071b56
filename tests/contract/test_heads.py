"""Every discovered task's head on a stand-in for the trunk: finite outputs, documented shapes, gradients everywhere."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from must_tf.model import student
from must_tf.training import loss_weights
from tests.support.contract import SIZE, SPECS, Run, golden, training_targets, variants
from tests.support.tiny import CONFIG


@pytest.mark.parametrize("task,config", variants())
def test_predictions_have_the_documented_shapes(task: str, config: Any) -> None:
    for choice in (0, -1):
        run = Run(task, config, None, batch=3, choice=choice)
        assert np.all([np.all(np.isfinite(x.numpy())) for x in tf.nest.flatten((run.raw, run.predictions))])
    shapes = {key: tuple(value.shape) for key, value in run.predictions[task].items()}
    assert shapes == {key: (3, *shape) for key, shape in golden(task).decoded(config, SIZE).items()}
    ideal = SPECS[task].ideal(_numpy(training_targets(task, config)[task]), config).predictions
    assert set(shapes) == set(ideal)


def _numpy(tensors: dict[str, tf.Tensor]) -> dict[str, np.ndarray]:
    return {key: value.numpy() for key, value in tensors.items()}


@pytest.mark.parametrize("task,config,choice", variants(with_needs=True))
def test_gradients_reach_every_variable(task: str, config: Any, choice: int) -> None:
    """For every variant of the tasks that it needs."""
    made = training_targets(task, config)
    tf_keras.utils.set_random_seed(1)  # Keras draws its initial weights by Python, not by TensorFlow
    with tf.GradientTape() as tape:
        run = Run(task, config, made, choice=choice)
        terms = SPECS[task].loss(run.raw[task], made[task], config)
        total = tf.add_n([loss_weights.mean(term) for term in terms.values()])
    variables = run.heads[task].trainable_variables
    assert variables and np.isfinite(float(total))
    for variable, gradient in zip(variables, tape.gradient(total, variables), strict=True):
        assert gradient is not None, variable.name
        gradient = tf.convert_to_tensor(gradient).numpy()
        assert np.all(np.isfinite(gradient)), variable.name
        # A norm of a pyramid level learns nothing if no object has that level's size; kernels are shared.
        assert np.any(gradient != 0.0) or gradient.ndim < 2, variable.name


@pytest.mark.parametrize("task,config", variants())
def test_an_unlabelled_batch_trains_nothing(task: str, config: Any) -> None:
    """No variable of the head gets a gradient from unlabelled images, whatever their targets hold."""
    made = training_targets(task, config)
    made[task]["weight"] = tf.zeros([2])
    with tf.GradientTape() as tape:
        run = Run(task, config, made)
        terms = SPECS[task].loss(run.raw[task], made[task], config)
        total = tf.add_n([loss_weights.mean(term) for term in terms.values()])
    assert float(total) == 0.0
    for gradient in tape.gradient(total, run.heads[task].trainable_variables, unconnected_gradients="zero"):
        assert not np.any(tf.convert_to_tensor(gradient).numpy())


@pytest.mark.parametrize("task,config", variants())
def test_no_weight_depends_on_the_size_of_the_input(task: str, config: Any) -> None:
    """A head built at one size works at another, without new weights."""
    run = Run(task, config, None)
    before = [(each.name, each.shape) for each in run.heads[task].weights]
    run(2 * SIZE)
    assert [(each.name, each.shape) for each in run.heads[task].weights] == before


class Flat(tf_keras.layers.Layer):
    """A forbidden head: one weight for every position of C5."""

    def __init__(self) -> None:
        super().__init__(name="flat")
        self._flatten, self._linear = tf_keras.layers.Flatten(), tf_keras.layers.Dense(1)

    def call(self, pyramid: Any, given: Any, training: bool) -> dict[str, tf.Tensor]:
        return {"logits": self._linear(self._flatten(pyramid.c5))}


def test_a_head_whose_weights_depend_on_the_size_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Built at 2^7 pixels, it fails at the first call of another size, with the reason."""
    spec = dataclasses.replace(SPECS["classification"], head=lambda config, settings: Flat())
    monkeypatch.setattr(student, "discover", lambda: SPECS | {"classification": spec})
    config = student.StudentConfig(CONFIG["task"])
    config.tasks.classification.override({"enabled": True, "classes": ("a", "b")})
    config.input_size = 256
    model = student.build(config)
    inputs = {"image": tf.zeros([1, 256, 256, 3], tf.uint8), "image_shape": tf.fill([1, 2], 256.0)}
    with pytest.raises(
        ValueError, match="head of classification was built on an input of 128 pixels and fails on one of 256"
    ):
        model(inputs, training=False)
