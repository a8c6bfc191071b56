"""must-records export-yolo."""

from __future__ import annotations

from typing import Annotated

import typer

from tfrecords_tools.cli import options


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("export-yolo")(export_yolo)


def export_yolo(
    records: options.Records,
    out: Annotated[str, typer.Option(help="Output folder; run the same command again to resume.")],
    val: Annotated[str, typer.Option(help="Records of the split val, in quotes; --records is then train.")] = "",
    split: Annotated[str, typer.Option(help="The split of --records: train, val or test.")] = "train",
    boxes: Annotated[bool, typer.Option("--boxes", help="Write boxes instead of polygons for masks.")] = False,
    least_score: Annotated[
        float, typer.Option(help="Leave out a teacher's objects below this score, as all others become real.")
    ] = 0.5,
    as_json: options.Json = False,
    workers: options.Workers = 0,
    skip_bad: options.SkipBad = 0,
) -> None:
    """Export the boxes and masks of records as a YOLO dataset: data.yaml, images/ and labels/.

    A mask is one polygon that gives the same pixels again. Everything that the format cannot hold is listed. Exit code:
    0, 1 if that includes labels, or 2 if the command could not run.

    Example: must-records export-yolo --records 'records/train/*.tfrecord' --val 'records/val/*.tfrecord' --out yolo
    """
    from must_tf.common.errors import UserError
    from tfrecords_tools.export import formats, join
    from tfrecords_tools.export import yolo as export
    from tfrecords_tools.reading import bad_records, recordset
    from tfrecords_tools.sources.drawn.yolo_data import SPLITS

    bad_records.allow(skip_bad)
    if split not in SPLITS or (val and split == "val"):
        raise UserError(f"--split {split!r} must be one of {', '.join(SPLITS)}, and not val together with --val.")
    sets = {split: recordset.opened(records)} | ({"val": recordset.opened(val, "--val")} if val else {})
    command = ["must-records", export.COMMAND, "--records", records]
    command += ["--val", val] if val else []
    command += ["--split", split] if split != SPLITS[0] else []
    command += ["--boxes"] if boxes else []
    command += ["--least-score", str(least_score)] if least_score != export.YoloOptions().least_score else []
    summary = export.export_yolo(sets, out, export.YoloOptions(boxes, least_score), workers, command)
    if as_json:
        options.print_json(summary)
    else:
        typer.echo("\n".join(join.lines(summary, out)))
    if set(summary["lost"]) - {formats.UNSURE}:
        raise typer.Exit(1)
