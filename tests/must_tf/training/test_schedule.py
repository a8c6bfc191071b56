"""A schedule without a setting is named before the run is built."""

from __future__ import annotations

import pytest

from must_tf.common.errors import UserError
from must_tf.experiments import experiment_config
from must_tf.training import schedule


def optimizer_config(override: str) -> schedule.optimization.OptimizationConfig:
    prefix = "trainer.optimizer_config."
    params = experiment_config.load("must_teacher_depth", override=f"{prefix}{override.replace(',', f',{prefix}')}")
    return params.trainer.optimizer_config


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("learning_rate.type=exponential", "exponential needs initial_learning_rate, decay_steps, decay_rate, which"),
        ("learning_rate.type=stepwise", "learning_rate.stepwise needs boundaries, values"),
        ("warmup.type=polynomial", "warmup.polynomial needs warmup_steps"),
    ],
)
def test_missing(override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        schedule.check(optimizer_config(override))


@pytest.mark.parametrize(
    "override",
    [
        "learning_rate.type=cosine",
        "learning_rate.type=constant",
        "learning_rate.type=power,learning_rate.power.initial_learning_rate=0.1",
        "warmup.type=null",
    ],
)
def test_complete(override: str) -> None:
    schedule.check(optimizer_config(override))


def test_an_optimizer_that_model_garden_does_not_publish() -> None:
    with pytest.raises(UserError, match="type='slide' does not exist.*Known: sgd"):
        optimizer_config("optimizer.type=slide")
