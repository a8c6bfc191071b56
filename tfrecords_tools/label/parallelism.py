"""How labelling is spread over processes, jobs of a batch system, a Beam runner, and the cores of a process.

None of this changes a byte of the output. On CPUs that needs care:

TensorFlow splits a sum over an operation's threads, and the last bits of the result depend on how many there are: for a
product [1, 1280] x [1280, 1000] they already differ between one and two threads, for the mean of a map between two and
three, even with eight images at a time. So every operation gets one thread, and several batches use the cores at the
same time. Each batch in the networks needs memory for its activations, hence `MOST_PASSES`; more cores are used by more
processes (`--workers`).

What still matters is the processor's instruction set, by which TensorFlow chooses how to compute. With a GPU, its kind
matters, and its libraries choose among ways to compute a sum by their speed at that moment. There,
TF_DETERMINISTIC_OPS=1 in the environment asks for equal bytes; it costs speed, and not every model supports it.

`settle` has no effect on the threads if TensorFlow has computed before in this process, for example if `label.run` is
called from Python. Then one batch at a time uses all threads, and the last bits depend on their number.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import NamedTuple, TypeVar

import cv2
import tensorflow as tf

from must_tf.common import devices, upstream
from must_tf.common.errors import UserError
from must_tf.data import opening
from must_tf.label_content import ImageInfo

SHARE = "TF_NUM_INTEROP_THREADS"  # TensorFlow's operations at a time, one thread each: the cores of one process
MOST_PASSES = 4  # batches at a time in the networks of one process

T = TypeVar("T")


class Room:
    """Limits how many pixels the threads of a process work on at a time: to those of the largest image that is allowed.

    The maps of one such image take gigabytes, so that one thread has it to itself. Images of usual size hardly wait.
    """

    def __init__(self, pixels: int = opening.MAX_PIXELS):
        self._pixels, self._taken = pixels, 0
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def taken(self, info: ImageInfo) -> Iterator[None]:
        """Waits until there is room for this image, and keeps it."""
        pixels = min(info.height * info.width, self._pixels)
        with self._changed:
            self._changed.wait_for(lambda: self._taken + pixels <= self._pixels)
            self._taken += pixels
        try:
            yield
        finally:
            with self._changed:
                self._taken -= pixels
                self._changed.notify_all()


class JobPart(NamedTuple):
    """The part of job `number` of `jobs`, counted from 1: every `jobs`-th shard."""

    number: int = 1
    jobs: int = 1

    @property
    def name(self) -> str:
        """Name of the part's lock; empty if there is only one job."""
        return f"{self.number}-of-{self.jobs}" if self.jobs > 1 else ""

    def of(self, shards: list[T]) -> list[T]:
        """Returns the shards of this part."""
        return shards[self.number - 1 :: self.jobs]


class Parallelism(NamedTuple):
    """How the work is spread.

    Attributes:
      workers: processes on this machine; 0: one per GPU, or one.
      part: that this command does.
      runner: of Beam, one of `beam.RUNNERS`; empty: this machine.
      runner_options: the runner's own arguments.
    """

    workers: int = 0
    part: JobPart = JobPart()
    runner: str = ""
    runner_options: tuple[str, ...] = ()

    def check(self) -> None:
        """Raises UserError if the settings contradict each other."""
        if self.workers < 0:
            raise UserError("--workers must be 0 (chosen automatically) or more.")
        if self.runner and self.part.name:
            raise UserError("--shard and --runner exclude each other: a runner distributes the shards itself.")
        if self.runner and self.workers:
            raise UserError("--workers and --runner exclude each other. Set workers in --runner-options.")


def parse_part(value: str) -> JobPart:
    """Parses the value of --shard: "2/8" -> JobPart(2, 8); "" -> all shards.

    Raises:
      UserError: the value has another form, or is out of range.
    """
    if not value:
        return JobPart()
    number, _, jobs = value.partition("/")
    if not (number.isdecimal() and jobs.isdecimal()):
        raise UserError(f"--shard {value!r}: write JOB/JOBS, for example 2/8 for the second of eight jobs.")
    part = JobPart(int(number), int(jobs))
    if not 1 <= part.number <= part.jobs:
        raise UserError(f"--shard {value}: JOB must be between 1 and JOBS, for example 1/{max(1, part.jobs)}.")
    return part


def environments(workers: int, shards: int, gpus: int) -> list[dict[str, str]]:
    """Returns the environment variables of each worker process; an empty list if this process does the work itself.

    With several GPUs, each process sees one. Without a GPU, the processes share the cores.

    Args:
      workers: wanted; 0: one per GPU, or one.
      shards: to be made.
      gpus: that TensorFlow lists.

    Raises:
      UserError: more processes than GPUs.
    """
    names = devices.visible_names(os.environ, gpus)
    if gpus and workers > len(names):
        raise UserError(
            f"--workers {workers}: there are only {len(names)} GPUs, and each process needs its own. Leave out "
            "--workers, or set CUDA_VISIBLE_DEVICES= to label on the CPU."
        )
    if gpus:
        count = min(workers or len(names), max(1, shards))
        return [{"CUDA_VISIBLE_DEVICES": name} for name in names[:count]] if len(names) > 1 else []
    count = min(workers or 1, shards)
    return [{SHARE: str(max(1, own_cores() // count))}] * count if count > 1 else []


def settle() -> None:
    """Makes results independent of the number of cores.

    Sums are computed in a fixed order, so that simultaneous calls do not disturb each other. On a CPU each operation
    gets one thread, unless TensorFlow has computed before in this process.
    """
    upstream.disable_memory_optimizer()
    cv2.setNumThreads(1)  # its threads would compete with this process's own, and wait for each other by turning
    if not tf.config.list_physical_devices("GPU"):
        with contextlib.suppress(RuntimeError):
            tf.config.threading.set_intra_op_parallelism_threads(1)


def own_cores() -> int:
    """Returns the number of cores for this process: those that its parent process assigned, or all."""
    share = os.environ.get(SHARE, "")
    return min(int(share) if share.isdecimal() else 0, devices.cores()) or devices.cores()


def passes() -> int:
    """Returns the number of forward passes at a time: one per core if each uses one core, else 1."""
    settled = tf.config.threading.get_intra_op_parallelism_threads() == 1
    return min(own_cores(), MOST_PASSES) if settled else 1
