"""A schedule without a setting is named before the run is built."""

from __future__ import annotations

import pytest

from must_tf.common.errors import UserError
from must_tf.experiments import experiment_config
from must_tf.runs import directory
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


COSINE = "learning_rate.type=cosine,learning_rate.cosine.decay_steps=60"
POLYNOMIAL = "learning_rate.type=polynomial,learning_rate.polynomial.initial_learning_rate=1.0"


@pytest.mark.parametrize(
    ("override", "is_zero"),
    [
        (f"{COSINE},warmup.linear.warmup_steps=60", True),
        (f"{COSINE},warmup.linear.warmup_steps=59", False),
        (f"{COSINE},learning_rate.cosine.alpha=0.1,warmup.linear.warmup_steps=60", False),
        (f"{COSINE},warmup.linear.warmup_learning_rate=0.1,warmup.linear.warmup_steps=60", False),
        (f"{COSINE},warmup.type=polynomial,warmup.polynomial.warmup_steps=90", True),
        (f"{POLYNOMIAL},learning_rate.polynomial.decay_steps=60,warmup.linear.warmup_steps=60", False),
        (
            f"{POLYNOMIAL},learning_rate.polynomial.decay_steps=60,learning_rate.polynomial.end_learning_rate=0.0,"
            "warmup.linear.warmup_steps=60",
            True,
        ),
    ],
)
def test_a_warm_up_to_nothing(override: str, is_zero: bool) -> None:
    """The rule says so exactly where Model Garden's schedule is 0 throughout."""
    config = optimizer_config(override)
    rate = directory.learning_rate(config)
    assert (max(rate(step) for step in range(0, 120, 5)) < 1e-9) == is_zero
    if is_zero:
        with pytest.raises(UserError, match="0 in every step: .*warmup_steps=[69]0 must be below .*decay_steps=60"):
            schedule.check(config)
    else:
        schedule.check(config)


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
