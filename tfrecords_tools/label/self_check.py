"""Measures teachers by their agreement with themselves: here, and on photos of the domain that they were trained on.

The second figures are a teacher's own: those of the validation records that a run names, or of `--domain`. A run keeps
them in its directory, `agreement.json`, because it may label many datasets.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from must_tf.common import files, run_files
from must_tf.common.errors import Mistakes, UserError, nearest
from must_tf.common.progress import Progress
from must_tf.data import record
from must_tf.pseudo_gate import rules
from must_tf.tasks import discover
from tfrecords_tools import teachers
from tfrecords_tools.label import agreement, job
from tfrecords_tools.label.arguments import parse_teachers
from tfrecords_tools.reading import recordset
from tfrecords_tools.reading.recordset import RecordSet
from tfrecords_tools.teachers import Description, Teacher, matching

PART = 20  # one photo in so many is measured, so that a small dataset costs a twentieth more and not its whole again
Measured = dict[str, dict[str, Any]]  # {teacher id: {task: {"here": figures, "own": figures}}}


class SelfCheck(NamedTuple):
    """The photos on which teachers are measured.

    Attributes:
      sample: the most photos of a dataset; 0 measures nothing.
      domains: {task, or "" for all others: photos like those that its teacher was trained on}.
    """

    sample: int = agreement.SAMPLE
    domains: Mapping[str, RecordSet] = {}


def checked(sample: int, domains: Sequence[str]) -> SelfCheck:
    """Returns what `--sample` and `--domain [TASK=]RECORDS` ask for.

    Raises:
      UserError: the sample is too small to be judged, or records cannot be opened.
    """
    if sample and sample < rules.FEWEST_IMAGES:
        raise UserError(f"--sample {sample}: give 0 (measure nothing), or at least {rules.FEWEST_IMAGES} photos.")
    opened = {}
    for value in domains:
        task, _, pattern = value.partition("=")
        known = bool(pattern) and task in discover()
        if pattern and not known and task.isidentifier():
            raise UserError(f"--domain {value}: there is no task {task!r}.{nearest(task, discover())}")
        opened[task if known else ""] = recordset.opened(pattern if known else value, "--domain")
    return SelfCheck(sample, opened)


def of_teachers(descriptions: Sequence[Description], dataset: RecordSet, check: SelfCheck) -> Measured:
    """Measures the teachers on photos that they labelled. Those with too few photos have no figures."""
    if not check.sample:
        return {}
    measured: Measured = {}
    for place, about in enumerate(description.about for description in descriptions):
        photos = agreement.sample(dataset, _size(dataset, check), record.pseudo_origin(about.id))
        if len(photos) < rules.FEWEST_IMAGES:
            continue
        with contextlib.redirect_stdout(io.StringIO()):  # the table of restored weights was shown while labelling
            teacher = job.loaded(descriptions)[place]
        here = _measured(teacher, photos, f"{about.path} here")
        own = _own(teacher, check) if here else {}
        measured[about.id] = {task: {"here": figures, "own": own.get(task, {})} for task, figures in here.items()}
    return measured


def given(values: Sequence[str], dataset: RecordSet) -> list[Description]:
    """Describes the teachers of `--teacher TASK=PATH`, which have labelled these records before.

    Raises:
      UserError: there is no such teacher, or it has not labelled these records.
    """
    if not values:
        return []
    mistakes = Mistakes()
    descriptions = [
        _fitted(teachers.describe(path, tasks), dataset) for path, tasks in parse_teachers(values, mistakes).items()
    ]
    for about in (description.about for description in descriptions):
        if about.id not in dataset.manifest.teachers:
            known = ", ".join(f"{one['path']} ({key})" for key, one in dataset.manifest.teachers.items()) or "none"
            mistakes.problems.append(
                f"--teacher {about.path}: this model ({about.id}) has not labelled {dataset.directory}. Its teachers: "
                f"{known}."
            )
    mistakes.raise_all()
    return descriptions


def _fitted(description: Description, dataset: RecordSet) -> Description:
    """Returns the teacher with the records' classes. If they do not match, it keeps its own, and is measured on all:
    since it labelled the records, their classes may have been renamed, as must merge --same does.
    """
    with contextlib.suppress(UserError):
        return matching.matched(description, dataset.manifest.classes)
    return description


def _size(dataset: RecordSet, check: SelfCheck) -> int:
    wanted = max(rules.FEWEST_IMAGES, dataset.manifest.records // PART)
    wanted += -wanted % teachers.BATCH_SIZE  # a batch of another size would be traced again, for longer than it takes
    return min(check.sample, wanted)


def _measured(teacher: Teacher, photos: Sequence[bytes], where: str) -> agreement.Found:
    progress = Progress(len(photos), f"agreement of {where}")
    found = agreement.measure(teacher, photos, progress.advance)
    progress.close()
    return found


def _own(teacher: Teacher, check: SelfCheck) -> agreement.Found:
    """Returns the figures on photos of the teacher's domain, by task; empty if there are none."""
    about = teacher.about
    given = {task: dataset for task in about.tasks if (dataset := check.domains.get(task) or check.domains.get(""))}
    if given:
        by_set = {dataset.directory: dataset for dataset in given.values()}
        found = {name: _on_domain(teacher, dataset, check) for name, dataset in by_set.items()}
        return {task: found[dataset.directory].get(task, {}) for task, dataset in given.items()}
    kept = os.path.join(about.path, run_files.AGREEMENT)
    stored = _read(kept)
    if stored.get("id") == about.id and set(about.tasks) <= set(stored["tasks"]):
        before = stored.get("classes", {})  # of more tasks, perhaps
        if all(before.get(task) == names for task, names in about.classes.items()):
            return dict(stored["figures"])
    dataset = _validation(about.domain)
    if dataset is None:
        return {}
    figures = _on_domain(teacher, dataset, check)
    with contextlib.suppress(OSError, tf.errors.OpError):  # of a directory that cannot be written to
        known = {"id": about.id, "tasks": list(about.tasks), "classes": about.classes}
        files.write_json(kept, known | {"figures": figures})
    return figures


def _on_domain(teacher: Teacher, dataset: RecordSet, check: SelfCheck) -> agreement.Found:
    photos = agreement.sample(dataset, min(check.sample, dataset.manifest.records))
    if len(photos) < rules.FEWEST_IMAGES:
        return {}
    return _measured(teacher, photos, f"{teacher.about.path} on {dataset.directory}")


def _validation(patterns: Sequence[str]) -> RecordSet | None:
    """Returns the first of a run's validation datasets that is still there."""
    for pattern in patterns:
        for folder in dict.fromkeys(map(os.path.dirname, files.matched_by(pattern))):  # a pattern may match several
            with contextlib.suppress(UserError):
                return recordset.opened(os.path.join(folder, os.path.basename(pattern)))
    return None


def _read(path: str) -> dict[str, Any]:
    if not tf.io.gfile.exists(path):
        return {}
    with contextlib.suppress(UserError):  # it is measured again
        return files.read_json(path)
    return {}
