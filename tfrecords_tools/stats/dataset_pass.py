"""One pass over the shards of a set that adds up its labels; memory depends on the number of classes alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from must_tf.common.errors import UserError
from must_tf.data import label_reader, record
from must_tf.tasks import discover
from tfrecords_tools.reading import recordset
from tfrecords_tools.reading.recordset import RecordSet
from tfrecords_tools.stats import sums as sums_lib
from tfrecords_tools.stats.sums import Sums

PSEUDO, REAL = "pseudo:", "real:"
GROUPS = 32  # of shards: their sums wait in memory until all are added up
Counted = dict[tuple[str, str], Sums]  # (task, origin) -> sums


class Job(NamedTuple):
    """Some shards whose labels of these tasks are counted where their origin begins so."""

    paths: tuple[str, ...]
    configs: dict[str, Any]
    origin: str


class Shards(NamedTuple):
    """What is needed to count their records; `configs`: {task: config with the thresholds}."""

    reader: label_reader.LabelReader
    origin: str
    configs: dict[str, Any]


def count(found: RecordSet, configs: Mapping[str, Any], origin: str, processes: int) -> Counted:
    """Adds up the labels of these tasks whose origin begins with `origin`; 0 processes: chosen."""
    groups = min(GROUPS, len(found.paths))
    jobs = [Job(found.paths[place::groups], dict(configs), origin) for place in range(groups)]
    total: Counted = {}
    for one in recordset.over_shards(count_shards, jobs, f"stats of {found.directory}", found.records, processes):
        for key, sums in one.items():
            total.setdefault(key, Sums()).merge(sums)
    return total


def count_shards(job: Job, tick: Callable[[], None]) -> Counted:
    """Some shards; runs in a worker.

    Raises:
      UserError: a record that cannot be read, named.
    """
    counted: Counted = {}
    shard = Shards(
        label_reader.shared(discover(), job.configs),
        job.origin,
        job.configs,
    )
    for path in job.paths:
        for number, serialized in recordset.whole(path):
            try:
                _count(serialized, shard, counted)
            except Exception as error:  # protobuf, TensorFlow and NumPy each raise their own
                raise UserError(
                    f"{path} record {number} cannot be read ({type(error).__name__}). "
                    "must-records check says what is wrong with it and with others."
                ) from None
            tick()
    return counted


def _count(serialized: bytes, what: Shards, counted: Counted) -> None:
    example = tf.train.Example.FromString(serialized)
    for task, one in what.reader.read(serialized, example, what.origin).items():
        if what.origin == REAL and one.annotated is not None:  # there is more to see than somebody looked for
            continue
        sums = counted.setdefault((task, one.origin), Sums())
        sums_lib.add(sums, discover()[task], one.labels, record.info_of(example), what.configs[task])
