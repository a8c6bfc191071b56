"""Settings of a command's process. Importing `must_tf` as a library changes none of them."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import sys
import warnings
from collections.abc import Iterator

from must_tf.common import (
    devices,
    interrupts,
    missing,
    startup_times,  # noqa: F401  # starts its clock
    subprocesses,
    tensorflow_log,
)

KERAS = "TF_USE_LEGACY_KERAS"  # "1": only Keras 2, which is tf_keras
KERNELS = "TF_ENABLE_ONEDNN_OPTS"  # "1": oneDNN's kernels on every processor
THREADS = (subprocesses.THREADS, "TF_NUM_INTEROP_THREADS")  # of one operation, and operations at a time
RETRACED = "triggered tf.function retracing"
# Of an evaluation, which needs no optimizer. What a checkpoint and a model do not share is in a table of our own.
UNRESTORED = ("being deleted with unrestored values", "could not be found in the restored object")
OLD_PYTHON = "You are using a non-supported Python version"  # of google.api_core, for datasets in Google's cloud
GROWTH = "TF_FORCE_GPU_ALLOW_GROWTH"  # "true": take a GPU's memory as it is needed


def prepare(keep_log: bool = False) -> None:
    """Sets the variables that TensorFlow reads when it is imported. Values that the user has set are kept.

    If another command of the project started this process, it ends with that command.

    Model Garden is built on tf_keras. Unless TensorFlow is told to use it, it imports Keras 3 as well, which adds a
    second to every start.

    TensorFlow uses oneDNN's kernels by itself only on some processors. On others, such as AMD's without AVX512, they
    are as good: a step of the quickstart's student takes 0.62 of the processor time (AVX2, two cores). Results stay the
    same bit for bit from run to run.

    TensorFlow has a thread for each core that it may run on. If a container or a job limits their time further, as many
    threads would only wait for each other.

    TensorFlow would take all memory of every GPU that it sees, so that no other program could use the same GPU.

    Args:
      keep_log: TensorFlow logs everything, but not to stderr: see `tensorflow_log`.
    """
    if keep_log:
        tensorflow_log.begin()
    subprocesses.end_with_parent()
    for name in (KERAS, KERNELS):
        os.environ.setdefault(name, "1")
    if (cores := devices.cores()) < devices.affinity():
        for name in THREADS:
            if name not in os.environ:
                os.environ[name] = str(cores)
                subprocesses.not_inherited.add(name)  # several may share the cores
    os.environ.setdefault(GROWTH, "true")
    quiet()


def quiet() -> None:
    """Silences what TensorFlow's C++ side logs at its start, and harmless lines of Python packages."""
    quiet_cpp()
    warnings.filterwarnings("ignore", OLD_PYTHON, FutureWarning)
    logging.getLogger("tensorflow").addFilter(_concerns_users)


def quiet_cpp() -> None:
    """Silences the dozens of harmless lines that TensorFlow's C++ side logs at its start.

    On a GPU, errors are still shown. Without one they say that there is none, and which kernels oneDNN lacks. What
    really goes wrong is also raised as an exception.
    """
    if tensorflow_log.LEVEL in os.environ:
        return
    gpus = devices.visible_count(os.environ, devices.driver_gpus())
    os.environ[tensorflow_log.LEVEL] = "2" if gpus else "3"
    subprocesses.not_inherited.add(tensorflow_log.LEVEL)  # a training keeps its log


def _concerns_users(record: logging.LogRecord) -> bool:
    """Returns False for warnings of what is as it should be.

    A function is traced often for several networks or sizes of photos.
    """
    return not any(text in record.getMessage() for text in (RETRACED, *UNRESTORED))


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Disables the garbage collector during imports and freezes the imported objects afterwards.

    TensorFlow's modules are 350 thousand objects that live as long as the process. Searching them for garbage takes a
    sixth of their import time, and as much again when the process ends. Ctrl-C and SIGTERM end the process at once.
    If a package is not installed, the process ends with one line and exit code 2.
    """
    gc.disable()
    try:
        with interrupts.at_once():
            yield
    except ModuleNotFoundError as error:
        if not (message := missing.remedy(error)):
            raise
        print(f"error: {message}", file=sys.stderr)
        sys.exit(2)
    finally:
        gc.freeze()
        gc.enable()
