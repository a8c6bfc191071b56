"""Which images of a set a contact sheet shows: evenly spread, or those that teachers were least or most sure of.

An image is as unsure as its least confident pseudo label, and as sure as its most confident one; a label's confidence
is the mean of its scores (`facts`). Images without a pseudo label that has any are not picked.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from must_tf.common.errors import UserError, nearest
from must_tf.data import label_reader, record
from must_tf.tasks import discover
from tfrecords_tools.reading import label_summary, recordset
from tfrecords_tools.reading.recordset import RecordSet

EVEN, LEAST, MOST = "even", "least-confident", "most-confident"
CHOICES = (EVEN, LEAST, MOST)
# (how late it comes, file name, place in the file): of equal confidence the first in the set comes first.
Picked = tuple[float, str, int]


class Job(NamedTuple):
    """One shard to pick from."""

    path: str
    configs: dict[str, Any]
    pick: str
    wanted: int


def check(pick: str) -> None:
    """Raises UserError unless it is one of the choices."""
    if pick not in CHOICES:
        raise UserError(f"--pick {pick!r}: no such choice.{nearest(pick, CHOICES)} Known: {', '.join(CHOICES)}.")


def by_confidence(found: RecordSet, pick: str, wanted: int, processes: int = 0) -> list[tuple[str, int]]:
    """(file name, place in it) of so many images of the whole set, in the order of the choice.

    One pass over all shards; of each no more than `wanted` are remembered.

    Raises:
      UserError: no image has a pseudo label with a confidence.
    """
    jobs = [Job(path, recordset.configs_of(found.manifest.classes), pick, wanted) for path in found.paths]
    best: list[Picked] = []
    for one in recordset.over_shards(pick_of_shard, jobs, "pick", found.records, processes):
        best = heapq.nsmallest(wanted, [*best, *one])
    if not best:
        raise UserError(
            f"--pick {pick}: no pseudo label in {found.directory} has a confidence; detection, masks, segmentation and "
            f"classification have. Use --pick {EVEN}."
        )
    return [(name, place) for _, name, place in best]


def pick_of_shard(job: Job, tick: Callable[[], None]) -> list[Picked]:
    """The shard's own first ones; runs in a worker."""
    read = label_reader.shared(discover(), job.configs)

    def ranked() -> Iterable[Picked]:
        for place, serialized in recordset.whole(job.path):
            sure = _confidences(read, job.configs, serialized)
            if sure:
                yield min(sure) if job.pick == LEAST else -max(sure), os.path.basename(job.path), place
            tick()

    return heapq.nsmallest(job.wanted, ranked())


def _confidences(read: label_reader.LabelReader, configs: Mapping[str, Any], serialized: bytes) -> list[float]:
    """Of the image's pseudo labels, those that have one."""
    example = tf.train.Example.FromString(serialized)
    info = record.info_of(example)
    found = [
        label_summary.of(discover()[task], one.labels, info, configs[task]).confidence
        for task, one in read.read(serialized, example, "pseudo:").items()
    ]
    return [one for one in found if one is not None]
