"""Options that several `must-records` commands share, and the command line as the manifest keeps it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

Out = Annotated[str, typer.Option(help="Output folder for the shards; run the same command again to resume.")]
Records = Annotated[str, typer.Option(help="Record files of one dataset, in quotes: 'DIR/*.tfrecord'.")]
Root = Annotated[str, typer.Option(help="The dataset's folder.")]
Tasks = Annotated[str, typer.Option(help="Convert only these tasks' labels, separated by commas; empty: all.")]
Shards = Annotated[int, typer.Option(help="Number of shards; 0: one per 256 images.")]
Workers = Annotated[
    int,
    typer.Option(help="Worker processes; 0: one per core, fewer for small datasets. Does not affect the output."),
]
MaxDropRate = Annotated[
    float, typer.Option(help="Largest share of images, objects or a task's labels that may be dropped.")
]
Part = Annotated[
    str,
    typer.Option(
        help="Convert one part, train or validation, which a hash of each photo's content decides; empty: both."
    ),
]
ValidationShare = Annotated[float, typer.Option(help="With --part: the share of the photos that is for validation.")]
Exclude = Annotated[
    list[str] | None,
    typer.Option(help="Leave out photos that are in these records, by content: 'DIR/*.tfrecord'. May be repeated."),
]
Name = Annotated[
    str, typer.Option(help="The dataset's name in its labels' origin and in reports; empty: its folder's or file's.")
]
Sample = Annotated[
    int, typer.Option(help="Photos on which each teacher is compared with itself, mirrored and zoomed; 0: none.")
]
Domain = Annotated[
    list[str] | None,
    typer.Option(
        help="[TASK=]RECORDS with photos like those that a teacher was trained on; a run knows its own. Repeatable."
    ),
]
ClassesOf = Annotated[
    str,
    typer.Option(help="Give the classes the order of these records', whose names they must have: 'DIR/*.tfrecord'."),
]
Rename = Annotated[list[str] | None, typer.Option(help="OLD=NEW: rename a class. May be repeated.")]
Drop = Annotated[list[str] | None, typer.Option(help="Leave out the labels of this class. May be repeated.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object to stdout; everything else goes to stderr.")]
Runner = Annotated[str, typer.Option(help="Run on Apache Beam: DirectRunner, FlinkRunner, SparkRunner, ...")]
RunnerOptions = Annotated[
    str, typer.Option(help="The Beam runner's own options, in quotes: '--project=... --region=...'.")
]
SkipBad = Annotated[
    int,
    typer.Option(help="Leave out up to this many records that cannot be read, and list them; 0: stop at the first."),
]
# Parameters that do not change a byte of the records.
NO_EFFECT = ("workers", "json", "runner", "runner_options", "shard", "force", "sample", "domain")


def print_json(content: Mapping[str, Any]) -> None:
    """Prints the JSON object that `--json` asks for."""
    typer.echo(json.dumps(content, indent=1, ensure_ascii=False))


def command_line(ctx: typer.Context) -> list[str]:
    """Returns the words of the command, without defaults and options that do not affect the records."""
    words = ctx.command_path.split()
    for parameter in ctx.command.params:
        value = ctx.params.get(parameter.name or "")
        if parameter.name in NO_EFFECT or value == parameter.default or value in (None, (), []):
            continue
        for item in value if isinstance(value, list) else [value]:
            words += [parameter.opts[0]] if item is True else [parameter.opts[0], str(item)]
    return words
