"""Sums over a dataset's labels, of any task: counts and histograms, so that memory does not grow with the dataset."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from must_tf.common.finite import is_finite
from must_tf.data import label_reader, opening
from must_tf.label_content import IMAGES, OBJECTS, PIXELS, ImageInfo, LabelContent, Labels
from must_tf.spec import TaskSpec
from must_tf.tasks import discover
from tfrecords_tools.reading import bad_records, recordset
from tfrecords_tools.reading.recordset import RecordSet
from tfrecords_tools.stats import sameness

BINS = 100  # of scores from 0 to 1: thresholds are suggested in hundredths
PSEUDO, REAL = "pseudo:", "real:"  # how origins start
PART = 4_000_000  # things that are counted at once: in float64 and int64, a large map would take gigabytes
GROUPS = 32  # of shards: the sums of all groups are held in memory until they are added up


def _zeros(*shape: int) -> np.ndarray:
    return dataclasses.field(default_factory=lambda: np.zeros(shape, np.int64))


@dataclasses.dataclass
class Sums:
    """Sums over images. C classes by their place in the class names.

    Attributes:
      kind: kind of the labels, see `Summary`; empty before the first image.
      unit: what is counted, see `LabelContent`.
      has_classes: the labels have classes and scores.
      images: labelled images. The next three count some of them.
      empty: images without any label, whatever its score.
      unsure: images with labels, but none above the thresholds.
      not_finite: images with NaN or infinity.
      pixels, valid: for maps, all pixels, and the known pixels above the thresholds.
      sure: for labels of the whole image, the sum of the most likely classes' probabilities; for labels without
        classes, that of their scores.
      scores: [C, BINS] labels by class and score, without those that no threshold of their class would let through; one
        row if the labels have scores and no classes.
      believed: [C] labels above the thresholds.
      counts: objects per image, above the thresholds -> images.
      own: {name: sum} of what the task adds, see `Summary.add`.
      grids: {map: sums of images}, for maps without classes, see `sameness`.
    """

    kind: str = ""
    unit: str = ""
    has_classes: bool = False
    images: int = 0
    empty: int = 0
    unsure: int = 0
    not_finite: int = 0
    pixels: int = 0
    valid: int = 0
    sure: float = 0.0
    scores: np.ndarray = _zeros(0, BINS)
    believed: np.ndarray = _zeros(0)
    counts: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    own: dict[str, Any] = dataclasses.field(default_factory=dict)
    grids: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def merge(self, other: Sums) -> None:
        """Adds the sums over other images."""
        self.kind, self.unit = self.kind or other.kind, self.unit or other.unit
        self.has_classes |= other.has_classes
        for name in ("images", "empty", "unsure", "not_finite", "pixels", "valid", "sure", "counts"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        if other.scores.size:
            # Arrays of size 0 have not counted anything yet.
            self.scores = self.scores + other.scores if self.scores.size else other.scores
            self.believed = self.believed + other.believed if self.believed.size else other.believed
        _add_up(self.own, other.own)
        _add_up(self.grids, other.grids)


def _add_up(total: dict[str, Any], values: Mapping[str, Any]) -> None:
    """Adds numbers and arrays by name."""
    for name, value in values.items():
        total[name] = total[name] + value if name in total else value


def add(sums: Sums, task: TaskSpec, labels: Labels, info: ImageInfo, config: Any) -> None:
    """Adds one image.

    Args:
      sums: the task's sums, which are updated.
      task: the task's spec.
      labels: the image's, in the original frame.
      info: the image's id and size.
      config: the task's, with thresholds and class names.
    """
    content = task.summary.content(labels, info, config)
    present = content.present
    if content.scores is not None:
        present = present & np.isfinite(content.scores)
    believed = present & np.asarray(task.believed(labels, config))
    sums.kind, sums.unit = task.summary.kind, content.unit
    sums.images += 1
    sums.not_finite += not is_finite(labels)
    sums.empty += not present.any()
    sums.unsure += bool(present.any()) and not believed.any()
    if content.unit == OBJECTS:
        sums.counts[int(believed.sum())] += 1
    if content.unit == PIXELS:
        sums.pixels += present.size
        sums.valid += int(believed.sum())
    if content.unit == PIXELS and content.classes is None:
        _add_up(sums.grids, sameness.add(labels, content, info))
    if content.scores is not None and (content.unit == IMAGES or content.classes is None):
        sums.sure += float(content.scores[present].sum(dtype=np.float64))
    _add_classes(sums, content, (present, believed), len(config.classes))
    _add_up(sums.own, task.summary.add(labels, config))


def _add_classes(
    sums: Sums, content: LabelContent, present_and_believed: tuple[np.ndarray, np.ndarray], count: int
) -> None:
    if content.scores is None:
        return
    present, believed = present_and_believed
    sums.has_classes = content.classes is not None
    if not sums.scores.size:
        sums.scores = np.zeros([count if sums.has_classes else 1, BINS], np.int64)
        sums.believed = np.zeros(count if sums.has_classes else 0, np.int64)
    counted = present if content.eligible is None else present & content.eligible
    for part in _parts(present.size):
        chosen, scores = counted.ravel()[part], content.scores.ravel()[part]
        chosen = slice(None) if chosen.all() else chosen  # a copy less
        if content.classes is None:
            sums.scores += binned(np.zeros(len(scores[chosen]), np.int64), scores[chosen], 1)
            continue
        classes = content.classes.ravel()[part]
        sums.scores += binned(classes[chosen], scores[chosen], count)
        sums.believed += np.bincount(classes[believed.ravel()[part]], minlength=count)


def _parts(size: int) -> Iterator[slice]:
    for start in range(0, size, PART):
        yield slice(start, start + PART)


def binned(places: np.ndarray, scores: np.ndarray, classes: int) -> np.ndarray:
    """Counts labels [N] by class and score. Returns [classes, BINS]; a score of 1.0 is in the last bin."""
    bins = np.multiply(scores, BINS, dtype=np.float64)
    bins += 1e-6
    keys = np.clip(bins, 0, BINS - 1, out=bins).astype(np.int64)
    keys += np.multiply(places, BINS, dtype=np.int64)
    return np.bincount(keys, minlength=classes * BINS).reshape(classes, BINS)


SumsByOrigin = dict[tuple[str, str], Sums]  # (task, origin) -> sums


class SumJob(NamedTuple):
    """Some shards to sum up.

    Attributes:
      paths: of the shards.
      configs: of the tasks, with thresholds and class names.
      origin: only labels whose origin starts with it count.
      step: only each `step`th record of a shard counts.
    """

    paths: tuple[str, ...]
    configs: dict[str, Any]
    origin: str
    step: int = 1


def records_read(dataset: RecordSet, step: int) -> int:
    """Returns how many records are read if each `step`th one of every shard is."""
    if step == 1:
        return dataset.records
    return sum(-(-shard["records"] // step) for shard in dataset.manifest.shards)


def sum_dataset(
    dataset: RecordSet, configs: Mapping[str, Any], origin: str, processes: int, step: int = 1
) -> SumsByOrigin:
    """Sums up a dataset's labels.

    Args:
      dataset: the records; all shards, if `step` is not 1.
      configs: {task: config}, with thresholds and class names.
      origin: only labels whose origin starts with it count.
      processes: number of worker processes; 0 chooses.
      step: only each `step`th record of a shard counts.
    """
    groups = min(GROUPS, len(dataset.paths))
    jobs = [SumJob(dataset.paths[group::groups], dict(configs), origin, step) for group in range(groups)]
    activity = f"stats of {dataset.directory}"
    total: SumsByOrigin = {}
    for of_group in recordset.over_shards(sum_shards, jobs, activity, records_read(dataset, step), processes):
        for key, sums in of_group.items():
            total.setdefault(key, Sums()).merge(sums)
    return total


def sum_shards(job: SumJob, tick: Callable[[], None]) -> SumsByOrigin:
    """Sums up some shards; runs in a worker process.

    Raises:
      UserError: a record cannot be read; the message names it.
    """
    total: SumsByOrigin = {}
    reader = label_reader.shared(discover(), job.configs)
    for path in job.paths:
        for number, serialized in recordset.whole(path, job.step):
            with bad_records.reading(path, number):
                _add_record(serialized, reader, job, total)
            tick()
    return total


def _add_record(serialized: bytes, reader: label_reader.LabelReader, job: SumJob, total: SumsByOrigin) -> None:
    example = opening.parsed(serialized)
    # Shares of pixels are the same in maps of half the size, which are not enlarged.
    for task, (labels, origin, annotated) in reader.read_in_turn(serialized, example, job.origin, as_stored=True):
        if job.origin != REAL or annotated is None:  # if some classes were not annotated, counts would be too low
            sums = total.setdefault((task, origin), Sums())
            add(sums, discover()[task], labels, reader.map_info(example, task), job.configs[task])
        del labels  # before the next task's are read
