"""A dataset of records on disk: its files, its manifest, and its records, one shard at a time."""

from __future__ import annotations

import collections
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from must_tf import tasks
from must_tf.common.errors import UserError
from must_tf.common.progress import Progress
from must_tf.data import framing, manifest, record
from must_tf.data import input as input_lib
from must_tf.pseudo_gate import verdict
from tfrecords_tools.reading import bad_records
from tfrecords_tools.writing import worker_pool


class RecordSet(NamedTuple):
    """Record files of one folder, and the folder's manifest."""

    directory: str
    paths: tuple[str, ...]
    manifest: manifest.Manifest

    @property
    def is_whole(self) -> bool:
        """True if the files include all shards that the manifest lists."""
        return {shard["file"] for shard in self.manifest.shards} <= {os.path.basename(path) for path in self.paths}

    @property
    def records(self) -> int:
        """Number of images in the files, according to the manifest."""
        names = {os.path.basename(path) for path in self.paths}
        return sum(shard["records"] for shard in self.manifest.shards if shard["file"] in names)


class Damaged(Exception):
    """A record that cannot be read from its file. Those after it cannot be read either."""

    def __init__(self, path: str, number: int, message: str):
        super().__init__(path, number, message)
        self.path, self.number, self.message = path, number, message

    def __str__(self) -> str:
        return f"{os.path.basename(self.path)} record {self.number}: {self.message}"


def opened(records: str, option: str = "--records") -> RecordSet:
    """Returns the dataset that a glob names.

    Args:
      records: the glob. A comma is part of a name, unlike in a training config.
      option: the option that the user gave it with, for error messages.

    Raises:
      UserError: no file matches, the files lie in several folders, or there is no manifest beside them.
    """
    paths = [path for path in input_lib.files([records], option) if _may_hold_records(os.path.basename(path))]
    directories = sorted({os.path.dirname(path) for path in paths})
    if not paths:
        raise UserError(f"{option}={records!r} names no record file. Write 'FOLDER/*.tfrecord'.")
    if len(directories) > 1:
        raise UserError(f"{option}={records!r} matches files in {len(directories)} folders. Name those of one folder.")
    return RecordSet(directories[0], tuple(paths), manifest.read(directories[0]))


def _may_hold_records(name: str) -> bool:
    """Returns False for the other files and folders of a dataset, which 'DIR/*' matches, too."""
    return name not in (manifest.NAME, verdict.NAME) and not name.startswith(".")


def configs_of(classes: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Returns {task: config} of all tasks, with these class names."""
    return {
        name: spec.Config(enabled=True, classes=tuple(classes.get(name, ()))) for name, spec in tasks.discover().items()
    }


def numbered(path: str, step: int = 1) -> Iterator[tuple[int, bytes]]:
    """Yields (number, serialised record) of one file, counting from 0: each `step`th record.

    Raises:
      Damaged: the file ends in the middle of a record, or a checksum is wrong.
    """
    whole_ones = framing.whole_records(path)
    if whole_ones is not None:  # reading the next one would end the process
        yield from itertools.islice(_sound(path, step), -(-whole_ones // step))
        raise Damaged(path, whole_ones, "it is longer than the rest of the file")
    yield from _sound(path, step)


def _sound(path: str, step: int) -> Iterator[tuple[int, bytes]]:
    number = 0
    records = record.without_autotune(tf.data.TFRecordDataset(path).shard(step, 0))
    try:
        for serialized in records.as_numpy_iterator():
            yield number, serialized
            number += step
    except (tf.errors.DataLossError, tf.errors.InvalidArgumentError) as error:
        if step > 1:  # it may be one of the records between these
            collections.deque(_sound(path, 1), 0)
        raise Damaged(path, number, _short(error.message)) from None


def _short(message: str) -> str:
    """Removes the name of the node from TensorFlow's message."""
    return message.split("}} ")[-1].split(" [Op:")[0].strip()


def whole(path: str, step: int = 1) -> Iterator[tuple[int, bytes]]:
    """Same as `numbered`, for commands that cannot skip damage: they raise UserError."""
    try:
        yield from numbered(path, step)
    except Damaged as damage:
        raise UserError(
            f"{path} record {damage.number}: {damage.message}. must check lists all problems. Write the records again."
        ) from None


def over_shards(
    function: worker_pool.WorkFunction, jobs: Sequence[Any], activity: str, records: int, processes: int
) -> list[Any]:
    """Calls a function for every shard and shows one progress line. Uses worker processes if there is enough to do.

    Args:
      function: defined at module level, called as function(job, tick).
      jobs: one per shard.
      activity: a word for the progress line.
      records: total number of records, for the progress line.
      processes: number of worker processes; 0 chooses.

    Returns:
      The function's results, in the order of the jobs.
    """
    if processes < 0:
        raise UserError("--workers must not be negative. 0 chooses the number of processes.")
    progress = Progress(records, activity)
    count = min(processes or worker_pool.default_count(records), len(jobs))
    outcomes = worker_pool.run(bad_records.Counted(function, bad_records.allowed()), jobs, count, progress)
    progress.close()
    bad_records.settle([place for _, places in outcomes for place in places])
    return [result for result, _ in outcomes]
