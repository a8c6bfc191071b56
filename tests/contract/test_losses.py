"""Every discovered task's loss: values worked by hand, other libraries' values, and the effect of missing labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tf_keras

from must_tf.training import loss_weights
from tests.support.contract import SPECS, Run, golden, training_targets, variants
from tests.support.loss_cases import CASES, Case

GARBAGE = ("noise", "nan targets", "nan outputs")


@pytest.mark.parametrize("task,number", CASES)
def test_loss_is_what_was_worked_out_by_hand(task: str, number: int) -> None:
    case = Case(task, number)
    got = case.means(case.raw, case.labels, [1.0])
    assert {name: float(value) for name, value in got.items()} == pytest.approx(case.expected, rel=2e-5, abs=1e-6)


@pytest.mark.parametrize("task,number", CASES)
def test_twice_the_same_image_is_the_same_mean(task: str, number: int) -> None:
    case = Case(task, number)
    got = case.means(*case.with_second("copy"), [1.0, 1.0])
    assert {name: float(value) for name, value in got.items()} == pytest.approx(case.expected, rel=2e-5, abs=1e-6)


@pytest.mark.parametrize("garbage", GARBAGE)
@pytest.mark.parametrize("task,number", CASES)
def test_absent_is_invisible(task: str, number: int, garbage: str) -> None:
    case = Case(task, number)
    got = case.means(*case.with_second(garbage), [1.0, 0.0])
    assert {name: float(value) for name, value in got.items()} == pytest.approx(case.expected, rel=2e-5, abs=1e-6)


@pytest.mark.parametrize("garbage", GARBAGE)
@pytest.mark.parametrize("task,number", CASES)
def test_absent_has_no_gradient(task: str, number: int, garbage: str) -> None:
    """Exactly 0 in the unlabelled row, and in the other row the same as without it: twice its share of two."""
    case = Case(task, number)
    got = case.gradients(*case.with_second(garbage), [1.0, 0.0])
    alone = case.gradients(*case.with_second("copy"), [1.0, 1.0])
    for key, value in got.items():
        np.testing.assert_array_equal(value[1], np.zeros_like(value[1]))
        np.testing.assert_allclose(value[0], 2 * alone[key][0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("task,number", CASES)
def test_nothing_labelled_is_exactly_nothing(task: str, number: int) -> None:
    case = Case(task, number)
    for garbage in GARBAGE:
        got = case.means(*case.with_second(garbage), [0.0, 0.0])
        assert {name: float(value) for name, value in got.items()} == dict.fromkeys(case.expected, 0.0)


@pytest.mark.parametrize("task,number", CASES)
def test_half_a_weight_is_half_a_loss(task: str, number: int) -> None:
    case = Case(task, number)
    got = case.means(case.raw, case.labels, [0.5])
    halves = {name: value / 2 for name, value in case.expected.items()}
    assert {name: float(value) for name, value in got.items()} == pytest.approx(halves, rel=2e-5, abs=1e-6)


@pytest.mark.parametrize("task,config", variants())
def test_losses_of_a_real_head_are_other_libraries(task: str, config: Any) -> None:
    """Fully labelled scenes and a random head; each task's reference is another library or NumPy code."""
    made = training_targets(task, config)
    # Keras draws its initial weights by Python. With this seed some proposals fall on objects, but not exactly.
    tf_keras.utils.set_random_seed(3)
    raw = Run(task, config, made).raw[task]
    got = SPECS[task].loss(raw, made[task], config)
    assert tuple(got) == SPECS[task].terms(config)
    plain = {key: value.numpy() for key, value in raw.items() if not isinstance(value, dict)}
    expected = golden(task).reference(plain, {key: value.numpy() for key, value in made[task].items()}, config)
    assert {name: float(loss_weights.mean(term)) for name, term in got.items()} == pytest.approx(expected, rel=1e-3)
    assert min(expected.values()) > 1e-3  # 0 would compare equal too easily
