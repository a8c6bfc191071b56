"""Measures teachers on images with real labels: `must evaluate`.

The metrics and their settings are those of a student, so that a model of another origin can be compared with it.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from must_tf.common.errors import UserError
from must_tf.common.progress import Progress
from must_tf.common.text import listed
from must_tf.data import label_reader, opening, record
from must_tf.experiments import experiment_config
from must_tf.spec import ImageInfo, TaskConfig, judged
from must_tf.tasks import discover
from tfrecords_tools import teachers
from tfrecords_tools.reading import bad_records, recordset
from tfrecords_tools.reading.recordset import RecordSet
from tfrecords_tools.teachers import About, Description, matching
from tfrecords_tools.teachers.trained import parts

REAL = "real:"
NO_LABELS = "no real labels in the records"
UNANSWERED = "add_unanswered"  # a method that some metrics have, see `TaskMetric`
MOST_PIXELS = 50_000_000  # of the images of a batch, if it has several


@dataclasses.dataclass
class TeacherEvaluation:
    """The result, also as JSON. Dicts are keyed by task unless stated otherwise.

    Attributes:
      teachers: {path: id}.
      set: the folders of the records.
      images: their number.
      labelled: number of images with real labels that were measured.
      unanswered: number of images with real labels for which the teacher gave no label. Some metrics count them as
        wrong, others leave them out.
      figures: {"task/metric": value}.
      reasons: why a headline metric is 0 or missing.
      notes: {path: what was noticed about the teacher}.
    """

    teachers: dict[str, str]
    set: list[str]
    images: int
    labelled: dict[str, int] = dataclasses.field(default_factory=dict)
    unanswered: dict[str, int] = dataclasses.field(default_factory=dict)
    figures: dict[str, float] = dataclasses.field(default_factory=dict)
    reasons: dict[str, str] = dataclasses.field(default_factory=dict)
    notes: dict[str, list[str]] = dataclasses.field(default_factory=dict)

    def lines(self) -> Iterator[str]:
        """Yields the lines for people."""
        yield f"evaluated {self.images} images"
        for task, count in self.labelled.items():
            headline = discover()[task].Metric.headline
            value = self.figures.get(f"{task}/{headline}")
            shown = f"no {headline}" if value is None else f"{headline} {value:.4f}"
            yield f"  {task:<16}{shown}   ({count} labelled images{self._unanswered(task)})"
            if task in self.reasons:
                yield f"  {'':<16}{self.reasons[task]}"
        for path, notes in self.notes.items():
            yield from (f"  note: {path}: {note}" for note in notes)

    def _unanswered(self, task: str) -> str:
        if not self.unanswered.get(task):
            return ""
        is_wrong = hasattr(discover()[task].Metric, UNANSWERED)
        return f", {self.unanswered[task]} without a prediction {'count as wrong' if is_wrong else 'left out'}"


def evaluate(
    descriptions: Sequence[Description], datasets: Sequence[RecordSet], config_files: Sequence[str] = ()
) -> TeacherEvaluation:
    """Measures the teachers.

    Args:
      descriptions: of the teachers; at most one per task.
      datasets: with real labels.
      config_files: YAML files of a training, for the settings of metrics in `task.tasks`.

    Raises:
      UserError: there is nothing to measure, a file or a record cannot be read, or a prediction is NaN or infinite.
    """
    ids = {one.about.path: one.about.id for one in descriptions}
    images = sum(one.records for one in datasets)
    result = TeacherEvaluation(ids, [one.directory for one in datasets], images)
    settings = experiment_config.load("must_student", config_files).task.tasks
    fitting = [_fitting(description, datasets, result) for description in descriptions]
    measured = [(one, configs) for one in fitting if (configs := _configs(one.about, settings, result))]
    if not measured:
        reasons = "; ".join(f"{task}: {reason}" for task, reason in result.reasons.items())
        raise UserError(f"{listed(result.set)}: there is nothing to measure. {reasons}")
    progress = Progress(len(measured) * images, "evaluate")
    for one, configs in measured:
        _measure(one.load(), configs, datasets, (result, progress))
    progress.close()
    return result


def _fitting(description: Description, datasets: Sequence[RecordSet], result: TeacherEvaluation) -> Description:
    """Returns the teacher with the records' classes. Tasks that do not fit are not measured; `result` says why."""
    about, wanted = description.about, dict[str, Sequence[str]]()
    for task in about.tasks:
        origins = {origin for one in datasets for origin in one.manifest.origins.get(task, {})}
        if all(map(record.is_pseudo, origins)):
            result.reasons[task] = NO_LABELS
            continue
        named = {one.directory: one.manifest.classes[task] for one in datasets if one.manifest.classes.get(task)}
        if not named:
            continue
        names = next(iter(named.values()))
        problem = _differing(task, named) or next(matching.problems_of(about, task, names), "")
        if problem:
            result.reasons[task] = problem
        else:
            wanted[task] = names
    fitting = matching.matched(description, wanted)
    result.notes |= {about.path: notes} if (notes := fitting.about.facts.get("notes")) else {}
    return fitting


def _differing(task: str, named: Mapping[str, Sequence[str]]) -> str:
    """Returns why record sets cannot be measured together; "" if they can. `named` has their class names by folder."""
    for other, names in named.items():
        first = next(iter(named))
        if list(names) != list(named[first]):
            return f"{other} has other {task} classes than {first}, so they cannot be measured together"
    return ""


def _configs(about: About, settings: Any, result: TeacherEvaluation) -> dict[str, TaskConfig]:
    """Returns {task: config} of the tasks that can be measured."""
    configs: dict[str, TaskConfig] = {}
    for task in about.tasks:
        result.labelled[task] = 0
        if task not in result.reasons:
            configs[task] = getattr(settings, task)
            configs[task].classes = tuple(about.classes.get(task, ()))
    return configs


def _measure(
    teacher: teachers.Teacher,
    configs: Mapping[str, TaskConfig],
    datasets: Sequence[RecordSet],
    into: tuple[TeacherEvaluation, Progress],
) -> None:
    result, progress = into
    metrics = {task: discover()[task].Metric(config) for task, config in configs.items()}
    unanswered: collections.Counter[str] = collections.Counter()
    for batch in _labelled(datasets, configs, progress):
        answers = teachers.predicted(teacher, [photo.image for photo in batch])
        for photo, (predictions, place) in zip(batch, answers, strict=True):
            answered = set[str]()
            for part in parts(teacher, predictions, photo.info):
                labels = teacher.labels(part, place, photo.info.source_id)
                for task, known in photo.truth([task for task in configs if task in labels]):
                    metrics[task].add(known.labels, judged(discover()[task], labels[task], known.annotated), photo.info)
                    answered.add(task)
                    del known  # before the next task's are read: maps of large images take gigabytes
                del labels
            unanswered.update(photo.tasks - answered)
            wrong = [task for task in photo.tasks - answered if hasattr(metrics[task], UNANSWERED)]
            for task, known in photo.truth(wrong):
                getattr(metrics[task], UNANSWERED)(known.labels)
            result.labelled.update({task: result.labelled[task] + 1 for task in (*answered, *wrong)})
    for task, metric in metrics.items():
        if not result.labelled[task]:
            result.reasons[task] = NO_LABELS
            continue
        result.figures |= {f"{task}/{name}": float(value) for name, value in metric.result().items()}
        if hasattr(metric, "details") and (reason := metric.details().reason):
            result.reasons[task] = reason
    result.unanswered |= unanswered


class _Photo(NamedTuple):
    """An image with real labels."""

    image: tf.Tensor
    info: ImageInfo
    tasks: frozenset[str]  # that it has real labels of
    read: Callable[[str], record.Labelled]

    def truth(self, tasks: Iterable[str]) -> Iterator[tuple[str, record.Labelled]]:
        """Yields those of the tasks that it has real labels of, and the labels."""
        return ((task, self.read(task)) for task in tasks if task in self.tasks)


def _read(serialized: bytes, reader: label_reader.LabelReader, configs: Mapping[str, TaskConfig]) -> _Photo:
    """Returns a photo whose labels have been read once, and which keeps them if it is not large."""
    example, specs = opening.parsed(serialized), discover()
    opening.require(example, {}, {})
    info = record.info_of(example)
    is_large = info.height * info.width > label_reader.LARGE
    kept: dict[str, record.Labelled] = {}
    tasks = set[str]()
    for task, labelled in reader.read_in_turn(serialized, example, REAL):
        tasks.add(task)
        kept |= {} if is_large else {task: labelled}
        del labelled  # before the next task's are read

    def read(task: str) -> record.Labelled:
        if task in kept:
            return kept[task]
        ((_, labelled),) = record.labels_in_turn(serialized, specs, {task: configs[task]})
        return labelled

    image = record.decode_image(opening.image_of(example)) if tasks else tf.zeros([])
    return _Photo(image, info, frozenset(tasks), read)


def _labelled(
    datasets: Sequence[RecordSet], configs: Mapping[str, TaskConfig], progress: Progress
) -> Iterator[list[_Photo]]:
    """Yields batches of images with real labels of these tasks. Large images come alone."""
    reader = label_reader.shared(discover(), configs)

    def each() -> Iterator[_Photo]:
        for path in itertools.chain.from_iterable(one.paths for one in datasets):
            for number, serialized in recordset.whole(path):
                progress.advance()
                found = None
                with bad_records.reading(path, number):
                    found = _read(serialized, reader, configs)
                if found is not None and found.tasks:
                    yield found
        bad_records.settle_own()

    batch: list[_Photo] = []
    pixels = 0
    for photo in each():
        size = photo.info.height * photo.info.width
        if batch and (len(batch) == teachers.BATCH_SIZE or pixels + size > MOST_PIXELS):
            yield batch
            batch, pixels = [], 0
        batch.append(photo)
        pixels += size
    if batch:
        yield batch
