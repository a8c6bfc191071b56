"""How a labelling process uses its cores, so that their number is no matter for any byte.

TensorFlow shares one sum out among an operation's threads, and the last bits of the result depend on how many there
are: of a product [1, 1280] x [1280, 1000] already for two instead of one, of the mean of a map for three, also with
eight images at a time. So an operation gets one thread, and the cores are used by several batches at a time. Each batch
in the networks takes the memory of its activations, hence `MOST`; more cores are for more processes (`--workers`).

What remains is the processor's instruction set, by which TensorFlow chooses how to compute; and with a GPU its kind,
and that its libraries choose among ways to make a sum by how fast they are at the moment. There
TF_DETERMINISTIC_OPS=1 in the environment asks for equal bytes; it costs speed, and not every model can do it.

`settle` is of no effect in a process in which TensorFlow has computed before, as when `label.run` is called from
Python: there one batch at a time takes all threads, and the last bits are of their number.
"""

from __future__ import annotations

import contextlib
import os

import tensorflow as tf

from must_tf.common import devices, upstream
from tfrecords_tools.label import parallelism

MOST = 4  # batches at a time in the networks of one process


def settle() -> None:
    """Sums in order, so that calls at a time do not meet; and one thread to an operation, where the CPU computes. The
    latter is of no effect once TensorFlow has computed in this process."""
    upstream.disable_memory_optimizer()
    if not tf.config.list_physical_devices("GPU"):
        with contextlib.suppress(RuntimeError):
            tf.config.threading.set_intra_op_parallelism_threads(1)


def share() -> int:
    """Cores for this process: all that there are, or what its parent gave it."""
    given = os.environ.get(parallelism.SHARE, "")
    return min(int(given) if given.isdecimal() else 0, devices.cores()) or devices.cores()


def passes() -> int:
    """Forward passes at a time: as many as there are cores where each takes one, else one that takes them all."""
    settled = tf.config.threading.get_intra_op_parallelism_threads() == 1
    return min(share(), MOST) if settled else 1
