"""The result of a plan: a table on the terminal, and one page with pictures, tables and curves."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import cv2
import numpy as np
import tensorflow as tf

from must_tf.common import files, run_files, tables
from must_tf.common.progress import clock
from must_tf.data import record
from must_tf.loop import shared_photos
from must_tf.loop.plan import Plan
from must_tf.loop.plan_rules import LABELLED
from must_tf.loop.records import RecordFolder
from must_tf.loop.trainings import COMPARE, EXPORT, STUDENT, Trainings
from must_tf.loop.transfers import TRANSFERS
from must_tf.model.student import enabled
from must_tf.pseudo_gate import verdict
from must_tf.runs import restore
from must_tf.shared import html_report, picture_grid
from must_tf.tasks import discover

PAGE = "report.html"
ORIGINS = {"labels": "real label", "predictions": "pseudo label"}  # the columns of completed records
SHOWN_RECORDS = 6  # labelled records to draw, of each dataset


class TableRow(NamedTuple):
    """A task with its headline metric, by its teacher and by the student; None if it was not measured.

    `images` is the number of validation images with its labels: a metric of a handful says little. `reason` says why
    there is no metric of a teacher; `others` are the metrics of the students to compare.
    """

    task: str
    metric: str
    images: int
    teacher: float | None
    student: float | None
    reason: str = ""
    others: tuple[float | None, ...] = ()

    @property
    def cells(self) -> tuple[str | float | None, ...]:
        """The row with the direction of the metric."""
        direction = "" if discover()[self.task].Metric.higher_is_better else " (lower is better)"
        teacher = self.reason or None if self.teacher is None else self.teacher
        return self.task, self.metric + direction, str(self.images), teacher, self.student, *self.others

    def gain(self) -> float | None:
        """Returns the student's gain over the teacher; None if one of them was not measured."""
        if self.teacher is None or self.student is None:
            return None
        sign = 1 if discover()[self.task].Metric.higher_is_better else -1
        return sign * (self.student - self.teacher)


HEADERS = ("task", "metric", "images", "teacher", "student")


def write(trainings: Trainings, seconds: Mapping[str, float], total: float) -> None:
    """Prints the table and writes the page.

    Args:
      trainings: of the finished plan.
      seconds: {step: seconds that it took}.
      total: seconds of this command.
    """
    plan = trainings.plan
    table = rows(trainings)
    print("\n" + tables.table((*HEADERS, *plan.compare), [tuple(map(_text, row.cells)) for row in table]))
    path = plan.folder(PAGE)
    html_report.write_report(path, _report(trainings, table, seconds))
    for line in _results(trainings):
        print(line)
    print(f"\n{clock(total)} in total. Page: {path}", flush=True)


def mark_unfinished(plan: Plan) -> None:
    """Says on the page of an earlier run that it is one: the plan may have changed, and its new page comes last."""
    html_report.add_note(plan.folder(PAGE), "This page is of an earlier run. The plan has been started again since.")


def _text(value: str | float | None) -> str:
    """Returns a cell of the terminal's table."""
    if value is None:
        return "-"
    return value if isinstance(value, str) else f"{value:.3f}"


def rows(trainings: Trainings) -> list[TableRow]:
    """Returns the table of the student beside its teachers."""
    evaluated = _student(trainings)
    student = evaluated.get("figures", {})
    others = [
        _evaluation(trainings.plan.folder(COMPARE, name, run_files.EVALUATION)) for name in trainings.plan.compare
    ]
    teachers = {task: teacher for teacher in trainings.teachers() for task in teacher.tasks}
    table = []
    for task in trainings.tasks():
        metric = discover()[task].Metric.headline
        key = f"{task}/{metric}"
        teacher = _evaluation(teachers[task].evaluation) if task in teachers else {}
        reason = teacher.get("reasons", {}).get(task, "no labels to validate on") if task in teachers else ""
        compared = tuple(other.get("figures", {}).get(key) for other in others)
        measured, images = teacher.get("figures", {}).get(key), evaluated.get("labelled", {}).get(task, 0)
        table.append(TableRow(task, metric, images, measured, student.get(key), reason, compared))
    return table


def _evaluation(path: str) -> dict[str, Any]:
    """Returns the last evaluation of a run or of a model; empty if it had no validation data."""
    if not os.path.exists(path):
        return {}
    content = files.read_json(path, ["figures"])
    files.require_numbers(content, "figures", path)
    return content


def _student(trainings: Trainings) -> dict[str, Any]:
    return _evaluation(os.path.join(trainings.plan.folder(STUDENT), run_files.EVALUATION))


def _results(trainings: Trainings) -> list[str]:
    plan = trainings.plan
    lines = [f"\nModel: {plan.folder(STUDENT)}"]
    if plan.export:
        lines.append(f"Export for serving: {plan.folder(EXPORT)}")
    if plan.transfer:
        lines.append(f"Transfers: {plan.folder(TRANSFERS, PAGE)}")
    return lines


def _report(trainings: Trainings, table: list[TableRow], seconds: Mapping[str, float]) -> html_report.Report:
    plan = trainings.plan
    images = _student(trainings).get("images", 0)
    pictures = _pictures(trainings)
    return html_report.Report(
        plan.title,
        [
            f"The student was evaluated on {images} validation images, each exactly once.",
            f"The steps of this plan took {clock(sum(seconds.values()))}, added up.",
            *_repeated(trainings),
            *shared_photos.warnings(trainings.folders),
            *_unfit(trainings),
        ],
        [
            html_report.ReportTable(
                "One student and its teachers", (*HEADERS, *plan.compare), [_cells(row) for row in table]
            ),
            html_report.ReportTable(
                "Time", ("step", "time"), [[name, clock(value)] for name, value in seconds.items()]
            ),
        ],
        _curves(plan.folder(STUDENT)),
        pictures[1:],
        leading=pictures[:1],
    )


def _repeated(trainings: Trainings) -> list[str]:
    """Returns a sentence for each dataset that is repeated."""
    counts = {name: dataset.repeat for name, dataset in trainings.plan.datasets.items() if dataset.repeat > 1}
    return [f"An epoch of a student has each image of {name!r} {count} times." for name, count in counts.items()]


def _unfit(trainings: Trainings) -> list[str]:
    """Returns a sentence for each verdict that `--force` overruled."""
    return [
        f"The pseudo labels of {folder.name!r} were judged unfit to train on, and used all the same. {reasons}"
        for folder, labelled in _completed(trainings)
        for reasons in verdict.unfit(labelled, trainings.tasks())
    ]


def _completed(trainings: Trainings) -> Iterator[tuple[RecordFolder, str]]:
    """Yields the datasets that teachers labelled, with the folder of the result."""
    for folder in trainings.folders.train:
        labelled = trainings.plan.folder("records", folder.name + LABELLED)
        if os.path.isdir(labelled):
            yield folder, labelled


def _cells(row: TableRow) -> list[Any]:
    gain = row.gain()
    task, metric, _, teacher, _, *others = row.cells
    return [
        task,
        metric,
        row.images,  # as a number, which is aligned right
        html_report.ReportCell(teacher, gain is not None and gain < 0),
        html_report.ReportCell(row.student, gain is not None and gain > 0),
        *others,
    ]


def _curves(run: str) -> list[html_report.Curve]:
    """Returns the student's curves with more than one point."""
    several = {name: curve for name, curve in html_report.read_curves(run).items() if len(curve[0]) > 1}
    return html_report.paired(several)


def _pictures(trainings: Trainings) -> list[html_report.Picture]:
    plan = trainings.plan
    pictures = _evaluated(plan.folder(STUDENT), "The student on validation images")
    for folder, labelled in _completed(trainings):
        caption = f"Completed records of {folder.name!r}: real labels, and all pseudo labels, paler if less certain"
        pictures.append(html_report.Picture(caption, _records(plan.folder(STUDENT), labelled)))
    for teacher in trainings.teachers():
        if teacher.is_run:
            pictures += _evaluated(teacher.path, teacher.name)
    return pictures


def _evaluated(run: str, whose: str) -> list[html_report.Picture]:
    """Returns the last picture of a run's evaluation, if there is one."""
    drawn = sorted(glob.glob(os.path.join(run, run_files.PICTURES, "*.png")))
    picture = cv2.imread(drawn[-1]) if drawn else None
    caption = f"{whose}: label and prediction, paler if less certain"
    return [] if picture is None else [html_report.Picture(caption, picture[..., ::-1])]


def _records(student: str, labelled: str) -> np.ndarray:
    """Draws some labelled records with all their labels."""
    configs = enabled(restore.read_config(student))
    specs = {task: discover()[task] for task in configs}
    paths = sorted(glob.glob(os.path.join(labelled, "*.tfrecord")))
    grid = []
    for serialized in tf.data.TFRecordDataset(paths).take(SHOWN_RECORDS).as_numpy_iterator():
        labels = record.read_labels(serialized, specs, configs)
        real = {task: one.labels for task, one in labels.items() if not record.is_pseudo(one.origin)}
        pseudo = {task: one.labels for task, one in labels.items() if record.is_pseudo(one.origin)}
        example = tf.train.Example.FromString(serialized)
        image = record.decode_image(example.features.feature["image/encoded"].bytes_list.value[0]).numpy()
        grid.append(picture_grid.GridRow(image, real, pseudo, record.info_of(example).source_id))
    drawers = {task: picture_grid.Drawer(spec.draw, configs[task]) for task, spec in specs.items()}
    return picture_grid.grid(grid, drawers, words=ORIGINS)
