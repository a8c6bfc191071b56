"""`must inspect`: counts what a dataset holds, from the records themselves."""

from __future__ import annotations

import collections
import dataclasses
import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from must_tf import tasks
from must_tf.data import opening, record
from must_tf.spec import EMPTY, LABELLED, LOW, ImageInfo, state
from tfrecords_tools.reading import bad_records, depth_range, label_summary, recordset
from tfrecords_tools.reading.depth_range import DepthRange
from tfrecords_tools.reading.recordset import RecordSet


class CountJob(NamedTuple):
    """One shard to count."""

    path: str
    classes: dict[str, list[str]]


@dataclasses.dataclass
class TaskCount:
    """Sums over one task's labels. Its size depends on the number of different keys, not of images.

    Attributes:
      unit: what `classes` counts, see `LabelSummary`.
      origins: origin -> images.
      states: (origin, state) -> images.
      classes: place in the class names -> number of `unit`.
      images: place in the class names -> images.
      objects: objects per image -> images.
      shares: share of known pixels in thousandths -> images.
      bins: [BINS] number of `unit` by confidence, of pseudo labels.
      metres: of depth.
    """

    unit: str = ""
    origins: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    states: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    classes: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    images: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    objects: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    shares: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    bins: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(label_summary.BINS, np.int64))
    metres: DepthRange = dataclasses.field(default_factory=DepthRange)

    def add(self, label: label_summary.LabelSummary, origin: str, state: str) -> None:
        """Adds one image. `state` is that of `spec.state`."""
        self.unit = label.unit
        self.origins[origin] += 1
        self.states[origin, state] += 1
        self.classes.update(label.classes)
        self.images.update(label.classes.keys())
        if label.objects is not None:
            self.objects[label.objects] += 1
        if label.known is not None:
            # Rounded down, but not to 0: an image with a single known pixel differs from one without any.
            self.shares[max(int(label.known * 1000), int(label.known > 0))] += 1
        if record.is_pseudo(origin):  # real labels are certain
            self.bins = self.bins + label.bins

    def merge(self, other: TaskCount) -> None:
        """Adds the sums of another shard."""
        self.unit = self.unit or other.unit
        for name in ("origins", "states", "classes", "images", "objects", "shares"):
            getattr(self, name).update(getattr(other, name))
        self.bins = self.bins + other.bins
        self.metres.merge(other.metres)


@dataclasses.dataclass
class DatasetCounts:
    """Sums over some shards. Its size depends on the number of different keys, not of images."""

    records: int = 0
    shards: dict[str, int] = dataclasses.field(default_factory=dict)  # file -> records
    sizes: collections.Counter = dataclasses.field(default_factory=collections.Counter)  # (height, width) -> images
    tasks: dict[str, TaskCount] = dataclasses.field(default_factory=dict)

    def merge(self, other: DatasetCounts) -> None:
        """Adds the sums of other shards."""
        self.records += other.records
        self.shards |= other.shards
        self.sizes.update(other.sizes)
        for task, count in other.tasks.items():
            self.tasks.setdefault(task, TaskCount()).merge(count)


def count(dataset: RecordSet, processes: int = 0) -> DatasetCounts:
    """Counts every record of a dataset. Memory does not grow with it."""
    jobs = [CountJob(path, dataset.manifest.classes) for path in dataset.paths]
    total = DatasetCounts()
    for counted in recordset.over_shards(count_shard, jobs, "inspect", dataset.records, processes):
        total.merge(counted)
    return total


def count_shard(job: CountJob, tick: Callable[[], None]) -> DatasetCounts:
    """Counts one shard; runs in a worker process.

    Raises:
      UserError: a record cannot be read; the message names it.
    """
    counted, configs = DatasetCounts(), recordset.configs_of(job.classes)
    for number, serialized in recordset.whole(job.path):
        with bad_records.reading(job.path, number):
            _count(serialized, configs, counted)
        tick()
    counted.shards[os.path.basename(job.path)] = counted.records
    return counted


def _count(serialized: bytes, configs: Mapping[str, Any], counted: DatasetCounts) -> None:
    """Counts one record; nothing of it if it cannot be read."""
    info = record.info_of(opening.parsed(serialized))
    alone = DatasetCounts(records=1, sizes=collections.Counter([(info.height, info.width)]))
    for task, labelled in record.labels_in_turn(serialized, tasks.discover(), configs):
        alone.tasks[task] = _counted(task, labelled, info, configs[task])
        del labelled  # before the next task's are read
    counted.merge(alone)


def _counted(task: str, labelled: record.Labelled, info: ImageInfo, config: Any) -> TaskCount:
    spec, count = tasks.discover()[task], TaskCount()
    label = label_summary.of(spec, labelled.labels, info, config)
    count.add(label, labelled.origin, state(spec, labelled.labels, info, config))
    if task == depth_range.TASK:
        count.metres.add(labelled.labels)
    return count


def summary(dataset: RecordSet, counted: DatasetCounts) -> dict[str, Any]:
    """Returns the result of the command, as one JSON object."""
    names = dataset.manifest.classes
    return {
        "command": "inspect",
        "records": counted.records,
        "directory": dataset.directory,
        "shards": counted.shards,
        "whole": dataset.is_whole,
        "sizes": [{"height": h, "width": w, "images": n} for (h, w), n in _most_common(counted.sizes)],
        "tasks": {
            task: _task_summary(counted.tasks[task], names.get(task, ()), counted.records)
            for task in tasks.discover()
            if task in counted.tasks
        },
        "dropped": dataset.manifest.dropped,
        "notes": dataset.manifest.notes,
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
    if metres := count.metres.summary():
        shown[depth_range.METRES] = metres
    if total := int(count.bins.sum()):
        half = int(count.bins[label_summary.BINS // 2 :].sum())
        shown["confidence"] = {"bins": count.bins.tolist(), "at_least_half": half / total}
    return shown


def _classes(count: TaskCount, names: Sequence[str]) -> dict[str, dict[str, int]]:
    """Returns {class name: {count, images}} of all classes that the manifest names, most frequent first."""
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
    """Returns the mean, lower median, minimum and maximum of values given as {value: count}; `none` counts zeros."""
    values = sorted(counts)
    total, seen, median = counts.total(), 0, values[0]
    for value in values:
        seen += counts[value]
        if seen >= math.ceil(total / 2):
            median = value
            break
    mean = sum(value * number for value, number in counts.items()) / total
    return {"mean": mean, "median": median, "least": values[0], "most": values[-1], "none": counts[0]}
