"""One shard's worth of labelling, on whatever process or machine does it: a pure function of its records and teachers.

A process loads its teachers with its first shard and keeps them for the next.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import tensorflow as tf

from must_tf.common.errors import UserError
from must_tf.data import record
from must_tf.tasks import discover
from tfrecords_tools.label import threads
from tfrecords_tools.label.pipeline import Done, labelled
from tfrecords_tools.teachers import Description, Teacher, failure
from tfrecords_tools.writing import shards
from tfrecords_tools.writing.counts import Account

EMPTY = "{task}: labelled, nothing found"  # counted in the notes

_loaded: dict[str, list[Teacher]] = {}  # of the last job in this process
_loading = threading.Lock()  # a Beam worker has several threads


class Job(NamedTuple):
    """One shard's worth of work."""

    source: str  # the shard that is labelled
    sha256: str  # of its bytes, as its manifest says
    path: str  # the shard that it becomes
    teachers: tuple[Description, ...]
    replace: frozenset[str] = frozenset()


def write(job: Job, tick: Callable[[int], None]) -> shards.ShardInfo:
    """Makes the shard; `tick` is called with numbers of images.

    Raises:
      UserError: a teacher or a record that cannot be used, or the shard is not the one that its manifest lists.
    """
    account = Account()
    threads.settle()
    try:
        records = labelled(job.source, _teachers(job.teachers), tick, job.replace)
        return shards.write_shard(job.path, _noted(_unchanged(records, job), account), account)
    except tf.errors.NotFoundError as error:
        raise UserError(f"{job.source}: {error.message}. Finished shards are kept.") from error
    except tf.errors.ResourceExhaustedError as error:
        raise UserError(
            f"{job.source}: memory or disk is full ({failure.reason(error)}). Finished shards are kept: make room, or "
            "let fewer teachers label at a time, and run the same command again."
        ) from error


def _teachers(described: Sequence[Description]) -> list[Teacher]:
    key = repr([(one.about.path, one.about.id, one.about.tasks) for one in described])
    with _loading:
        if key not in _loaded:
            _loaded.clear()
            _loaded[key] = [one.load() for one in described]
        return _loaded[key]


def _unchanged(records: Iterable[Done], job: Job) -> Iterator[Done]:
    """The records, once they are all read and it is sure of what. Nothing is a shard before its last record."""
    yield from records
    if shards.digest(job.source)[1] != job.sha256:
        raise UserError(
            f"{job.source} has changed since its manifest.json was written. Write these records again, and label "
            "them into another --out."
        )


def _noted(records: Iterable[Done], account: Account) -> Iterator[bytes]:
    """The records, those counted in which a teacher has now looked for objects or classes and found none."""
    for one in records:
        example = tf.train.Example.FromString(one.serialized)
        for task in [task for task in one.added if _is_empty(task, example)]:
            account.notes.add(EMPTY.format(task=task), record.info_of(example).source_id)
        yield one.serialized


def _is_empty(task: str, example: tf.train.Example) -> bool:
    class_ids = discover()[task].class_ids
    return class_ids is not None and not any(class_ids.count(example.features.feature).values())
