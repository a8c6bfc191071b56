"""must-records label."""

from __future__ import annotations

import contextlib
import json as json_text
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from tfrecords_tools.cli import options

if TYPE_CHECKING:
    from tfrecords_tools.label import run as labelling

Workers = Annotated[
    int, typer.Option(help="Processes; 0: one per GPU, or one for up to 4 cores. No matter for the result.")
]
Shard = Annotated[str, typer.Option(help="JOB/JOBS, like 2/8: this job's part; all jobs have one --out.")]
Replace = Annotated[
    list[str] | None, typer.Option(help="TASK whose labels by other teachers are replaced, never real.")
]
Force = Annotated[bool, typer.Option("--force", help="Exit with 0, and let train, where the labels look unfit.")]
Runner = Annotated[str, typer.Option(help="Label on Apache Beam: DirectRunner, FlinkRunner, ...")]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(label)


def label(
    ctx: typer.Context,
    records: Annotated[str, typer.Option(help="Record files of one set, in quotes: 'DIR/*.tfrecord'.")],
    teacher: Annotated[list[str], typer.Option(help="TASK=PATH: a run, an export, an adapter file; once per task.")],
    out: options.Out,
    replace: Replace = None,
    workers: Workers = 0,
    shard: Shard = "",
    force: Force = False,
    json: options.Json = False,
    runner: Runner = "",
    runner_options: options.RunnerOptions = "",
) -> None:
    """Teachers label the images that lack their labels; real labels are never replaced.

    The whole set is looked over at the end, as by must-records stats: exit code 1 where it looks unfit to train on.
    In a batch system every job gets --shard JOB/JOBS; the one that ends last writes manifest.json, as does the same
    command without --shard.

    Example: must-records label --records 'records/photos/*.tfrecord' --teacher depth=runs/depth --out records/labelled
    """
    from tfrecords_tools.label import parallelism
    from tfrecords_tools.label import run as labelling

    started = time.monotonic()
    ways = parallelism.Ways(workers, parallelism.parse_part(shard), runner, tuple(runner_options.split()))
    asked = labelling.asked(records, teacher, replace or [])
    with contextlib.redirect_stdout(sys.stderr) if json else contextlib.nullcontext():  # tables of restored weights
        result = labelling.run(asked, out, options.command_line(ctx), ways)
    if result.manifest is None:
        _show_part(result, out, json)
        return
    from tfrecords_tools.stats import run as stats

    fit = stats.after_labelling(out, force) == 0
    _show(result, asked, (out, time.monotonic() - started), json, fit)
    if not fit:
        raise typer.Exit(1)


def _show_part(result: labelling.Result, out: str, as_json: bool) -> None:
    """Of a job that is not the last."""
    mine = (
        f"{result.mine} of them this job's"
        if result.mine
        else "none of them this job's: there are more jobs than shards"
    )
    typer.echo(
        f"{result.finished} of {result.total} shards are there, {mine}. The last job writes manifest.json.", err=as_json
    )
    if as_json:
        said = {"out": out, "finished": result.finished, "shards": result.total, "mine": result.mine, "manifest": None}
        typer.echo(json_text.dumps(said))


def _show(result: labelling.Result, asked: labelling.Asked, spent: tuple[str, float], as_json: bool, fit: bool) -> None:
    from tfrecords_tools.cli import outcome as report
    from tfrecords_tools.convert import run as convert
    from tfrecords_tools.label import results as label_results

    assert result.manifest is not None
    out, seconds = spent
    outcome = convert.Outcome(result.manifest, 0.0, 0.0, seconds)
    results = label_results.of(result.source, result.manifest, asked)
    for line in [*label_results.lines(results, asked), *report.lines(outcome, out)]:
        typer.echo(line, err=as_json)
    if as_json:
        typer.echo(
            json_text.dumps(report.content(outcome, out) | {"tasks": label_results.content(results), "fit": fit})
        )
