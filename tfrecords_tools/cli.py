"""must-records: datasets into records.

Exit codes: 0 done, 1 done but more was dropped than allowed, 2 not started or stopped.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from must_tf.errors import exit_on_user_error
from tfrecords_tools import workers as processes

if TYPE_CHECKING:
    from tfrecords_tools.sources import Source

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Records: convert datasets into them, label them.")
convert_app = typer.Typer(no_args_is_help=True, help="A dataset on disk into records.")
app.add_typer(convert_app, name="convert")

Out = Annotated[str, typer.Option(help="Folder for the shards; the same command again goes on in it.")]
Root = Annotated[str, typer.Option(help="The dataset's folder.")]
Tasks = Annotated[str, typer.Option(help="Labels of these tasks only, names with commas between; empty: all.")]
Shards = Annotated[int, typer.Option(help="How many shards; 0: one per 256 images.")]
Workers = Annotated[int, typer.Option(help="Processes; 0: one per core. No matter for the result.")]
MaxDropRate = Annotated[float, typer.Option(help="Share of images or objects that may be dropped before it fails.")]


@convert_app.command()
def coco(
    ctx: typer.Context,
    images: Annotated[str, typer.Option(help="Folder of the images.")],
    annotations: Annotated[str, typer.Option(help="Instances JSON.")],
    out: Out,
    panoptic: Annotated[str, typer.Option(help="Folder of panoptic PNGs, its JSON beside it.")] = "",
    full_masks: Annotated[
        bool, typer.Option("--full-masks", help="Also write full masks, for Model Garden's decoder.")
    ] = False,
    tasks: Tasks = "",
    shards: Shards = 0,
    workers: Workers = 0,
    max_drop_rate: MaxDropRate = 0.01,
) -> None:
    """COCO: detection and masks; with --panoptic segmentation."""
    from tfrecords_tools.sources.coco import Coco
    from tfrecords_tools.sources.only import only

    _convert(ctx, only(Coco(images, annotations, panoptic, full_masks), tasks))


@convert_app.command()
def rgbd(
    ctx: typer.Context,
    root: Root,
    out: Out,
    match: Annotated[str, typer.Option(help="Only photos whose stem matches this pattern, like 'train_*'.")] = "*",
    shards: Shards = 0,
    workers: Workers = 0,
    max_drop_rate: MaxDropRate = 0.01,
) -> None:
    """rgb/, depth/, normal/, label/ of one --root: depth, normals, segmentation."""
    from tfrecords_tools.sources.rgbd import Rgbd

    _convert(ctx, Rgbd(root, match))


@convert_app.command()
def classes(
    ctx: typer.Context,
    root: Root,
    out: Out,
    limit: Annotated[int, typer.Option(help="Images of each class, in the order of their names; 0: all.")] = 0,
    shards: Shards = 0,
    workers: Workers = 0,
    max_drop_rate: MaxDropRate = 0.01,
) -> None:
    """One folder of images per class: classification."""
    from tfrecords_tools.sources.classes import Classes

    _convert(ctx, Classes(root, limit))


@convert_app.command()
def images(
    ctx: typer.Context,
    root: Root,
    out: Out,
    shards: Shards = 0,
    workers: Workers = 0,
    max_drop_rate: MaxDropRate = 0.01,
) -> None:
    """All images below --root, without labels."""
    from tfrecords_tools.sources.images import Images

    _convert(ctx, Images(root))


@convert_app.command()
def scenes(
    ctx: typer.Context,
    domain: Annotated[str, typer.Option(help="Which look, and with it which labels.")],
    count: Annotated[int, typer.Option(help="How many scenes.")],
    seed: Annotated[int, typer.Option(help="Which scenes; two seeds have none in common.")],
    out: Out,
    size: Annotated[int, typer.Option(help="Side in pixels.")] = 128,
    tasks: Annotated[str, typer.Option(help="Instead of the domain's: names with commas between, all or none.")] = "",
    shards: Shards = 0,
    workers: Workers = 0,
    max_drop_rate: MaxDropRate = 0.01,
) -> None:
    """Generated scenes with exact labels."""
    from tfrecords_tools.sources.scenes import Scenes

    _convert(ctx, Scenes(domain, count, seed, size, tasks))


@app.command()
def label(
    ctx: typer.Context,
    records: Annotated[str, typer.Option(help="Record files of one set, in quotes: 'DIR/*.tfrecord'.")],
    teacher: Annotated[list[str], typer.Option(help="TASK=RUN_DIRECTORY; once per task.")],
    out: Out,
) -> None:
    """Teachers label the images that lack their labels; real labels are never replaced.

    Example: must-records label --records 'records/photos/*.tfrecord' --teacher depth=runs/depth --out records/labelled
    """
    from tfrecords_tools import convert
    from tfrecords_tools import label as labelling

    started = time.monotonic()
    asked = labelling.asked(records, teacher)
    result = labelling.run(asked, out, _command(ctx))
    outcome = convert.Outcome(result, 0.0, 0.0, time.monotonic() - started)
    for line in [*labelling.left(result, asked), *convert.report(outcome, out)]:
        typer.echo(line)


def _convert(ctx: typer.Context, source: Source) -> None:
    """Converts and ends the command. The options that all conversions share are taken from `ctx`."""
    from tfrecords_tools import convert

    given = ctx.params
    options = convert.Options(
        out=given["out"],
        shards=given["shards"],
        workers=given["workers"],
        max_drop_rate=given["max_drop_rate"],
        command=tuple(_command(ctx)),
    )
    outcome = convert.convert(source, options)
    for line in convert.report(outcome, options.out):
        typer.echo(line)
    worst = max(outcome.image_drop_rate, outcome.object_drop_rate)
    if worst > options.max_drop_rate:
        typer.echo(
            f"error: {worst:.1%} were dropped, --max-drop-rate allows {options.max_drop_rate:.1%}. "
            "The records are complete otherwise.",
            err=True,
        )
        raise typer.Exit(1)


def _command(ctx: typer.Context) -> list[str]:
    """The command as given, without `--workers`: the records do not depend on it."""
    words = ctx.command_path.split()
    for parameter in ctx.command.params:
        value = ctx.params.get(parameter.name or "")
        if parameter.name == "workers" or value == parameter.default:
            continue
        for one in value if isinstance(value, list) else [value]:
            words += [parameter.opts[0]] if one is True else [parameter.opts[0], str(one)]
    return words


def main() -> int:
    """Runs the command line; returns the exit code."""
    # Nobody runs these commands to read TensorFlow's start-up notes. Before it is imported.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if sys.argv[1:2] == ["convert"]:
        os.environ.update(processes.ENVIRONMENT)
    return exit_on_user_error(lambda: app(prog_name="must-records"))
