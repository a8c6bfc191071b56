"""must-records merge."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from must_tf.common.text import listed

RENAMED = 5  # shown of each set; mapping.json has all


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(merge)


def merge(
    ctx: typer.Context,
    records: Annotated[list[str], typer.Option(help="Record files of one set, in quotes; once per set, first wins.")],
    out: Annotated[str, typer.Option(help="Folder for the shards; the same command again goes on in it.")],
    same: Annotated[list[str] | None, typer.Option(help="OLD=NEW: class OLD is NEW. May be repeated.")] = None,
    shards: Annotated[int, typer.Option(help="How many shards; 0: one per 256 images.")] = 0,
    workers: Annotated[int, typer.Option(help="Processes; 0: one per core. No matter for the result.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, the rest on stderr.")] = False,
) -> None:
    """Record sets into one: labels of the same image come together, classes are united by name.

    Example: must-records merge --records 'coco/*.tfrecord' --records 'voc/*.tfrecord' --same sofa=couch --out both
    """
    from must_tf.common import files
    from tfrecords_tools.cli import outcome as report
    from tfrecords_tools.cli.options import command_line
    from tfrecords_tools.convert import run as convert
    from tfrecords_tools.merge import classes
    from tfrecords_tools.merge import run as merging

    what = merging.merged(records, same or [])
    mapping = classes.mapping([part.classes for part in what.parts], what.united)
    directories = [part.directory for part in what.parts]
    for directory, tasks in zip(directories, mapping, strict=True):
        for line in _lines(directory, tasks):
            typer.echo(line, err=json)
    options = convert.Options(out, shards, workers, command=tuple(command_line(ctx)))
    outcome = convert.run(what, options)
    stored = [{"records": each, "classes": tasks} for each, tasks in zip(directories, mapping, strict=True)]
    files.write_json(os.path.join(out, "mapping.json"), {"same": same or [], "sets": stored})
    report.show(outcome, out, json)


def _lines(directory: str, tasks: dict[str, dict[str, list[int]]]) -> list[str]:
    """Which class ids of a set become others."""
    lines = []
    for task, names in tasks.items():
        moved: dict[str, Any] = {name: ids for name, ids in names.items() if ids[0] != ids[1]}
        shown = listed((f"{name} {old} -> {new}" for name, (old, new) in moved.items()), RENAMED)
        changed = f"{len(moved)} of {len(names)} ids change: {shown}" if moved else f"{len(names)} ids as they are"
        lines.append(f"{directory} {task}: {changed}")
    return lines
