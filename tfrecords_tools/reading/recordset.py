"""A record set as it lies on disk, for the commands that look into it: its files, its manifest, one shard at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from must_tf import tasks
from must_tf.common.errors import UserError
from must_tf.common.progress import Progress
from must_tf.data import input as input_lib
from must_tf.data import manifest, record
from must_tf.pseudo_gate import verdict
from tfrecords_tools.writing import worker_pool


class RecordSet(NamedTuple):
    """Files of one folder, and the folder's manifest."""

    directory: str
    paths: tuple[str, ...]
    manifest: manifest.Manifest

    @property
    def is_whole(self) -> bool:
        """Whether all shards that the manifest lists are among the files."""
        return {shard["file"] for shard in self.manifest.shards} <= {os.path.basename(path) for path in self.paths}

    @property
    def records(self) -> int:
        """Images in the files, as the manifest counts them."""
        names = {os.path.basename(path) for path in self.paths}
        return sum(shard["records"] for shard in self.manifest.shards if shard["file"] in names)


class Damaged(Exception):
    """A record that cannot be read from its file; those after it cannot either."""

    def __init__(self, path: str, number: int, message: str):
        super().__init__(path, number, message)
        self.path, self.number, self.message = path, number, message

    def __str__(self) -> str:
        return f"{os.path.basename(self.path)} record {self.number}: {self.message}"


def opened(records: str, option: str = "--records") -> RecordSet:
    """The record set that a glob names; `option` is where the user gave it. A comma is a part of a name.

    Raises:
      UserError: no file, files of several folders, or no manifest beside them.
    """
    beside = (manifest.NAME, verdict.NAME)  # 'DIR/*' means the records
    found = [path for path in input_lib.files([records], option) if os.path.basename(path) not in beside]
    directories = sorted({os.path.dirname(path) for path in found})
    if len(directories) != 1:
        raise UserError(
            f"{option}={records!r} matches records of {len(directories)} folders; look at one record set at a time."
        )
    return RecordSet(directories[0], tuple(found), manifest.read(directories[0]))


def configs_of(classes: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """{task: its config with these class names} of every task there is."""
    return {
        name: spec.Config(enabled=True, classes=tuple(classes.get(name, ()))) for name, spec in tasks.discover().items()
    }


def numbered(path: str) -> Iterator[tuple[int, bytes]]:
    """(place, serialised record) of one file, from place 0 on.

    Raises:
      Damaged: the file ends in the middle of a record, or a checksum does not fit.
    """
    number = 0
    try:
        for serialized in record.without_autotune(tf.data.TFRecordDataset(path)).as_numpy_iterator():
            yield number, serialized
            number += 1
    except (tf.errors.DataLossError, tf.errors.InvalidArgumentError) as error:
        raise Damaged(path, number, _short(error.message)) from None


def _short(message: str) -> str:
    """TensorFlow's message without the name of the node that raised it."""
    return message.split("}} ")[-1].split(" [Op:")[0].strip()


def whole(path: str) -> Iterator[tuple[int, bytes]]:
    """As `numbered`, for commands that cannot go on: damage is a UserError."""
    try:
        yield from numbered(path)
    except Damaged as damage:
        raise UserError(
            f"{path} record {damage.number}: {damage.message}. See what else is wrong with must-records check, "
            "and write the records again."
        ) from None


def over_shards(
    job: worker_pool.WorkFunction, jobs: Sequence[Any], what: str, records: int, processes: int
) -> list[Any]:
    """`job` of every shard, with one progress line; in other processes where there is enough to do.

    Args:
      job: at module level, called as job(one of `jobs`, tick).
      jobs: one per shard.
      what, records: for the progress line.
      processes: 0 chooses.
    """
    if processes < 0:
        raise UserError("--workers must be 0 (chosen for you) or more.")
    progress = Progress(records, what)
    count = min(processes or worker_pool.default_count(records), len(jobs))
    results = worker_pool.run(job, jobs, count, progress)
    progress.close()
    return results
