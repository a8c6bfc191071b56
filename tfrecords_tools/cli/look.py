"""The commands that look into records: `must-records inspect`, `check`, `stats`, `export-coco`.

Exit codes: 0 done, 1 done but something fell short (each named), 2 not started.
`--json` prints one JSON object on stdout instead of the table; progress is on stderr.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

COMMANDS = ("inspect", "check", "stats", "export-coco")

Records = Annotated[str, typer.Option(help="Record files of one set, in quotes: 'DIR/*.tfrecord'.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout instead of the table.")]
Workers = Annotated[int, typer.Option(help="Processes; 0: one per core and 500 images.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("inspect")(inspect)
    app.command("check")(check)
    app.command("stats")(stats)
    app.command("export-coco")(export_coco)


def inspect(
    records: Records,
    page: Annotated[str, typer.Option(help="Also an HTML page with pictures of some images.")] = "",
    images: Annotated[int, typer.Option(help="How many images the page shows.")] = 60,
    choice: Annotated[
        str, typer.Option("--pick", help="Which: even (spread over the set), least-confident or most-confident.")
    ] = "even",
    as_json: Json = False,
    workers: Workers = 0,
) -> None:
    """What a record set holds: a table, and with --page a page of pictures to filter and sort.

    Example: must-records inspect --records 'records/coco/*.tfrecord' --page coco.html
    """
    from tfrecords_tools.inspect import contact_sheet, counts, pick
    from tfrecords_tools.reading import look_table, recordset

    pick.check(choice)
    found = recordset.opened(records)
    if page:
        contact_sheet.check_path(page, images)
    summary = counts.summary(found, counts.count(found, workers))
    pictured = contact_sheet.write(page, found, summary, contact_sheet.Shown(choice, images)) if page else 0
    if as_json:
        return _print_json(summary | {"page": page or None, "pictured": pictured})
    for table in look_table.tables(summary):
        typer.echo("\n".join([*look_table.text(table), ""]))
    if page:
        typer.echo(f"{page} shows {pictured} of {summary['records']} images")
    return None


def check(records: Records, as_json: Json = False, workers: Workers = 0) -> None:
    """Whether every record is whole and as its manifest and its tasks' conventions say.

    The truth, given as prediction to the tasks' own metrics, must be perfect. Exit code 1 where anything was found.

    Example: must-records check --records 'records/coco/*.tfrecord'
    """
    from tfrecords_tools.check import dataset_rules
    from tfrecords_tools.check import run as checking
    from tfrecords_tools.reading import recordset

    result = checking.check(recordset.opened(records), workers)
    if as_json:
        _print_json(result)
    else:
        typer.echo("\n".join(dataset_rules.lines(result)))
    if result["findings"]:
        raise typer.Exit(1)


def stats(
    ctx: typer.Context,
    records: Records,
    against: Annotated[
        list[str] | None, typer.Option(help="[TASK=]RECORDS with real labels to compare with; repeated.")
    ] = None,
    truth: Annotated[str, typer.Option(help="Records with real labels of the same images, matched by their ids.")] = "",
    precision: Annotated[float, typer.Option(help="With --truth: what the suggested thresholds are to reach.")] = 0.8,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="TASK.NAME=VALUE of a threshold that training will read with.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overrule a verdict against the labels.")] = False,
    as_json: Json = False,
    workers: Workers = 0,
) -> None:
    """Whether pseudo labels are good enough to train on: figures, thresholds, and a verdict that training reads.

    Writes stats.json beside the records. Exit code 1 where the labels are not fit and --force is not given. Without
    --truth nothing tells whether labels are in the right place.

    Example: must-records stats --records 'records/labelled/*.tfrecord' --against detection='records/coco/*.tfrecord'
    """
    from tfrecords_tools.cli import options
    from tfrecords_tools.stats import run as statistics
    from tfrecords_tools.stats import table as stats_table

    compared = statistics.compared(against or (), truth, precision)
    asked = statistics.asked(records, set_ or (), compared, workers)
    content = statistics.run(asked, options.command_line(ctx), force)
    if as_json:
        _print_json(content)
    else:
        typer.echo("\n".join(stats_table.lines(content)))
    raise typer.Exit(statistics.exit_code(content))


def export_coco(
    records: Records,
    out: Annotated[str, typer.Option(help="Folder, new or of the same command, which then goes on.")],
    images: Annotated[bool, typer.Option("--images", help="Also write the images.")] = False,
    least_score: Annotated[
        float, typer.Option(help="Leave out a teacher's objects and pixels below: converted again, the rest is real.")
    ] = 0.5,
    as_json: Json = False,
    workers: Workers = 0,
) -> None:
    """Records back into COCO JSON (boxes, masks), panoptic, depth and normals PNGs, and a list of classes.

    What teachers labelled can be corrected in other tools and converted again: it is real then, with the origin
    real:corrected-<teacher id>. What no format can hold is named; the
    exit code is 1 where that is a label or what it says, 0 where only a teacher's doubts are left out.

    Example: must-records export-coco --records 'records/labelled/*.tfrecord' --images --out export
    """
    from tfrecords_tools.export import formats, join
    from tfrecords_tools.export.run import ExportOptions, export_records
    from tfrecords_tools.reading import recordset

    command = ["must-records", "export-coco", "--records", records, *(["--images"] if images else [])]
    command += ["--least-score", str(least_score)] if least_score != ExportOptions().least_score else []
    summary = export_records(recordset.opened(records), out, ExportOptions(images, least_score), workers, command)
    if as_json:
        _print_json(summary)
    else:
        typer.echo("\n".join(join.lines(summary, out)))
    if set(summary["lost"]) - {*formats.DOUBTS, formats.UNSURE, formats.UNSURE_PIXELS}:
        raise typer.Exit(1)


def _print_json(content: dict[str, Any]) -> None:
    typer.echo(json.dumps(content, indent=1, ensure_ascii=False))
