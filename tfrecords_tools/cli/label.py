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
    from tfrecords_tools.label.arguments import LabelRequest
    from tfrecords_tools.label.run import LabelResult
    from tfrecords_tools.reading.recordset import RecordSet

Workers = Annotated[
    int, typer.Option(help="Processes; 0: one per GPU, or one for up to 4 cores. Does not affect the output.")
]
Shard = Annotated[str, typer.Option(help="JOB/JOBS, for example 2/8: the part of this job. All jobs share one --out.")]
ClassesOf = Annotated[
    list[str] | None,
    typer.Option(
        help="Label the classes of these records, 'DIR/*.tfrecord', matched by name; needed only if --records has no "
        "class names of a task. May be repeated."
    ),
]
Replace = Annotated[
    list[str] | None,
    typer.Option(help="TASK: replace its labels by other teachers. Real labels are never replaced. Repeatable."),
]
Confidence = Annotated[
    bool,
    typer.Option(
        "--confidence",
        help="Give depth and normals a confidence: per pixel, their agreement with the labels of the mirrored photo. "
        "Takes one more forward pass of their teachers.",
    ),
]
HalfMaps = Annotated[
    bool,
    typer.Option(
        "--half-maps", help="Store new maps with half of the image's height and width: about a third of the space."
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Exit 0 and allow training even if the labels are judged unfit.")]
Runner = Annotated[str, typer.Option(help="Label on Apache Beam: DirectRunner, FlinkRunner, ...")]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(label)


def label(
    ctx: typer.Context,
    records: options.Records,
    teacher: Annotated[
        list[str], typer.Option(help="TASK=PATH of a run, an export or an adapter file; once per task.")
    ],
    out: options.Out,
    replace: Replace = None,
    classes_of: ClassesOf = None,
    confidence: Confidence = False,
    half_maps: HalfMaps = False,
    workers: Workers = 0,
    shard: Shard = "",
    sample: options.Sample = 64,
    domain: options.Domain = None,
    force: Force = False,
    json: options.Json = False,
    runner: Runner = "",
    runner_options: options.RunnerOptions = "",
    skip_bad: options.SkipBad = 0,
) -> None:
    """Let teachers add the labels that images lack. Real labels are never replaced.

    At the end the whole set is judged, like by must-records stats: exit code 1 if it looks unfit for training.
    In a batch system, give every job --shard JOB/JOBS. The last job writes manifest.json; so does the same command
    without --shard.

    Example: must-records label --records 'records/photos/*.tfrecord' --teacher depth=runs/depth --out records/labelled
    """
    from tfrecords_tools.label import arguments, parallelism, self_check
    from tfrecords_tools.label.run import label_records
    from tfrecords_tools.reading import bad_records

    bad_records.allow(skip_bad)
    started = time.monotonic()
    part = parallelism.parse_part(shard)
    spread = parallelism.Parallelism(workers, part, runner, tuple(runner_options.split()))
    request = arguments.parse_request(records, teacher, replace or [], confidence, half_maps, classes_of or [])
    check = self_check.checked(sample, domain or [])
    with contextlib.redirect_stdout(sys.stderr) if json else contextlib.nullcontext():  # tables of restored weights
        result = label_records(request, out, options.command_line(ctx), spread)
    if result.manifest is None:
        _show_part(result, out, json)
        return
    from tfrecords_tools.stats import run as stats

    def measure(dataset: RecordSet) -> self_check.Measured:
        with contextlib.redirect_stdout(sys.stderr):
            return self_check.of_teachers(request.teachers, dataset, check)

    fit = stats.after_labelling(out, force, measure) == 0
    _show(result, request, (out, time.monotonic() - started), json, fit)
    if not fit:
        raise typer.Exit(1)


def _show_part(result: LabelResult, out: str, as_json: bool) -> None:
    """Prints the result of a job that is not the last."""
    mine = f"{result.mine} of them by this job" if result.mine else "none by this job: there are more jobs than shards"
    typer.echo(
        f"{result.finished} of {result.total} shards are finished, {mine}. The last job writes manifest.json.",
        err=as_json,
    )
    if as_json:
        content = {"out": out, "finished": result.finished, "shards": result.total, "mine": result.mine}
        typer.echo(json_text.dumps(content | {"manifest": None}))


def _show(result: LabelResult, request: LabelRequest, spent: tuple[str, float], as_json: bool, fit: bool) -> None:
    from tfrecords_tools.cli import report
    from tfrecords_tools.convert import run as convert
    from tfrecords_tools.label import results

    assert result.manifest is not None
    out, seconds = spent
    outcome = convert.Outcome(result.manifest, 0.0, 0.0, seconds)
    by_task = results.per_task(result.source, result.manifest, request)
    notes = results.teacher_notes(request)
    of_teachers = [f"note: {path}: {note}" for path, of_path in notes.items() for note in of_path]
    for line in [*results.lines(by_task, request), *of_teachers, *report.lines(outcome, out)]:
        typer.echo(line, err=as_json)
    if as_json:
        more = {"tasks": results.content(by_task), "teacher_notes": notes, "fit": fit}
        typer.echo(json_text.dumps(report.content(outcome, out) | more))
