"""Saves the time that TensorFlow takes to prepare graphs, which most tests run only once or twice.

Graphs are not optimised (by Grappler) in the processes of the tests. Tests that are about optimised graphs or about the
last bits use the fixture `optimised_graphs`, or processes of their own, which optimise unless `PLAIN` is in their
environment. Tests of what surrounds a training or a prediction may do without graphs, see `eagerly`.
"""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import orbit
import pytest
import tensorflow as tf
from tensorflow.python.util import tf_stack

from must_tf.evaluation.predictions import Restorer
from tests.support.session.fork_server import PLAIN_GRAPHS

PLAIN = {PLAIN_GRAPHS: "1"}  # environment of a process of `INTERPRETER` that leaves graphs as they are
EAGER = "MUST_TESTS_EAGER"  # environment variable: if it is set, `tests/support/run_train.py` trains under `eagerly`


def optimise(on: bool) -> None:
    """Sets whether this process optimises its graphs. Graphs that have run already stay as they are."""
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": not on})


def forget_origins() -> None:
    """Makes all operations that are created from now on remember the same stack.

    TensorFlow reads the stack for each operation of a graph, to show it in errors. Pytest's is deep, so that this is
    a twentieth of the processor time of all tests.
    """
    stack = tf_stack.extract_stack()
    tf_stack.extract_stack = lambda stacklevel=1: stack


@pytest.fixture
def optimised_graphs() -> Iterator[None]:
    """Graphs are optimised, as in the commands."""
    optimise(True)
    yield
    optimise(False)


@contextlib.contextmanager
def eagerly() -> Iterator[None]:
    """Runs the steps of trainings and evaluations operation by operation: quicker than tracing them for a few steps.

    The operations are the same, in the same order, so only the last bits of the results may differ.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in ("StandardTrainerOptions", "StandardEvaluatorOptions"):
            patch.setattr(orbit, name, functools.partial(_without_graphs, getattr(orbit, name)))
        yield


@contextlib.contextmanager
def eager_functions() -> Iterator[None]:
    """Runs every `tf.function` operation by operation: quicker than tracing a network for a single batch.

    Not those of tf.data, as TensorFlow would say each time.
    """
    restored = Restorer.restored

    def of_tensors(self: Restorer, predictions: Any, image_info: Any, step: int = 1) -> Any:
        """A `tf.function` makes tensors of the arrays that it is given; what replaces it here does not."""
        return restored(self, tf.nest.map_structure(tf.constant, predictions), image_info, step)

    tf.config.run_functions_eagerly(True)
    try:
        with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
            patch.setattr(Restorer, "restored", of_tensors)
            warnings.filterwarnings("ignore", ".*does not apply to tf.data functions")
            yield
    finally:
        tf.config.run_functions_eagerly(False)


def _without_graphs(options: Callable[..., Any], **given: bool) -> Any:
    return options(**(given | {"use_tf_function": False, "use_tf_while_loop": False}))
