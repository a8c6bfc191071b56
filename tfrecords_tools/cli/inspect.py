"""must-records inspect."""

from __future__ import annotations

from typing import Annotated

import typer

from tfrecords_tools.cli import options


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("inspect")(inspect)


def inspect(
    records: options.Records,
    page: Annotated[str, typer.Option(help="Also write an HTML page with pictures of some images to this path.")] = "",
    images: Annotated[int, typer.Option(help="Number of images on the page.")] = 60,
    choice: Annotated[
        str, typer.Option("--pick", help="Images on the page: even (spread over all), least-confident, most-confident.")
    ] = "even",
    as_json: options.Json = False,
    workers: options.Workers = 0,
    skip_bad: options.SkipBad = 0,
) -> None:
    """Print what a dataset of records holds; with --page also write a page of pictures to filter and sort.

    Exit code: 0, or 2 if the command could not run.

    Example: must-records inspect --records 'records/coco/*.tfrecord' --page coco.html
    """
    from must_tf.common import held_folders
    from tfrecords_tools.inspect import contact_sheet, counts, pick
    from tfrecords_tools.reading import bad_records, recordset, summary_tables

    bad_records.allow(skip_bad)
    pick.check(choice)
    dataset = recordset.opened(records)
    if page:
        contact_sheet.check_path(page, images)
    summary = counts.summary(dataset, counts.count(dataset, workers))
    pictured = 0
    if page:
        with held_folders.held_above(page):
            pictured = contact_sheet.write(page, dataset, summary, contact_sheet.PageImages(choice, images))
    if as_json:
        return options.print_json(summary | {"page": page or None, "pictured": pictured})
    for table in summary_tables.tables(summary):
        typer.echo(f"{summary_tables.text(table)}\n")
    if page:
        typer.echo(f"{page} shows {pictured} of {summary['records']} images")
    return None
