"""Labels one shard. The result depends only on its records and teachers, not on the process or machine.

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
from tfrecords_tools.label import parallelism
from tfrecords_tools.label.pipeline import LabelledRecord, labelled
from tfrecords_tools.reading import bad_records
from tfrecords_tools.teachers import Description, Teacher
from tfrecords_tools.teachers.saved_model import root_cause
from tfrecords_tools.writing import shards
from tfrecords_tools.writing.counts import Account

EMPTY = "{task}: labelled, nothing found"  # a reason in the manifest's notes

KEPT = 6  # teachers, one for each task: a process may label several datasets, each by those that it needs
_loaded: dict[str, Teacher] = {}  # those that were needed last come last
_loading = threading.Lock()  # a Beam worker has several threads


class LabelJob(NamedTuple):
    """The work on one shard.

    Attributes:
      source: the shard that is labelled.
      sha256: of its bytes, according to its manifest.
      path: the shard that is written.
      teachers: that label.
      replace: tasks for which labels of other teachers are replaced.
      skip_bad: how many bad records are left out before the job fails.
      with_confidence, half_maps: see `pipeline.labelled`.
    """

    source: str
    sha256: str
    path: str
    teachers: tuple[Description, ...]
    replace: frozenset[str] = frozenset()
    skip_bad: int = 0
    with_confidence: bool = False
    half_maps: bool = False


def write_shard(job: LabelJob, tick: Callable[[int], None]) -> shards.ShardInfo:
    """Writes the shard. `tick` is called with numbers of images.

    Raises:
      UserError: a teacher or a record cannot be used, or the shard has changed since its manifest was written.
    """
    account = Account()
    bad_records.allow(job.skip_bad)
    parallelism.settle()
    try:
        options = job.replace, job.with_confidence, job.half_maps
        records = labelled(job.source, loaded(job.teachers), tick, *options)
        return shards.write_shard(job.path, _counted(_unchanged(records, job), account), account)
    except tf.errors.NotFoundError as error:
        raise UserError(f"{job.source}: {error.message}. Finished shards are kept.") from error
    except tf.errors.ResourceExhaustedError as error:
        raise UserError(
            f"{job.source}: out of memory or disk space ({root_cause(error)}). Finished shards are kept. Free some, or "
            "label with fewer teachers at a time, and run the same command again."
        ) from error


def loaded(descriptions: Sequence[Description]) -> list[Teacher]:
    """Returns these teachers with their weights. The process keeps them and the KEPT that it needed before."""
    with _loading:
        wanted = {_key(each): each for each in descriptions}
        for key, description in wanted.items():
            _loaded[key] = _loaded.pop(key) if key in _loaded else description.load()
        for key in [*_loaded][: -max(KEPT, len(wanted))]:
            del _loaded[key]
        return [_loaded[key] for key in wanted]


def _key(description: Description) -> str:
    about = description.about
    return repr((about.path, about.id, about.tasks, about.classes))


def _unchanged(records: Iterable[LabelledRecord], job: LabelJob) -> Iterator[LabelledRecord]:
    """Yields the records, then checks the file they came from. A shard does not appear before its last record."""
    yield from records
    bad_records.settle_own()
    if shards.digest(job.source)[1] != job.sha256:
        raise UserError(
            f"{job.source} has changed since its manifest.json was written. Write these records again, and label "
            "them into another --out."
        )


def _counted(records: Iterable[LabelledRecord], account: Account) -> Iterator[bytes]:
    """Yields the records and notes those in which a teacher has now looked for objects or classes and found none, or
    whose predictions it repaired.
    """
    for labelled_record in records:
        example = tf.train.Example.FromString(labelled_record.serialized)
        empty = [EMPTY.format(task=task) for task in labelled_record.added if _is_empty(task, example)]
        for note in [*empty, *labelled_record.notes]:
            account.notes.add(note, record.info_of(example).source_id)
        yield labelled_record.serialized


def _is_empty(task: str, example: tf.train.Example) -> bool:
    class_ids = discover()[task].class_ids
    return class_ids is not None and not any(class_ids.count(example.features.feature).values())
