"""Summarises a loop: one table on the terminal, one page with table, curves and pictures."""

from __future__ import annotations

import glob
import os
from typing import Any

import cv2
import numpy as np
import tensorflow as tf

from experiments.plan import Plan, PlannedRun, evaluation
from must_tf.common import run_files
from must_tf.common.progress import clock
from must_tf.data import record
from must_tf.model.student import enabled
from must_tf.runs import restore
from must_tf.shared import html_report, picture_grid
from must_tf.tasks import discover

SHOWN_RECORDS = 6  # number of labelled records to draw

Rows = list[tuple[str, str, float | None, float | None]]  # task, metric, teacher, student


def write(plan: Plan, seconds: dict[str, float], total: float) -> None:
    """Prints the table and writes report.html."""
    rows = _rows(plan)
    lines = _table(("task", "metric", "teacher", "student"), rows)
    transfers = _transfer_rows(plan)
    if transfers:
        lines += ["", *_table(("transfer", "metric", "from scratch", "from student"), transfers)]
    print("\n" + "\n".join(lines))
    path = plan.path("report.html")
    html_report.write_report(path, _report(plan, rows, transfers, seconds, total))
    print(f"\n{clock(total)} in total. Report: {path}", flush=True)


def _rows(plan: Plan) -> Rows:
    student = evaluation(plan, plan.student.name)["figures"]
    rows: Rows = []
    for teacher in plan.teachers:
        figures = evaluation(plan, teacher.name)["figures"]
        for task in teacher.tasks:
            headline = discover()[task].Metric.headline
            key = f"{task}/{headline}"
            # Marks a teacher that was evaluated on images it was trained on.
            seen = " (seen)" if set(teacher.validation) & set(teacher.train) else ""
            rows.append((task, headline + seen, figures.get(key), student.get(key)))
    return rows


def _transfer_rows(plan: Plan) -> Rows:
    """Pairs the runs NAME-scratch and NAME."""
    runs = {run.name: run for run in plan.transfers}
    rows: Rows = []
    for name, run in runs.items():
        if f"{name}-scratch" in runs:
            key = f"{run.tasks[0]}/{discover()[run.tasks[0]].Metric.headline}"
            values = [evaluation(plan, one)["figures"].get(key) for one in (f"{name}-scratch", name)]
            rows.append((run.tasks[0], discover()[run.tasks[0]].Metric.headline, *values))
    return rows


def _table(headers: tuple[str, ...], rows: Rows) -> list[str]:
    widths = (16, 32, 14, 14)
    texts = [headers, *[(task, figure + _direction(task), _number(a), _number(b)) for task, figure, a, b in rows]]
    return ["".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) for line in texts]


def _direction(task: str) -> str:
    return "" if discover()[task].Metric.higher_is_better else " (lower is better)"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _cells(rows: Rows) -> list[list[Any]]:
    def cells(task: str, figure: str, one: float | None, other: float | None) -> list[Any]:
        sign = 1 if discover()[task].Metric.higher_is_better else -1
        gain = None if one is None or other is None else sign * (one - other)
        return [
            f"{task}",
            figure + _direction(task),
            html_report.ReportCell(one, gain is not None and gain >= 0),
            html_report.ReportCell(other, gain is not None and gain <= 0),
        ]

    return [cells(*row) for row in rows]


def _report(plan: Plan, rows: Rows, transfers: Rows, seconds: dict[str, float], total: float) -> html_report.Report:
    tables = [
        html_report.ReportTable("One student and the teachers", ("task", "metric", "teacher", "student"), _cells(rows))
    ]
    if transfers:
        headers = ("task", "metric", "from scratch", "from student")
        tables.append(html_report.ReportTable("Transfer to another look", headers, _cells(transfers)))
    steps = [[name, clock(value)] for name, value in seconds.items()]
    tables.append(html_report.ReportTable("Time", ("step", "minutes"), steps))
    curves = _curves(plan)
    images = evaluation(plan, plan.student.name)["images"]
    summary = [f"{clock(total)} in total", f"the student was evaluated on {images} held-out images, each exactly once"]
    return html_report.Report(plan.title, summary, tables, curves, _pictures(plan))


def _curves(plan: Plan) -> list[html_report.Curve]:
    """Returns the curves with more than one point: the student's losses, but not its single evaluation."""
    several = {
        name: one for name, one in html_report.read_curves(plan.path(plan.student.name)).items() if len(one[0]) > 1
    }
    return html_report.paired(several)


def _pictures(plan: Plan) -> list[html_report.Picture]:
    pictures = [_evaluated(plan, plan.student, "The student on held-out images: label and prediction")]
    pictures += [
        html_report.Picture(
            f"Completed records of {name!r}: ground truth as label, pseudo labels as prediction", _records(plan, name)
        )
        for name in plan.label
    ]
    pictures += [_evaluated(plan, run, f"Teacher {run.name}: label and prediction") for run in plan.teachers]
    return pictures


def _evaluated(plan: Plan, run: PlannedRun, caption: str) -> html_report.Picture:
    newest = sorted(glob.glob(plan.path(run.name, run_files.PICTURES, "*.png")))[-1]
    picture = cv2.imread(newest)
    assert picture is not None, newest
    return html_report.Picture(caption, picture[..., ::-1])


def _records(plan: Plan, name: str) -> np.ndarray:
    """Draws some labelled records with all their labels."""
    configs = enabled(restore.read_config(plan.path(plan.student.name)))
    specs = {task: discover()[task] for task in configs}
    files = sorted(glob.glob(os.path.join(plan.path("records", f"{name}-labelled"), "*.tfrecord")))
    rows = []
    for serialized in tf.data.TFRecordDataset(files).take(SHOWN_RECORDS).as_numpy_iterator():
        labelled = record.read_labels(serialized, specs, configs)
        real = {task: one.labels for task, one in labelled.items() if one.origin.startswith("real:")}
        pseudo = {task: one.labels for task, one in labelled.items() if record.is_pseudo(one.origin)}
        example = tf.train.Example.FromString(serialized)
        image = record.decode_image(example.features.feature["image/encoded"].bytes_list.value[0]).numpy()
        rows.append(picture_grid.GridRow(image, real, pseudo, record.info_of(example).source_id))
    return picture_grid.grid(
        rows, {task: picture_grid.Drawer(spec.draw, configs[task]) for task, spec in specs.items()}
    )
