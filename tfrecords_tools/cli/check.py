"""must-records check."""

from __future__ import annotations

from typing import Annotated

import typer

from tfrecords_tools.cli import options


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("check")(check)


def check(
    records: options.Records,
    against: Annotated[
        list[str] | None,
        typer.Option(help="Records that should have none of these photos, such as validation data. May be repeated."),
    ] = None,
    as_json: options.Json = False,
    workers: options.Workers = 0,
) -> None:
    """Check that every record is intact and agrees with the manifest and with the tasks' conventions.

    Ground truth, passed to the tasks' metrics as if it were a prediction, must also score perfectly. With --against,
    photos that are in both sets are found by their content. Exit code: 0, 1 if there are findings, or 2 if the command
    could not run.

    Example: must-records check --records 'records/train/*.tfrecord' --against 'records/val/*.tfrecord'
    """
    from tfrecords_tools.check import dataset_rules
    from tfrecords_tools.check.run import check_dataset
    from tfrecords_tools.reading import recordset

    others = [recordset.opened(pattern, "--against") for pattern in against or ()]
    result = check_dataset(recordset.opened(records), workers, others)
    if as_json:
        options.print_json(result)
    else:
        typer.echo("\n".join(dataset_rules.lines(result)))
    if result["findings"]:
        raise typer.Exit(1)
