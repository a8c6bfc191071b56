"""Selects the images of a contact sheet: evenly spread, or those with the least or most confident pseudo labels.

A label's confidence is the mean of its scores (see `LabelSummary`). For "least-confident" an image counts with its
least confident pseudo label, for "most-confident" with its most confident one. Images whose pseudo labels have no
confidence are never picked.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from must_tf.common.errors import UserError, nearest
from must_tf.data import label_reader, opening, record
from must_tf.tasks import discover
from tfrecords_tools.reading import bad_records, label_summary, recordset
from tfrecords_tools.reading.recordset import RecordSet

EVEN, LEAST, MOST = "even", "least-confident", "most-confident"
CHOICES = (EVEN, LEAST, MOST)
# (rank, file name, record in the file). If ranks are equal, the dataset's order decides.
RankedImage = tuple[float, str, int]


class PickJob(NamedTuple):
    """One shard to pick images from."""

    path: str
    configs: dict[str, Any]
    pick: str
    wanted: int


def check(pick: str) -> None:
    """Raises UserError if `pick` is not one of `CHOICES`."""
    if pick not in CHOICES:
        raise UserError(f"--pick {pick!r} does not exist.{nearest(pick, CHOICES)} Choose from {', '.join(CHOICES)}.")


def by_confidence(dataset: RecordSet, pick: str, wanted: int, processes: int = 0) -> list[tuple[str, int]]:
    """Returns (file name, record in it) of up to `wanted` images of the dataset, in the order of the choice.

    This takes one pass over all shards. At most `wanted` images of each are kept in memory.

    Raises:
      UserError: no image has a pseudo label with a confidence.
    """
    configs = recordset.configs_of(dataset.manifest.classes)
    jobs = [PickJob(path, configs, pick, wanted) for path in dataset.paths]
    best: list[RankedImage] = []
    for ranked in recordset.over_shards(pick_of_shard, jobs, "pick", dataset.records, processes):
        best = heapq.nsmallest(wanted, [*best, *ranked])
    if not best:
        raise UserError(
            f"--pick {pick}: no pseudo label in {dataset.directory} has a confidence, as detection, masks, "
            "segmentation and classification have, and depth and normals by must label --confidence. Use --pick "
            f"{EVEN}."
        )
    return [(name, number) for _, name, number in best]


def pick_of_shard(job: PickJob, tick: Callable[[], None]) -> list[RankedImage]:
    """Returns the shard's own first `wanted` images; runs in a worker process."""
    reader = label_reader.shared(discover(), job.configs)

    def ranked() -> Iterable[RankedImage]:
        for number, serialized in recordset.whole(job.path):
            confidences: list[float] = []
            with bad_records.reading(job.path, number):
                confidences = _confidences(reader, job.configs, serialized)
            if confidences:
                rank = min(confidences) if job.pick == LEAST else -max(confidences)
                yield rank, os.path.basename(job.path), number
            tick()

    return heapq.nsmallest(job.wanted, ranked())


def _confidences(reader: label_reader.LabelReader, configs: Mapping[str, Any], serialized: bytes) -> list[float]:
    """Returns the confidences of the image's pseudo labels, of those that have one."""
    example = opening.parsed(serialized)
    info = record.info_of(example)
    confidences = [
        label_summary.of(discover()[task], labelled.labels, info, configs[task]).confidence
        for task, labelled in reader.read(serialized, example, "pseudo:").items()
    ]
    return [confidence for confidence in confidences if confidence is not None]
