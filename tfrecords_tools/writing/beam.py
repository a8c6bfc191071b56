"""Writes the same shards on many machines with Apache Beam: `pip install must-tf[beam]`, then `--runner`.

Only paths pass between the pipeline's stages. Each shard's job, and the function that does it, is pickled beside the
shards first. A worker therefore needs only access to the storage, and writes the same bytes as a single machine.

    OUT/.shards/plan/records-00003-of-00016.tfrecord.pickle    removed at the end of the pipeline
"""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import tensorflow as tf

from must_tf.common import files
from must_tf.common.errors import UserError, nearest
from tfrecords_tools.writing import shards

DASK = "DaskRunner"
RUNNERS = ("DirectRunner", DASK, "FlinkRunner", "SparkRunner", "DataflowRunner")
DASK_CLASS = "apache_beam.runners.dask.dask_runner.DaskRunner"  # Beam does not know it by its short name
DASK_PARTS = ("--dask_npartitions", "--dask_partition_size")


class ShardJob(Protocol):
    """The work of one shard. It must be picklable."""

    @property
    def path(self) -> str:
        """Path of the shard."""
        ...


Write = Callable[[Any, Callable[..., None]], Any]  # (job, progress callback); defined at module level


def make_all(write: Write, jobs: Iterable[ShardJob], out: str, arguments: Sequence[str]) -> None:
    """Writes the shards of these jobs with a Beam pipeline.

    Args:
      write: writes one shard. It runs on a worker, which may write several shards in turn or at the same time.
      jobs: one per shard of `out`, which must be visible to all workers.
      out: the output folder, locked by this process.
      arguments: --runner and the runner's own options.

    Raises:
      UserError: the pipeline failed.
    """
    _forget_plan(out)  # left by a run that was killed
    try:
        if plans := [_plan(write, job) for job in jobs]:
            _run_pipeline(plans, arguments)
    finally:
        _forget_plan(out)


def require(runner: str) -> None:
    """Raises UserError if the runner does not exist, or Beam or what the runner needs is not installed."""
    if runner not in RUNNERS:
        raise UserError(
            f"--runner {runner!r} does not exist.{nearest(runner, RUNNERS)} Choose one of {', '.join(RUNNERS)}."
        )
    try:
        import apache_beam  # noqa: F401

        if runner == DASK:
            import distributed  # noqa: F401
    except ImportError:
        raise UserError(
            "--runner needs Apache Beam: pip install 'must-tf[beam]', preferably in an environment of its own."
        ) from None


def _folder(out: str) -> str:
    return os.path.join(out, shards.FOLDER, "plan")


def _forget_plan(out: str) -> None:
    if tf.io.gfile.exists(_folder(out)):
        tf.io.gfile.rmtree(_folder(out))


def _plan(write: Write, job: ShardJob) -> str:
    """Pickles a shard's job and the function that does it; returns the path."""
    path = os.path.join(_folder(os.path.dirname(job.path)), f"{os.path.basename(job.path)}.pickle")
    files.write_whole(path, pickle.dumps((write, job)))
    return path


def make(path: str) -> str:
    """Writes the shard of a plan on a worker; returns the plan's path."""
    with tf.io.gfile.GFile(path, "rb") as file:
        write, job = pickle.loads(file.read())
    write(job, lambda count=1: None)
    return path


def _run_pipeline(plans: Sequence[str], arguments: Sequence[str]) -> None:
    import apache_beam
    from apache_beam.options.pipeline_options import PipelineOptions

    logging.getLogger("distributed").setLevel(logging.WARNING)  # Beam has Dask tell of every connection
    on_dask = f"--runner={DASK}" in arguments
    options = PipelineOptions(_for_dask(arguments, len(plans)) if on_dask else list(arguments))
    pipeline: Any = None
    try:
        with apache_beam.Pipeline(options=options) as pipeline:
            paths = pipeline | "plans" >> apache_beam.Create(list(plans))
            if not on_dask:  # each shard is a part of its own already; at random, several would share one
                paths = paths | apache_beam.Reshuffle()
            _ = paths | "shards" >> apache_beam.Map(make)
    except Exception as error:  # each runner has its own class; its message contains the worker's
        raise UserError(f"the Beam pipeline failed: {_cause(error)}") from error
    finally:
        if on_dask and getattr(pipeline, "result", None):
            pipeline.result.client.close()  # Beam leaves it connected


def _for_dask(arguments: Sequence[str], shards: int) -> list[str]:
    """Returns the arguments for Dask, which would give 128 shards, and usually all of them, to one worker."""
    named = [argument for argument in arguments if argument != f"--runner={DASK}"] + [f"--runner={DASK_CLASS}"]
    given = any(argument.startswith(DASK_PARTS) for argument in arguments)
    return named if given else [*named, f"{DASK_PARTS[0]}={shards}"]


def _cause(error: Exception) -> str:
    """Returns the message of the worker's UserError if there is one, else the last line of the error."""
    if isinstance(error, UserError):
        return str(error)  # Dask raises it here as it was
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    user_errors = [line for line in lines if "UserError: " in line]
    return (
        user_errors[-1].split("UserError: ")[-1]
        if user_errors
        else f"{lines[-1].rstrip('.')}. Finished shards are kept."
    )
