"""Every discovered task's loss: hand-worked values, other libraries' values, and what absent labels leave untouched."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from must_tf.training import loss_weights
from tests.support.contract import SPECS, Run, golden, seen, training_targets, variants

CASES = [
    pytest.param(task, number, id=f"{task}-{number}") for task in SPECS for number in range(len(golden(task).CASES))
]
GARBAGE = ("noise", "nan targets", "nan outputs")


class Case:
    """One hand-worked case: float lists as float32, int lists as int32."""

    def __init__(self, task: str, number: int):
        self.own, self.spec = golden(task), SPECS[task]
        raw, labels, overrides, self.expected = self.own.CASES[number]
        self.raw, self.labels = ({k: _array(v) for k, v in each.items()} for each in (raw, labels))
        self.config = self.own.CONFIG.replace(**overrides)

    def with_second(self, kind: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """The case as a batch of two: the case again ("copy"), or garbage."""
        noisy = {"copy": (), "noise": ("raw", "labels"), "nan targets": ("labels",), "nan outputs": ("raw",)}[kind]
        fill = None if kind in ("copy", "noise") else np.nan
        pair = {"raw": self.raw, "labels": self.labels}
        for which, values in pair.items():
            pair[which] = {
                key: value
                if key in self.own.UNBATCHED
                else np.concatenate([value, _garbage(value, fill) if which in noisy else value])
                for key, value in values.items()
            }
        return pair["raw"], pair["labels"]

    def means(self, raw: dict[str, Any], labels: dict[str, Any], weight: list[float]) -> dict[str, tf.Tensor]:
        """The terms' means over the batch."""
        tensors = [{key: tf.constant(value) for key, value in each.items()} for each in (raw, labels)]
        terms = self.spec.loss(tensors[0], seen(weight, self.config) | tensors[1], self.config)
        return {name: loss_weights.mean(term) for name, term in terms.items()}

    def gradients(self, raw: dict[str, Any], labels: dict[str, Any], weight: list[float]) -> Any:
        """Of the sum of all means with respect to every float output, [2, ...] each."""
        trained = {k: tf.constant(v) for k, v in raw.items() if k not in self.own.UNBATCHED and v.dtype == np.float32}
        with tf.GradientTape() as tape:
            tape.watch(trained)
            total = tf.add_n(list(self.means(raw | trained, labels, weight).values()))
        found = tape.gradient(total, trained, unconnected_gradients="zero")
        return {key: value.numpy() for key, value in found.items()}


def _array(values: Any) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype == bool:
        return array
    return array.astype(np.float32 if array.dtype.kind == "f" else np.int32)


def _garbage(values: np.ndarray, fill: float | None) -> np.ndarray:
    if values.dtype != np.float32:
        return np.zeros_like(values)  # 0 is an id in every task
    noise = np.random.default_rng(0).normal(0, 20, values.shape).astype(np.float32)
    return noise if fill is None else np.full_like(noise, fill)


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
    """Exactly 0 in the absent row, and in the other what it is without that row: twice its share of two."""
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
    """Fully labelled scenes, a head at random: each task's reference names the library or is NumPy longhand."""
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
