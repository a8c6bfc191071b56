"""Settings of a command's process: TensorFlow's threads, and which of its messages are shown."""

from __future__ import annotations

import gc
import logging
import os
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import tensorflow as tf

from must_tf.common import devices, process_setup


@pytest.mark.parametrize(("cores", "given", "expected"), [(16, None, None), (3, None, "3"), (3, "5", "5")])
def test_tensorflow_has_a_thread_for_each_core_that_a_limit_leaves(
    cores: int, given: str | None, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By itself it knows the affinity only. What the user has set is kept."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    monkeypatch.setattr(devices, "cores", lambda: cores)
    monkeypatch.setattr(process_setup.subprocesses, "end_with_parent", lambda: None)
    monkeypatch.setattr(process_setup.subprocesses, "not_inherited", set())
    for name in (process_setup.KERAS, process_setup.KERNELS, "TF_CPP_MIN_LOG_LEVEL", *process_setup.THREADS):
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    if given:
        monkeypatch.setenv(process_setup.THREADS[0], given)
    process_setup.prepare()
    assert os.environ.get(process_setup.THREADS[0]) == expected
    assert os.environ.get(process_setup.THREADS[1]) == (expected and "3")
    # Commands at once share the cores, as far as the user has set nothing.
    both = [process_setup.subprocesses.environment(jobs).get(process_setup.THREADS[0]) for jobs in (1, 2)]
    assert both == ([given, given] if given else [None, str(cores // 2)])


def test_only_the_warning_about_tracing_is_dropped(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One function of each teacher, as `must label` has it, and another warning of TensorFlow.

    TensorFlow warns twice of the same lines of code, so there are two.
    """

    def traced_for_each_teacher(forward: Callable[[tf.Tensor], tf.Tensor]) -> None:
        for _ in range(6):
            tf.function(forward, autograph=False)(tf.constant(1.0))
        tf.get_logger().warning("something else")

    monkeypatch.setattr(tf.get_logger(), "filters", [])
    for name, value in (("propagate", True), ("disabled", False)):  # whatever other tests left
        monkeypatch.setattr(tf.get_logger(), name, value)
    caplog.set_level(logging.WARNING, tf.get_logger().name)
    traced_for_each_teacher(lambda x: x + 1.0)
    assert process_setup.RETRACED in caplog.text and "something else" in caplog.text
    caplog.clear()
    process_setup.quiet()
    traced_for_each_teacher(lambda x: x + 2.0)
    assert caplog.messages == ["something else"]


def test_a_package_that_will_drop_this_python_is_not_mentioned() -> None:
    """Python 3.10 still gets all that is needed here."""
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("default")
        process_setup.quiet()
        for text in ("You are using a non-supported Python version (3.10.13). Google will not", "another one"):
            warnings.warn(text, FutureWarning, stacklevel=1)
    assert [str(each.message) for each in shown] == ["another one"]


def test_a_package_that_an_update_needs_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """Also where the packages for training are installed. There, the traceback of any other package is shown."""
    with pytest.raises(SystemExit) as ended, process_setup.importing():
        raise ModuleNotFoundError("No module named 'deflate'", name="deflate")
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(
        "error: deflate is not installed. This version of must_tf needs it. Install"
    )
    with pytest.raises(ModuleNotFoundError), process_setup.importing():
        raise ModuleNotFoundError("No module named 'of_a_user'", name="of_a_user")


def test_an_evaluation_is_not_warned_of_optimizers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """TensorFlow warns, once the checkpoint is deleted, of everything in the file that was not asked for."""
    path = tf.train.Checkpoint(model=tf.Variable(1.0), optimizer=tf.Variable(2.0)).save(str(tmp_path / "ckpt"))

    def restored_in_part() -> None:
        status = tf.train.Checkpoint(model=tf.Variable(0.0)).restore(path)
        del status
        gc.collect()

    monkeypatch.setattr(tf.get_logger(), "filters", [])
    for name, value in (("propagate", True), ("disabled", False)):  # whatever other tests left
        monkeypatch.setattr(tf.get_logger(), name, value)
    caplog.set_level(logging.WARNING, tf.get_logger().name)
    restored_in_part()
    assert all(text in caplog.text for text in process_setup.UNRESTORED)
    caplog.clear()
    process_setup.quiet()
    restored_in_part()
    assert not caplog.messages
