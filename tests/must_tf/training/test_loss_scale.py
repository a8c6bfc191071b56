"""float16: what overflows changes nothing but the scale, and what fits is the step of float32."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from must_tf.cli import train
from must_tf.common import run_files
from must_tf.common.errors import UserError
from must_tf.config import values as config_values
from must_tf.experiments import experiment_config
from must_tf.training import loss_scale, preflight
from must_tf.training.task import StudentTask
from tests.support.mistakes import merged
from tests.support.session.graphs import eagerly
from tests.support.tiny import Tiny, arguments, data


@pytest.fixture(autouse=True)
def precision() -> Iterator[None]:
    yield
    tf_keras.mixed_precision.set_global_policy("float32")


def config(tiny: Tiny, **runtime: Any) -> Any:
    """A depth teacher."""
    params = experiment_config.load("must_teacher_depth", [str(tiny.config)])
    config_values.apply(params, data(f"{tiny.records}/*.tfrecord") | {"runtime": runtime}, "test")
    return params


class Run:
    """A depth teacher and one batch."""

    def __init__(self, tiny: Tiny, precision: str):
        tf_keras.mixed_precision.set_global_policy("mixed_float16" if precision == "float16" else precision)
        tf_keras.utils.set_random_seed(1)
        params = config(tiny, mixed_precision_dtype=precision)
        preflight.settle(params, "train")
        self.task = StudentTask(params.task)
        self.batch = next(iter(self.task.build_inputs(params.task.train_data)))
        self.model = self.task.build_model()
        self.optimizer = self.task.create_optimizer(params.trainer.optimizer_config, params.runtime)
        self.metrics = self.task.build_metrics()

    def step(self) -> list[np.ndarray]:
        """Trains a step. Returns how much each trained variable has changed."""
        before = [variable.numpy() for variable in self.model.trainable_variables]
        self.task.train_step(self.batch, self.model, self.optimizer, self.metrics)
        return [variable.numpy() - old for variable, old in zip(self.model.trainable_variables, before, strict=True)]

    def logged(self, name: str) -> tuple[float, float]:
        """Returns the mean and the count of a logged value."""
        (metric,) = (metric for metric in self.metrics if metric.name == name)
        return float(metric.result()), float(metric.count.read_value())


def test_an_overflow_halves_the_scale_and_changes_no_weight(tiny_records: Tiny) -> None:
    """The next step is one of float32 up to the rounding of float16. A loss that is infinite itself ends the run."""
    run = Run(tiny_records, "float16")
    run.optimizer._loss_scale._current_loss_scale.assign(2.0**120)
    assert not any(change.any() for change in run.step())
    assert float(run.optimizer.loss_scale) == 2.0**119
    assert run.logged("gradient_norm/all")[1] == 0
    run.optimizer._loss_scale._current_loss_scale.assign(2.0**10)
    changes, exact = run.step(), Run(tiny_records, "float32")
    exact.step()  # it has a learning rate of 0
    assert run.logged(loss_scale.LOGGED) == ((2.0**120 + 2.0**10) / 2, 2)
    assert run.logged("gradient_norm/all")[1] == 1
    flat, expected = (np.concatenate([value.ravel() for value in values]) for values in (changes, exact.step()))
    assert np.corrcoef(flat, expected)[0, 1] > 0.99
    assert np.linalg.norm(flat) == pytest.approx(np.linalg.norm(expected), rel=0.05)
    run.optimizer._loss_scale._current_loss_scale.assign(1.0)
    run.batch["targets"]["depth"]["weight"] *= np.inf
    with pytest.raises(tf.errors.InvalidArgumentError, match="NaN or infinite"):
        run.step()


@pytest.mark.parametrize(
    ("scale", "admitted"),
    [({}, True), ({"initial_scale": 1.0}, False), ({"initial_scale": 8.0, "dynamic": False}, False)],
)
def test_an_infinite_gradient_is_admitted_while_the_scale_can_be_halved(scale: Any, admitted: bool) -> None:
    optimizer = tf_keras.mixed_precision.LossScaleOptimizer(tf_keras.optimizers.legacy.SGD(), **scale)
    assert bool(loss_scale.admits(optimizer, tf.constant(np.inf))) == admitted
    assert loss_scale.admits(optimizer, tf.constant(1.0))
    norms = {"gradient_norm/all": tf.constant(np.inf), "gradient_norm/depth": tf.constant(2.0)}
    logged = loss_scale.logged(optimizer, norms)
    assert [float(value) for value in logged["gradient_norm/all"]] == ([0, 0] if admitted else [np.inf, 1])
    assert [float(value) for value in logged["gradient_norm/depth"]] == [2, 1]


@pytest.mark.parametrize(
    ("runtime", "message"),
    [
        ({"mixed_precision_dtype": "float16", "distribution_strategy": "tpu"}, "does not run on a TPU"),
        ({"mixed_precision_dtype": "bfloat16", "loss_scale": "dynamic"}, "needs runtime.mixed_precision_dtype=float16"),
        ({"mixed_precision_dtype": "float16", "loss_scale": "dynamc"}, "must be 'dynamic'"),
        ({"mixed_precision_dtype": "float16", "loss_scale": 0.5}, "from 1 to 1e38"),
        ({"mixed_precision_dtype": "float16", "loss_scale": 1e39}, "from 1 to 1e38"),
        ({"mixed_precision_dtype": "float16", "loss_scale": float("inf")}, "must be a finite number"),
        ({"mixed_precision_dtype": "float16", "loss_scale": 10**400}, "must be a finite number"),
    ],
)
def test_mistakes(runtime: Any, message: str, tiny_records: Tiny) -> None:
    with pytest.raises(UserError, match=message):
        loss_scale.check(config(tiny_records, **runtime).runtime)


def test_a_run_goes_on_with_its_scale(tiny_records: Tiny, tmp_path: Path) -> None:
    """The scale and the number of good steps are in the checkpoint; the log has the scale. 0 is a seed like others.

    The learning rate of Keras' newer optimizers is a variable, which the log has as a number.
    """
    override = merged(
        data(f"{tiny_records.records}/*.tfrecord"),
        {
            "runtime": {"mixed_precision_dtype": "float16"},
            "task": {"train_data": {"seed": 0}},
            "trainer": {"optimizer_config": {"optimizer": {"type": "sgd_experimental"}}},
        },
    )
    with eagerly():
        train.main(arguments(tiny_records.config, tmp_path, "must_teacher_depth", override, "train"))
    lines = [json.loads(line) for line in (tmp_path / run_files.METRICS).read_text().splitlines()]
    assert [line[loss_scale.LOGGED] for line in lines] == [2.0**15] * 2
    assert lines[1]["learning_rate"] > 0
    checkpoint = tf.train.load_checkpoint(str(tmp_path / "ckpt-2"))
    kept = [name for name in checkpoint.get_variable_to_shape_map() if "loss_scale" in name]
    assert sorted(float(checkpoint.get_tensor(name)) for name in kept) == [2.0, 2.0**15]
