"""must-records evaluate."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from typing import Annotated

import typer

from must_tf.common.errors import Mistakes
from tfrecords_tools.cli import options


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(evaluate)


def evaluate(
    records: Annotated[
        list[str], typer.Option(help="Record files with real labels, in quotes: 'DIR/*.tfrecord'. May be repeated.")
    ],
    teacher: Annotated[
        list[str], typer.Option(help="TASK=PATH of a run, an export or an adapter file; once per task.")
    ],
    out: Annotated[str, typer.Option(help="JSON file for the result.")] = "",
    config_file: Annotated[
        list[str] | None, typer.Option(help="YAML file of a training, for settings of metrics. May be repeated.")
    ] = None,
    json: options.Json = False,
    skip_bad: options.SkipBad = 0,
) -> None:
    """Measure teachers on images with real labels, by the metrics of a student.

    Classes are matched by name; those that the teacher does not know count as not found. Images that it does not
    classify are left out, and counted. A task without any class of the records is not measured, and the reason is
    printed.

    Example: must-records evaluate --records 'records/val/*.tfrecord' --teacher classification=mobilenet.yaml
    """
    from must_tf.common import files, held_folders
    from tfrecords_tools import teachers
    from tfrecords_tools.evaluate import run
    from tfrecords_tools.label import arguments
    from tfrecords_tools.reading import bad_records, recordset

    bad_records.allow(skip_bad)
    mistakes = Mistakes()
    descriptions = []
    for path, tasks in arguments.parse_teachers(teacher, mistakes).items():
        with mistakes.collected():
            descriptions.append(teachers.describe(path, tasks))
    datasets = []
    for pattern in records:
        with mistakes.collected():
            datasets.append(recordset.opened(pattern))
    mistakes.raise_all()
    with held_folders.held_above(out) if out else contextlib.nullcontext():
        with contextlib.redirect_stdout(sys.stderr) if json else contextlib.nullcontext():  # tables of restored weights
            result = run.evaluate(descriptions, datasets, config_file or ())
        content = dataclasses.asdict(result)
        try:
            if out:
                files.write_json(out, content)
        finally:  # what may have taken hours is shown, also if the disk is full or gone
            if json:
                options.print_json(content)
            else:
                typer.echo("\n".join(result.lines()))
