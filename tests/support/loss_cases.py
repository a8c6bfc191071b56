"""The tasks' hand-worked loss cases as arrays, alone or beside a second image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from must_tf.training import loss_weights
from tests.support.contract import SPECS, golden, seen

CASES = [
    pytest.param(task, number, id=f"{task}-{number}") for task in SPECS for number in range(len(golden(task).CASES))
]


class Case:
    """One hand-worked case: float lists as float32, int lists as int32."""

    def __init__(self, task: str, number: int):
        self.own, self.spec = golden(task), SPECS[task]
        raw, labels, overrides, self.expected = self.own.CASES[number]
        self.raw, self.labels = ({k: _array(v) for k, v in each.items()} for each in (raw, labels))
        self.config = self.own.CONFIG.replace(**overrides)

    def with_second(self, kind: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Returns the case as a batch of two. The second is a copy, or garbage of a kind."""
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
        """Returns the mean of each loss term over the batch."""
        tensors = [{key: tf.constant(value) for key, value in each.items()} for each in (raw, labels)]
        terms = self.spec.loss(tensors[0], seen(weight, self.config) | tensors[1], self.config)
        return {name: loss_weights.mean(term) for name, term in terms.items()}

    def gradients(self, raw: dict[str, Any], labels: dict[str, Any], weight: list[float]) -> Any:
        """Returns the gradients of the sum of all means with respect to each float output, [2, ...] each."""
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
