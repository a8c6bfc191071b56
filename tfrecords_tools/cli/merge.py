"""must-records merge."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated

import typer

from must_tf.common.text import listed
from tfrecords_tools.cli import options


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(merge)


def merge(
    ctx: typer.Context,
    records: Annotated[
        list[str], typer.Option(help="Files of one record set, in quotes. Give one per set; the first has priority.")
    ],
    out: options.Out,
    same: Annotated[
        list[str] | None, typer.Option(help="OLD=NEW: treat class OLD as class NEW. May be repeated.")
    ] = None,
    classes_of: Annotated[
        list[str] | None,
        typer.Option(help="Records of another set: number the classes as there, whichever --records have. Repeatable."),
    ] = None,
    shards: options.Shards = 0,
    workers: options.Workers = 0,
    json: options.Json = False,
    skip_bad: options.SkipBad = 0,
) -> None:
    """Merge record sets: labels of the same image, by content, are combined; classes are united by name.

    Example: must-records merge --records 'coco/*.tfrecord' --records 'voc/*.tfrecord' --same sofa=couch --out both
    """
    from must_tf.common import files
    from tfrecords_tools.cli import report
    from tfrecords_tools.convert import run as convert
    from tfrecords_tools.merge import classes
    from tfrecords_tools.merge.run import merged_sets
    from tfrecords_tools.reading import bad_records
    from tfrecords_tools.writing import shards as writing

    bad_records.allow(skip_bad)
    source = merged_sets(records, same or [], classes_of or [])
    mapping = classes.mapping([each.classes for each in source.inputs], source.united)
    directories = [each.directory for each in source.inputs]
    for directory, tasks in zip(directories, mapping, strict=True):
        for line in _lines(directory, tasks):
            typer.echo(line, err=json)
    command = tuple(options.command_line(ctx))
    outcome = convert.run(source, convert.Options(out, shards, workers, command=command, verb="merge"))
    stored = [{"records": directory, "classes": tasks} for directory, tasks in zip(directories, mapping, strict=True)]
    writing.require_claim(out)
    files.write_json(os.path.join(out, "mapping.json"), {"same": same or [], "sets": stored})
    report.show(outcome, out, json)


def _lines(directory: str, tasks: Mapping[str, Mapping[str, list[int]]]) -> list[str]:
    """Returns a line per task: which class ids of the set change. mapping.json lists all of them."""
    lines = []
    for task, names in tasks.items():
        moved = {name: (old, new) for name, (old, new) in names.items() if old != new}
        shown = listed(f"{name} {old} -> {new}" for name, (old, new) in moved.items())
        changed = f"{len(moved)} of {len(names)} ids change: {shown}" if moved else f"all {len(names)} ids stay"
        lines.append(f"{directory} {task}: {changed}")
    return lines
