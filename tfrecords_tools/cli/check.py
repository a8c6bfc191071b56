"""must-records check."""

from __future__ import annotations

import typer

from tfrecords_tools.cli import options


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("check")(check)


def check(records: options.Records, as_json: options.Json = False, workers: options.Workers = 0) -> None:
    """Check that every record is intact and agrees with the manifest and with the tasks' conventions.

    The ground truth, passed to the tasks' metrics as if it were a prediction, must also score perfectly. Exit code: 0,
    1 if there are findings, or 2 if the command could not run.

    Example: must-records check --records 'records/coco/*.tfrecord'
    """
    from tfrecords_tools.check import dataset_rules
    from tfrecords_tools.check.run import check_dataset
    from tfrecords_tools.reading import recordset

    result = check_dataset(recordset.opened(records), workers)
    if as_json:
        options.print_json(result)
    else:
        typer.echo("\n".join(dataset_rules.lines(result)))
    if result["findings"]:
        raise typer.Exit(1)
