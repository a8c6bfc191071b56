"""The same shards, made by Apache Beam on as many machines as its runner has: `pip install must-tf[beam]`, `--runner`.

Only paths pass between the stages. What a shard is made of, and by which function, is written beside the shards
beforehand, so that a worker needs nothing but the storage, and makes a shard as it is made on one machine.

    OUT/.shards/plan/records-00003-of-00016.tfrecord.pickle    removed when the pipeline has ended
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import tensorflow as tf

from must_tf.common import files
from must_tf.common.errors import UserError, nearest
from tfrecords_tools.writing import shards

RUNNERS = ("DirectRunner", "FlinkRunner", "SparkRunner", "DataflowRunner")


class ShardJob(Protocol):
    """One shard's worth of work; can be pickled."""

    @property
    def path(self) -> str:
        """Of the shard."""
        ...


Write = Callable[[Any, Callable[..., None]], Any]  # (job, called after images); at module level


def make_all(write: Write, jobs: Iterable[ShardJob], out: str, arguments: Sequence[str]) -> None:
    """Makes the shards of these jobs by a pipeline.

    Args:
      write: makes one; runs on a worker, which may make several, one after another or at the same time.
      jobs: their shards lie in `out`, which must be visible from all workers.
      out: the folder, held by this process.
      arguments: --runner and the runner's own.

    Raises:
      UserError: the pipeline failed.
    """
    _forget_plan(out)  # of a run that was killed
    try:
        if planned := [_plan(write, job) for job in jobs]:
            _pipeline(planned, arguments)
    finally:
        _forget_plan(out)


def require(runner: str) -> None:
    """Raises UserError where there is no such runner, or no Beam."""
    if runner not in RUNNERS:
        raise UserError(
            f"--runner {runner!r} does not exist.{nearest(runner, RUNNERS)} There are {', '.join(RUNNERS)}."
        )
    try:
        import apache_beam  # noqa: F401
    except ImportError:
        raise UserError(
            "--runner needs Apache Beam: pip install 'must-tf[beam]', best in an environment of its own."
        ) from (None)


def _folder(out: str) -> str:
    return os.path.join(out, shards.FOLDER, "plan")


def _forget_plan(out: str) -> None:
    if tf.io.gfile.exists(_folder(out)):
        tf.io.gfile.rmtree(_folder(out))


def _plan(write: Write, job: ShardJob) -> str:
    """Writes down what a shard is made of and how; returns where."""
    path = os.path.join(_folder(os.path.dirname(job.path)), f"{os.path.basename(job.path)}.pickle")
    files.write_whole(path, pickle.dumps((write, job)))
    return path


def make(path: str) -> str:
    """Makes the shard of a plan, on a worker; returns the plan's path."""
    with tf.io.gfile.GFile(path, "rb") as file:
        write, job = pickle.loads(file.read())
    write(job, lambda count=1: None)
    return path


def _pipeline(planned: Sequence[str], arguments: Sequence[str]) -> None:
    import apache_beam
    from apache_beam.options.pipeline_options import PipelineOptions

    try:
        with apache_beam.Pipeline(options=PipelineOptions(list(arguments))) as pipeline:
            paths = pipeline | "plans" >> apache_beam.Create(list(planned)) | apache_beam.Reshuffle()
            _ = paths | "shards" >> apache_beam.Map(make)
    except Exception as error:  # every runner has its own; the worker's message is a part of it
        raise UserError(f"the Beam pipeline failed: {_cause(error)} Finished shards are kept.") from error


def _cause(error: Exception) -> str:
    """The worker's UserError where there is one, else the last line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    marked = [line for line in lines if "UserError: " in line]
    return marked[-1].split("UserError: ")[-1] if marked else lines[-1]
