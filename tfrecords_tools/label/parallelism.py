"""How labelling is spread: over processes, the jobs of a batch system, a Beam runner. It is no matter for any byte; of
the processor's arithmetic, `label_threads` sees to that."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from must_tf.common import devices
from must_tf.common.errors import UserError

SHARE = "TF_NUM_INTEROP_THREADS"  # operations at a time, each in a thread: the cores of one process


class Part(NamedTuple):
    """Job `number` of `jobs`, from 1 on: does every `jobs`-th shard."""

    number: int = 1
    jobs: int = 1

    @property
    def name(self) -> str:
        """Of its lock; empty where it is all there is."""
        return f"{self.number}-of-{self.jobs}" if self.jobs > 1 else ""

    def of(self, whole: list[Any]) -> list[Any]:
        """What this part has of it."""
        return whole[self.number - 1 :: self.jobs]


class Ways(NamedTuple):
    """How the work is done.

    Attributes:
      workers: processes on this machine; 0: one per GPU, or one.
      part: of the work that this command does.
      runner: of Beam, one of `beam.RUNNERS`; empty: this machine.
      runner_options: the runner's own arguments.
    """

    workers: int = 0
    part: Part = Part()
    runner: str = ""
    runner_options: tuple[str, ...] = ()

    def check(self) -> None:
        """Raises UserError where they do not go together."""
        if self.workers < 0:
            raise UserError("--workers must be 0 (chosen for you) or more.")
        if self.runner and self.part.name:
            raise UserError("--shard and --runner exclude each other: a runner spreads the shards itself.")
        if self.runner and self.workers:
            raise UserError("--workers and --runner exclude each other: the runner has its own option for that.")


def parse_part(value: str) -> Part:
    """ "2/8" -> Part(2, 8); "" -> all.

    Raises:
      UserError: not of that form, or out of range.
    """
    if not value:
        return Part()
    number, _, jobs = value.partition("/")
    if not (number.isdecimal() and jobs.isdecimal()):
        raise UserError(f"--shard {value!r}: write JOB/JOBS, like 2/8 for the second of eight jobs.")
    part = Part(int(number), int(jobs))
    if not 1 <= part.number <= part.jobs:
        raise UserError(f"--shard {value}: jobs are counted from 1 to their number, as 1/{max(1, part.jobs)}.")
    return part


def environments(workers: int, shards: int, gpus: int) -> list[dict[str, str]]:
    """What each worker process sees; none where this process does the work itself.

    With several GPUs each process sees one; without, the cores are shared out.

    Args:
      workers: asked for; 0: one per GPU, or one.
      shards: to be made.
      gpus: that TensorFlow lists.

    Raises:
      UserError: more processes than GPUs.
    """
    names = devices.names(os.environ, gpus)
    if gpus and workers > len(names):
        raise UserError(
            f"--workers {workers}: there are {len(names)} GPUs, and each process needs its own. Leave out --workers; "
            "CUDA_VISIBLE_DEVICES= before the command asks for the CPU."
        )
    if gpus:
        count = min(workers or len(names), max(1, shards))
        return [{"CUDA_VISIBLE_DEVICES": name} for name in names[:count]] if len(names) > 1 else []
    count = min(workers or 1, shards)
    share = str(max(1, devices.cores() // max(1, count)))
    return [{SHARE: os.environ.get(SHARE, share)}] * count if count > 1 else []
