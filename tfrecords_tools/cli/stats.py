"""must-records stats."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tfrecords_tools.cli import options

if TYPE_CHECKING:
    from tfrecords_tools.reading.recordset import RecordSet


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("stats")(stats)


def stats(
    ctx: typer.Context,
    records: options.Records,
    against: Annotated[
        list[str] | None,
        typer.Option(help="[TASK=]RECORDS with real labels to compare the statistics with. May be repeated."),
    ] = None,
    truth: Annotated[
        str, typer.Option(help="Records with real labels of the same images, matched by content, else by id.")
    ] = "",
    precision: Annotated[
        float, typer.Option(help="With --truth: the precision that suggested thresholds should reach.")
    ] = 0.8,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="TASK.NAME=VALUE: a threshold that training will use. May be repeated."),
    ] = None,
    teacher: Annotated[
        list[str] | None,
        typer.Option(help="TASK=PATH of a teacher that labelled these records: compare it with itself. Repeatable."),
    ] = None,
    sample: options.Sample = 64,
    domain: options.Domain = None,
    force: Annotated[
        bool, typer.Option("--force", help="Exit 0 and allow training even if the labels are judged unfit.")
    ] = False,
    as_json: options.Json = False,
    workers: options.Workers = 0,
    skip_bad: options.SkipBad = 0,
) -> None:
    """Judge whether pseudo labels are good enough to train on: statistics, suggested thresholds and a verdict.

    Writes stats.json beside the records; training reads the verdict there. Whether labels are in the right place can
    only be judged with --truth. Exit code: 0, 1 if the labels are unfit and --force is not given, or 2 if the command
    could not run.

    Example: must-records stats --records 'records/labelled/*.tfrecord' --against detection='records/coco/*.tfrecord'
    """
    from tfrecords_tools.label import self_check
    from tfrecords_tools.reading import bad_records
    from tfrecords_tools.stats import run, tables

    bad_records.allow(skip_bad)
    comparison = run.comparison(against or (), truth, precision)
    request = run.request(records, set_ or (), comparison, workers)
    check = self_check.checked(sample, domain or [])
    given = self_check.given(teacher or [], request.dataset)

    def measure(dataset: RecordSet) -> run.Agreement:
        return run.earlier_agreement(dataset) | self_check.of_teachers(given, dataset, check)

    content = run.judge(request, options.command_line(ctx), force, measure)
    if as_json:
        options.print_json(content)
    else:
        typer.echo("\n".join(tables.lines(content)))
    raise typer.Exit(run.exit_code(content))
