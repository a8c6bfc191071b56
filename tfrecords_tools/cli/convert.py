"""must-records convert: what all conversions share, and sources of any origin; published datasets: `cli_datasets`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from must_tf.common.errors import UserError

if TYPE_CHECKING:
    from tfrecords_tools.sources import Source

app = typer.Typer()

Out = Annotated[str, typer.Option(help="Folder for the shards; the same command again goes on in it.")]
Root = Annotated[str, typer.Option(help="The dataset's folder.")]
Tasks = Annotated[str, typer.Option(help="Labels of these tasks only, names with commas between; empty: all.")]
Shards = Annotated[int, typer.Option(help="How many shards; 0: one per 256 images.")]
Workers = Annotated[int, typer.Option(help="Processes; 0: one per core. No matter for the result.")]
MaxDropRate = Annotated[float, typer.Option(help="Share of images, objects or a task's labels that may be dropped.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout; everything else goes to stderr.")]
Runner = Annotated[str, typer.Option(help="Make the shards on Apache Beam: DirectRunner, FlinkRunner, ...")]
RunnerOptions = Annotated[str, typer.Option(help="The runner's own, in quotes: '--project=... --region=...'.")]
# Options that do not change a byte of the records.
NO_MATTER = ("workers", "json", "runner", "runner_options", "shard", "force")


@app.command()
def rgbd(
    ctx: typer.Context,
    root: Root,
    out: Out,
    match: Annotated[str, typer.Option(help="Only photos whose stem matches this pattern, like 'train_*'.")] = "*",
    shards: Shards = 0,
    workers: Workers = 0,
    max_drop_rate: MaxDropRate = 0.01,
    json: Json = False,
    runner: Runner = "",
    runner_options: RunnerOptions = "",
) -> None:
    """rgb/, depth/, normal/, label/ of one --root: depth, normals, segmentation.

    Layout: ROOT/rgb/x.png; depth/x.png 16-bit millimetres; normal/x.png RGB = (n + 1) * 127.5; label/x.png class ids,
    named by ROOT/classes.txt.

    Example: must-records convert rgbd --root data/rooms --match 'train_*' --out records/rooms
    """
    from tfrecords_tools.sources.rgbd import Rgbd

    run(ctx, Rgbd(root, match))


@app.command()
def classes(
    ctx: typer.Context,
    root: Root,
    out: Out,
    limit: Annotated[int, typer.Option(help="Images of each class, in the order of their names; 0: all.")] = 0,
    shards: Shards = 0,
    workers: Workers = 0,
    max_drop_rate: MaxDropRate = 0.01,
    json: Json = False,
    runner: Runner = "",
    runner_options: RunnerOptions = "",
) -> None:
    """One folder of images per class: classification.

    Layout: ROOT/tulip/x.jpg; every folder directly in --root is one class.

    Example: must-records convert classes --root data/flowers/train --out records/flowers
    """
    from tfrecords_tools.sources.classes import Classes

    run(ctx, Classes(root, limit))


@app.command()
def images(
    ctx: typer.Context,
    root: Annotated[str, typer.Option(help="Folder of images at any depth, or an uncompressed .tar of them.")],
    out: Out,
    shards: Shards = 0,
    workers: Workers = 0,
    max_drop_rate: MaxDropRate = 0.01,
    json: Json = False,
    runner: Runner = "",
    runner_options: RunnerOptions = "",
) -> None:
    """All images below --root, without labels.

    Layout: any; the path below --root is the image's id.

    Example: must-records convert images --root data/photos.tar --out records/photos
    """
    from tfrecords_tools.sources.images import Images

    run(ctx, Images(root))


@app.command()
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
    json: Json = False,
    runner: Runner = "",
    runner_options: RunnerOptions = "",
) -> None:
    """Generated scenes with exact labels.

    Example: must-records convert scenes --domain wild --count 64 --seed 1 --tasks all --out records/scenes
    """
    from tfrecords_tools.sources.scenes import Scenes

    run(ctx, Scenes(domain, count, seed, size, tasks))


@app.command()
def tfds(
    ctx: typer.Context,
    name: Annotated[str, typer.Option(help="The dataset's name, like voc/2012 or coco/2017:1.1.0.")],
    split: Annotated[str, typer.Option(help="As TFDS writes it: train, or 'train[:10%]'.")],
    data_dir: Annotated[str, typer.Option(help="Where TFDS prepared it; nothing is downloaded.")],
    map_: Annotated[
        list[str], typer.Option("--map", help="TASK=FEATURE, or image=FEATURE; detection=objects for instance.")
    ],
    out: Out,
    classes: Annotated[
        list[str] | None, typer.Option(help="TASK=FILE: class names, one a line, where no feature names them.")
    ] = None,
    depth_scale: Annotated[float, typer.Option(help="Metres per unit of depth.")] = 1.0,
    shards: Shards = 0,
    workers: Workers = 0,
    max_drop_rate: MaxDropRate = 0.01,
    json: Json = False,
    runner: Runner = "",
    runner_options: RunnerOptions = "",
) -> None:
    """Any dataset of TensorFlow Datasets, by naming which feature is which label.

    Layout: DATA_DIR/voc/2012/5.0.0/*.tfrecord, as `tfds build` or download_and_prepare left it.

    Example: must-records convert tfds --name voc/2012 --split train --data-dir ~/tensorflow_datasets
    --map detection=objects --out records/voc
    """
    from tfrecords_tools.sources.tfds import Tfds

    named = _pairs("--map", map_), _pairs("--classes", classes or [])
    run(ctx, Tfds(name, split, data_dir, *named, depth_scale))


@app.command()
def mg(
    ctx: typer.Context,
    records: Annotated[str, typer.Option(help="Model Garden's record files, in quotes: 'DIR/train-*.tfrecord'.")],
    classes: Annotated[
        list[str],
        typer.Option(help="[TASK=]FILE: class names, one a line, or the COCO JSON; once per task, or for all."),
    ],
    out: Out,
    first_class: Annotated[int, typer.Option(help="The first label of classification; ImageNet's records: 1.")] = 0,
    shards: Shards = 0,
    workers: Workers = 0,
    max_drop_rate: MaxDropRate = 0.01,
    json: Json = False,
    runner: Runner = "",
    runner_options: RunnerOptions = "",
) -> None:
    """Model Garden's own records: classification, detection, masks, segmentation.

    Layout: TFRecord files of image/encoded, image/object/bbox/..., image/object/mask, image/class/label,
    image/segmentation/class/encoded.

    Example: must-records convert mg --records 'coco/train-*.tfrecord'
    --classes detection=instances_train2017.json --out records/coco
    """
    from tfrecords_tools.sources.mg import Mg

    run(ctx, Mg(records, _pairs("--classes", classes, bare=True), first_class))


def _pairs(option: str, given: list[str], bare: bool = False) -> tuple[tuple[str, str], ...]:
    """KEY=VALUE of a repeated option; a bare VALUE has an empty key, where that is allowed."""
    found = []
    for each in given:
        key, equals, value = each.partition("=")
        if not equals and bare:
            key, value = "", each
        if not value or not (key or bare):
            raise UserError(f"{option} {each!r}: {'[TASK=]FILE' if bare else 'TASK=NAME'} is expected.")
        found.append((key, value))
    if len({key for key, _ in found}) < len(found):
        raise UserError(f"{option} names a task twice: {' '.join(given)}.")
    return tuple(found)


def run(ctx: typer.Context, source: Source) -> None:
    """Converts and ends the command. The options that all conversions share are taken from `ctx`."""
    from tfrecords_tools.cli import outcome as report
    from tfrecords_tools.convert import run as convert

    given = ctx.params
    options = convert.Options(
        out=given["out"],
        shards=given["shards"],
        workers=given["workers"],
        max_drop_rate=given["max_drop_rate"],
        command=tuple(command(ctx)),
    )
    if given["runner"]:
        outcome = convert.run_on_beam(
            convert.Encoder(source), options, given["runner"], given["runner_options"].split()
        )
    else:
        outcome = convert.convert(source, options)
    report.show(outcome, options.out, given["json"])
    worst, of = outcome.worst()
    if worst > options.max_drop_rate:
        typer.echo(
            f"error: {worst:.1%} of the {of} were dropped, --max-drop-rate allows {options.max_drop_rate:.1%}. "
            "The records are complete otherwise.",
            err=True,
        )
        raise typer.Exit(1)


def command(ctx: typer.Context) -> list[str]:
    """The command as given, without what the records do not depend on."""
    words = ctx.command_path.split()
    for parameter in ctx.command.params:
        value = ctx.params.get(parameter.name or "")
        if parameter.name in NO_MATTER or value == parameter.default or value in (None, (), []):
            continue
        for one in value if isinstance(value, list) else [value]:
            words += [parameter.opts[0]] if one is True else [parameter.opts[0], str(one)]
    return words
