"""Every discovered task's head on a stand-in for the trunk: finite outputs, documented shapes, gradients everywhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from must_tf import balance
from tests.contract import SIZE, SPECS, Run, golden, training_targets, variants


@pytest.mark.parametrize("task,config", variants())
def test_predictions_have_the_documented_shapes(task: str, config: Any) -> None:
    for choice in (0, -1):
        run = Run(task, config, None, batch=3, choice=choice)
        assert np.all([np.all(np.isfinite(x.numpy())) for x in tf.nest.flatten((run.raw, run.predictions))])
    shapes = {key: tuple(value.shape) for key, value in run.predictions[task].items()}
    assert shapes == {key: (3, *shape) for key, shape in golden(task).decoded(config, SIZE).items()}
    assert set(shapes) == set(golden(task).perfect(_numpy(training_targets(task, config)[task]), config))


def _numpy(tensors: dict[str, tf.Tensor]) -> dict[str, np.ndarray]:
    return {key: value.numpy() for key, value in tensors.items()}


@pytest.mark.parametrize("task,config,choice", variants(with_needs=True))
def test_gradients_reach_every_variable(task: str, config: Any, choice: int) -> None:
    """Whichever variant of the tasks that it needs stands before it."""
    made = training_targets(task, config)
    tf_keras.utils.set_random_seed(1)  # Keras draws its initial weights by Python, not by TensorFlow
    run = Run(task, config, made, choice=choice)
    variables = run.heads[task].trainable_variables
    with tf.GradientTape() as tape:
        terms = SPECS[task].loss(run().raw[task], made[task], config)
        total = tf.add_n([balance.mean(term) for term in terms.values()])
    assert variables and np.isfinite(float(total))
    for variable, gradient in zip(variables, tape.gradient(total, variables), strict=True):
        assert gradient is not None, variable.name
        gradient = tf.convert_to_tensor(gradient).numpy()
        assert np.all(np.isfinite(gradient)), variable.name
        # A norm of one pyramid level learns nothing where no object has that level's size; kernels are shared.
        assert np.any(gradient != 0.0) or gradient.ndim < 2, variable.name


@pytest.mark.parametrize("task,config", variants())
def test_an_unlabelled_batch_trains_nothing(task: str, config: Any) -> None:
    """Through the head too: not one variable moves when nobody looked, whatever the targets hold."""
    made = {name: dict(each) for name, each in training_targets(task, config).items()}
    made[task]["weight"] = tf.zeros([2])
    run = Run(task, config, made)
    with tf.GradientTape() as tape:
        terms = SPECS[task].loss(run().raw[task], made[task], config)
        total = tf.add_n([balance.mean(term) for term in terms.values()])
    assert float(total) == 0.0
    for gradient in tape.gradient(total, run.heads[task].trainable_variables, unconnected_gradients="zero"):
        assert not np.any(tf.convert_to_tensor(gradient).numpy())
