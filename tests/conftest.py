"""What pytest sets up before tests: shared fixtures, a server that starts Python processes quickly, and an order."""

import contextlib
import os
import shlex
from pathlib import Path

import pytest

from must_tf.common import process_setup
from tests.support.session import fork_server, forked_python

# What commands set for themselves, so that tests and the commands that they start import and compute the same.
for name in (process_setup.KERAS, process_setup.KERNELS):
    os.environ.setdefault(name, "1")

# Beside the first one, which trains the student that other files share, stands one that does not wait for it.
LONGEST = (
    "must_tf/training/test_trainer.py",
    "must_tf/training/test_replicas.py",
    "tfrecords_tools/label/test_run.py",
    "must_tf/training/test_averages.py",
    "experiments/test_cross.py",
    "benchmarks/test_lowered.py",
    "must_tf/transfers/test_transfers.py",
    "contract/test_seventh_task.py",
    "must_tf/tasks/test_ignored.py",
    "must_tf/model/test_freezing.py",
    "must_tf/prediction/test_model.py",
    "experiments/test_paper.py",
    "must_tf/training/test_fine_tuning.py",
    "must_tf/training/test_preflight.py",
    "project/test_notebooks.py",
    "must_tf/training/test_early_stopping.py",
    "must_tf/serving/test_saved_model.py",
    "must_tf/training/test_batch_size.py",
    "tfrecords_tools/teachers/test_export.py",
    "must_tf/cli/test_predict.py",
    "tfrecords_tools/label/test_parallelism.py",
    "must_tf/cli/test_errors.py",
)


def pytest_configure(config: pytest.Config) -> None:
    """Prepares a process that runs tests, or one that only distributes them to the workers of pytest-xdist."""
    running = contextlib.ExitStack()
    running.enter_context(fork_server.running(forked_python.ADDRESS))  # one server for all workers
    config.add_cleanup(running.close)
    if config.getoption("dist", "no") == "no":  # the fixtures import TensorFlow
        config.pluginmanager.import_plugin("tests.support.session.fixtures")
    else:
        forked = f"popen//python={shlex.join(forked_python.INTERPRETER)}"
        config.option.tx = [forked if worker == "popen" else worker for worker in config.option.tx]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Starts with the files that take longest, so that the workers of pytest-xdist end at about the same time."""
    tests = Path(__file__).parent
    names = {path: path.relative_to(tests).as_posix() for path in {item.path for item in items}}
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(names[item.path], len(order)))
