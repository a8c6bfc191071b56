"""Models with random weights, and the comparison of weights bit by bit."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from must_tf.config import values as config_values
from must_tf.model import student
from must_tf.runs import restore
from must_tf.tasks import discover


def like(run_directory: str, names: tuple[str, ...]) -> student.Student:
    """Returns a model with random weights, configured like a run, with these heads."""
    settings = restore.read_config(run_directory)
    config_values.apply(settings, {"tasks": {name: {"enabled": name in names} for name in discover()}}, "test")
    return student.build(settings)


def values(layer: tf.Module) -> list[np.ndarray]:
    """Returns all weights, including moving statistics."""
    return [variable.numpy() for variable in layer.variables]


def same(first: list[np.ndarray], second: list[np.ndarray]) -> bool:
    """Compares bit by bit."""
    return len(first) == len(second) and all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
