"""Counts of the labels in a shard, made while it is written."""

from __future__ import annotations

import collections
from collections.abc import Mapping

import tensorflow as tf

from must_tf.common.errors import UserError
from must_tf.data import contents, opening, record
from must_tf.spec import TaskSpec
from must_tf.tasks import discover

Counters = dict[str, collections.Counter]


class Counts:
    """Counts of a shard's labels, each {task: {origin, class id as text, or limit: number of records or labels}}."""

    def __init__(self) -> None:
        self.records = 0
        self.contents: list[int] = []  # `contents.short` of each image
        self.origins: Counters = collections.defaultdict(collections.Counter)
        self.objects: Counters = collections.defaultdict(collections.Counter)
        self.limits: Counters = collections.defaultdict(collections.Counter)

    def add(self, serialized: bytes) -> None:
        """Adds one record."""
        self.records += 1
        example, specs = tf.train.Example.FromString(serialized), discover()
        self.contents.append(contents.short(record.content_of(example)))
        for task, origin in record.origins_of(example).items():
            self.origins[task][origin] += 1
            if record.annotated_of(example, task) is not None:
                self.limits[task]["partial"] += 1
            if task in specs:
                self._add_labels(task, specs[task], example)

    def _add_labels(self, task: str, spec: TaskSpec, example: tf.train.Example) -> None:
        if spec.class_ids:
            try:
                by_class = spec.class_ids.count(example.features.feature)
            except opening.BadRecord as error:
                raise UserError(f"record {record.info_of(example).source_id!r} cannot be read: {error}.") from None
            self.objects[task].update({str(class_id): number for class_id, number in by_class.items()})
        if limit := spec.summary.limit(example):
            self.limits[task][limit] += 1


def in_order(counters: Mapping[str, collections.Counter]) -> dict[str, dict[str, int]]:
    """Returns plain dicts sorted by key, so that equal counts are equal bytes."""
    return {task: dict(sorted(counter.items())) for task, counter in sorted(counters.items())}
