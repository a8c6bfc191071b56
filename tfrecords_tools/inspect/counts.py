"""What a record set holds, counted from the records themselves: `must-records inspect`."""

from __future__ import annotations

import collections
import dataclasses
import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from must_tf import tasks
from must_tf.common.errors import UserError
from must_tf.data import record
from must_tf.spec import EMPTY, LABELLED, LOW, state
from tfrecords_tools.reading import label_summary, recordset
from tfrecords_tools.reading.recordset import RecordSet


class Job(NamedTuple):
    """One shard to be counted."""

    path: str
    classes: dict[str, list[str]]


@dataclasses.dataclass
class TaskCount:
    """The facts of one task's labels, summed.

    All but `bins` are counters whose keys are few, whatever the set's size.
    """

    unit: str = ""
    origins: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    states: collections.Counter = dataclasses.field(default_factory=collections.Counter)  # (origin, state) -> images
    classes: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    images: collections.Counter = dataclasses.field(default_factory=collections.Counter)  # per class
    objects: collections.Counter = dataclasses.field(default_factory=collections.Counter)  # objects an image -> images
    shares: collections.Counter = dataclasses.field(default_factory=collections.Counter)  # thousandths known -> images
    bins: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(label_summary.BINS, np.int64))

    def add(self, found: label_summary.Facts, origin: str, state: str) -> None:
        """One more image; `state` as `spec.state` returns it."""
        self.unit = found.unit
        self.origins[origin] += 1
        self.states[origin, state] += 1
        self.classes.update(found.classes)
        self.images.update(found.classes.keys())
        if found.objects is not None:
            self.objects[found.objects] += 1
        if found.known is not None:
            # Rounded down, but never to nothing: an image with one known pixel is not one without any.
            self.shares[max(int(found.known * 1000), int(found.known > 0))] += 1
        if record.is_pseudo(origin):  # what is real is certain
            self.bins = self.bins + found.bins

    def merge(self, other: TaskCount) -> None:
        """Adds another shard's."""
        self.unit = self.unit or other.unit
        for name in ("origins", "states", "classes", "images", "objects", "shares"):
            getattr(self, name).update(getattr(other, name))
        self.bins = self.bins + other.bins


@dataclasses.dataclass
class Counted:
    """What was counted in some shards. Its size depends on how much differs, not on how many images there are."""

    records: int = 0
    shards: dict[str, int] = dataclasses.field(default_factory=dict)  # file -> records
    sizes: collections.Counter = dataclasses.field(default_factory=collections.Counter)  # (height, width) -> images
    tasks: dict[str, TaskCount] = dataclasses.field(default_factory=dict)

    def merge(self, other: Counted) -> None:
        """Adds other shards'."""
        self.records += other.records
        self.shards |= other.shards
        self.sizes.update(other.sizes)
        for task, count in other.tasks.items():
            self.tasks.setdefault(task, TaskCount()).merge(count)


def count(found: RecordSet, processes: int = 0) -> Counted:
    """Counts every record of a set; memory does not grow with it."""
    jobs = [Job(path, found.manifest.classes) for path in found.paths]
    total = Counted()
    for one in recordset.over_shards(count_shard, jobs, "inspect", found.records, processes):
        total.merge(one)
    return total


def count_shard(job: Job, tick: Callable[[], None]) -> Counted:
    """One shard; runs in a worker.

    Raises:
      UserError: a record that cannot be read, named.
    """
    counted, configs = Counted(), recordset.configs_of(job.classes)
    for number, serialized in recordset.whole(job.path):
        try:
            _count(serialized, configs, counted)
        except Exception as error:  # protobuf, TensorFlow and NumPy each raise their own
            raise UserError(
                f"{job.path} record {number} cannot be read ({type(error).__name__}). "
                "must-records check says what is wrong with it and with others."
            ) from None
        tick()
    counted.shards[os.path.basename(job.path)] = counted.records
    return counted


def _count(serialized: bytes, configs: Mapping[str, Any], counted: Counted) -> None:
    info = record.info_of(tf.train.Example.FromString(serialized))
    counted.records += 1
    counted.sizes[info.height, info.width] += 1
    for task, one in record.read_labels(serialized, tasks.discover(), configs).items():
        spec, config = tasks.discover()[task], configs[task]
        facts = label_summary.of(spec, one.labels, info, config)
        counted.tasks.setdefault(task, TaskCount()).add(facts, one.origin, state(spec, one.labels, info, config))


def summary(found: RecordSet, counted: Counted) -> dict[str, Any]:
    """All figures of the table, as one JSON object."""
    names = found.manifest.classes
    return {
        "command": "inspect",
        "records": counted.records,
        "directory": found.directory,
        "shards": counted.shards,
        "whole": found.is_whole,
        "sizes": [{"height": h, "width": w, "images": n} for (h, w), n in _most_common(counted.sizes)],
        "tasks": {
            task: _task_summary(counted.tasks[task], names.get(task, ()), counted.records)
            for task in tasks.discover()
            if task in counted.tasks
        },
        "dropped": found.manifest.dropped,
        "notes": found.manifest.notes,
    }


def _most_common(counts: collections.Counter) -> list[tuple[Any, int]]:
    return sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))


def _task_summary(count: TaskCount, names: Sequence[str], records: int) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "origins": dict(sorted(count.origins.items())),
        "states": {
            origin: {state: count.states[origin, state] for state in (LABELLED, EMPTY, LOW)}
            for origin in sorted(count.origins)
        },
        "unlabelled": records - count.origins.total(),
    }
    if count.classes or names:
        shown["unit"] = count.unit
        shown["classes"] = _classes(count, names)
    if count.objects:
        shown["objects_per_image"] = _spread(count.objects)
    if count.shares:
        spread = _spread(count.shares)
        shown["known_share"] = {key: value / 1000 for key, value in spread.items() if key != "none"}
        shown["known_share"]["none"] = spread["none"]
    if total := int(count.bins.sum()):
        half = int(count.bins[label_summary.BINS // 2 :].sum())
        shown["confidence"] = {"bins": count.bins.tolist(), "at_least_half": half / total}
    return shown


def _classes(count: TaskCount, names: Sequence[str]) -> dict[str, dict[str, int]]:
    """{class name: how many of the unit, in how many images}, most frequent first; all that the manifest names."""
    places = set(range(len(names))) | set(count.classes)
    ordered = sorted(places, key=lambda place: (-count.classes[place], place))
    return {
        names[place] if 0 <= place < len(names) else f"#{place}": {
            "count": count.classes[place],
            "images": count.images[place],
        }
        for place in ordered
    }


def _spread(counts: collections.Counter) -> dict[str, float]:
    """Mean, median (the lower one), least and most of values that are counted; `none`: how often it is 0."""
    values = sorted(counts)
    total, seen, median = counts.total(), 0, values[0]
    for value in values:
        seen += counts[value]
        if seen >= math.ceil(total / 2):
            median = value
            break
    mean = sum(value * number for value, number in counts.items()) / total
    return {"mean": mean, "median": median, "least": values[0], "most": values[-1], "none": counts[0]}
