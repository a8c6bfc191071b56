"""Fine-tuning: a slower backbone is one with a lower learning rate, and frozen normalisation stays as it was loaded."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from official.modeling import optimization

from must_tf.common.errors import UserError
from must_tf.config import values as config_values
from must_tf.experiments import experiment_config
from must_tf.training import fine_tuning, preflight
from must_tf.training.task import StudentTask
from tests.support.tiny import Tiny, data

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"momentum": 0.9, "nesterov": True},
    "adam": {},
    "adamw": {"weight_decay_rate": 0.1},
    "rmsprop": {"momentum": 0.5},
    "lars": {},
    "lamb": {"weight_decay_rate": 0.1},
    "adamw_experimental": {"weight_decay": 0.1},
}
RATE, FACTOR = 0.01, 0.25


def optimizer_of(kind: str, rate: float) -> Any:
    settings = {
        "optimizer": {"type": kind, kind: OPTIMIZERS[kind]},
        "learning_rate": {"type": "constant", "constant": {"learning_rate": rate}},
    }
    factory = optimization.OptimizerFactory(optimization.OptimizationConfig(settings))
    return factory.build_optimizer(factory.build_learning_rate())


def changes(kind: str, rate: float, factor: float, on_gradient: float = 1.0) -> np.ndarray:
    """The change of a weight in five steps of different gradients."""
    weight = tf.Variable([1.0, -2.0, 3.0], name="kernel")
    optimizer = optimizer_of(kind, rate)
    rng = np.random.default_rng(0)

    @tf.function
    def step(slope: tf.Tensor) -> None:
        with fine_tuning.slower([weight], factor):
            optimizer.apply_gradients([(slope, weight)])

    for _ in range(5):
        step(tf.constant(rng.standard_normal(3, np.float32) * on_gradient))
    return weight.numpy() - [1.0, -2.0, 3.0]


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_factor_on_the_change_is_one_on_the_learning_rate(kind: str) -> None:
    """The optimizer itself with the lower rate is the answer. A factor on the gradient is not, except for plain SGD."""
    expected = changes(kind, RATE * FACTOR, 1.0)
    np.testing.assert_allclose(changes(kind, RATE, FACTOR), expected, rtol=2e-3, atol=1e-6)
    assert np.abs(changes(kind, RATE, 1.0) - expected).max() > 0.5 * np.abs(expected).max()
    if kind in ("adam", "adamw", "rmsprop", "adamw_experimental"):
        on_gradient = changes(kind, RATE, 1.0, on_gradient=FACTOR)
        assert np.abs(on_gradient - expected).max() > 0.5 * np.abs(expected).max()


def task_of(tiny: Tiny, **settings: Any) -> StudentTask:
    """A depth teacher's task with these settings."""
    params = experiment_config.load("must_teacher_depth", [tiny.config])
    config_values.apply(params, data(f"{tiny.records}/*.tfrecord"), "test")
    config_values.apply(params, {"task": {"init_checkpoint": "somewhere"} | settings}, "test")
    preflight.settle(params, "train")
    return StudentTask(params.task)


def stepped(task: StudentTask) -> tuple[Any, dict[str, np.ndarray]]:
    """A model after one step of plain gradient descent, and the change of its variables by their place."""
    tf_keras.utils.set_random_seed(1)
    model = task.build_model()
    modules = {"backbone": model.trunk.backbone, "decoder": model.trunk.decoder, "head": model.heads["depth"]}
    before = {name: [variable.numpy() for variable in module.variables] for name, module in modules.items()}
    batch = next(iter(task.build_inputs(task.task_config.train_data)))
    optimizer = tf_keras.optimizers.legacy.SGD(0.1)
    task.train_step(batch, model, optimizer)
    return model, {
        f"{name} {place} {re.sub('_[0-9]+', '', variable.name)}": variable.numpy() - before[name][place]
        for name, module in modules.items()
        for place, variable in enumerate(module.variables)
    }


def test_only_the_backbone_is_slower(tiny_records: Tiny) -> None:
    """Its weights change by a quarter. Its statistics, the decoder and the head do as before."""
    _, whole = stepped(task_of(tiny_records))
    _, slow = stepped(task_of(tiny_records, backbone_learning_rate=FACTOR))
    assert whole.keys() == slow.keys()
    for name, change in whole.items():
        factor = FACTOR if name.startswith("backbone") and "moving" not in name else 1.0
        np.testing.assert_allclose(slow[name], factor * change, rtol=1e-3, atol=1e-6, err_msg=name)
    assert sum(np.abs(change).max() > 1e-4 for name, change in whole.items() if name.startswith("backbone")) > 10


@pytest.mark.parametrize(("modules", "frozen"), [("trunk", ("backbone", "decoder")), ("backbone", ("backbone",))])
def test_frozen_normalisation_does_not_change(modules: str, frozen: tuple[str, ...], tiny_records: Tiny) -> None:
    """Statistics, gamma and beta of the loaded parts stay, bit for bit. Everything else is trained."""
    model, changed = stepped(task_of(tiny_records, freeze_batch_norm=True, init_modules=modules))
    normalizations = ("gamma", "beta", "moving_mean", "moving_variance")
    for name, change in changed.items():
        still = name.startswith(frozen) and name.split("/")[-1].partition(":")[0] in normalizations
        assert still == (not change.any()), name
    assert sum(not change.any() for change in changed.values()) >= 4 * 9
    assert len(model.trainable_variables) < len(task_of(tiny_records).build_model().trainable_variables)


def test_frozen_normalisation_does_not_mix_images(tiny_records: Tiny) -> None:
    """In training mode, an image's features depend on the other images of the batch, unless it is frozen."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (3, 128, 128, 3), np.uint8)
    for freeze in (False, True):
        trunk = task_of(tiny_records, freeze_batch_norm=freeze).build_model().trunk
        first = trunk(tf.constant(images[[0, 1]]), training=True).c5[0]
        second = trunk(tf.constant(images[[0, 2]]), training=True).c5[0]
        assert np.allclose(first, second, atol=1e-5) == freeze


def test_random_statistics_are_not_frozen(tiny_records: Tiny) -> None:
    """Without loaded weights, or if none of the loaded ones are the trunk's."""
    for settings in ({"init_checkpoint": ""}, {"init_modules": ["depth"]}):
        with pytest.raises(UserError, match="task.freeze_batch_norm keeps batch normalisation as it was loaded, but"):
            task_of(tiny_records, freeze_batch_norm=True, **settings)
