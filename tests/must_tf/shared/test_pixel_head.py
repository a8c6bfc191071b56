"""The head of all pixel tasks: how its output layer starts."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import numpy as np
import pytest
import tf_keras

from must_tf.tasks import discover
from tests.contract.golden_cases import golden
from tests.support.contract import SETTINGS, pyramid

FILTERS = 64


def first_kernel(task: str) -> np.ndarray:
    """Of the linear conv, [FILTERS, channels]."""
    tf_keras.utils.set_random_seed(3)
    config: Any = dataclasses.replace(cast(Any, golden(task).CONFIG), filters=FILTERS)
    head = discover()[task].head(config, SETTINGS)
    head.create_variables(pyramid(1))
    return next(v for v in head.weights if v.shape[:-1] == [1, 1, FILTERS]).numpy()[0, 0]


@pytest.mark.parametrize("task", ["segmentation", "depth", "normals"])
def test_classes_start_apart(task: str) -> None:
    """Glorot and Bengio's deviation, sqrt(2 / (inputs + outputs)), for classes; Model Garden's 0.01 for the others."""
    kernel = first_kernel(task)
    expected = np.sqrt(2 / sum(kernel.shape)) if task == "segmentation" else 0.01
    assert kernel.std() == pytest.approx(expected, rel=0.25)
