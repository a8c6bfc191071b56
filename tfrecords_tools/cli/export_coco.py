"""must-records export-coco."""

from __future__ import annotations

from typing import Annotated

import typer

from tfrecords_tools.cli import options


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("export-coco")(export_coco)


def export_coco(
    records: options.Records,
    out: Annotated[str, typer.Option(help="Output folder; run the same command again to resume.")],
    images: Annotated[bool, typer.Option("--images", help="Also write the images.")] = False,
    least_score: Annotated[
        float,
        typer.Option(help="Leave out a teacher's objects and pixels below this score, as all others become real."),
    ] = 0.5,
    as_json: options.Json = False,
    workers: options.Workers = 0,
    skip_bad: options.SkipBad = 0,
) -> None:
    """Export records as COCO JSON (boxes, masks), panoptic, depth and normals PNGs, and a list of image classes.

    Exported pseudo labels can be corrected in other tools and converted again. They are real labels then, with the
    origin real:corrected-<teacher id>. Everything that the formats cannot hold is listed. Exit code: 0, 1 if that
    includes labels or parts of them (not only a teacher's uncertainty), or 2 if the command could not run.

    Example: must-records export-coco --records 'records/labelled/*.tfrecord' --images --out export
    """
    from tfrecords_tools.export import formats, join
    from tfrecords_tools.export.run import ExportOptions, export_records
    from tfrecords_tools.reading import bad_records, recordset

    bad_records.allow(skip_bad)
    command = ["must-records", "export-coco", "--records", records]
    if images:
        command += ["--images"]
    if least_score != ExportOptions().least_score:
        command += ["--least-score", str(least_score)]
    summary = export_records(recordset.opened(records), out, ExportOptions(images, least_score), workers, command)
    if as_json:
        options.print_json(summary)
    else:
        typer.echo("\n".join(join.lines(summary, out)))
    if set(summary["lost"]) - formats.ONLY_DOUBTS:
        raise typer.Exit(1)
