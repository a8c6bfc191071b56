"""must-records convert: the command that all conversions share, and sources of any origin.

Published datasets are in `datasets`.
"""

from __future__ import annotations

import functools
import inspect
import math
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from must_tf.common.errors import UserError
from tfrecords_tools.cli.options import (
    ClassesOf,
    Drop,
    Exclude,
    Json,
    MaxDropRate,
    Name,
    Out,
    Part,
    Rename,
    Root,
    Runner,
    RunnerOptions,
    Shards,
    ValidationShare,
    Workers,
    command_line,
)

if TYPE_CHECKING:
    from tfrecords_tools.sources import Source

app = typer.Typer()


def _shared_options(
    out: Out,
    shards: Shards = 0,
    workers: Workers = 0,
    max_drop_rate: MaxDropRate = 0.01,
    name: Name = "",
    part: Part = "",
    validation_share: ValidationShare = 0.1,
    exclude: Exclude = None,
    classes_of: ClassesOf = "",
    rename: Rename = None,
    drop: Drop = None,
    json: Json = False,
    runner: Runner = "",
    runner_options: RunnerOptions = "",
) -> None:
    """The options of every conversion; only the signature is used."""


def conversion(make_source: Callable[..., Source]) -> Callable[..., None]:
    """Turns a function that returns a source into a command that converts it.

    The command has the function's options and those of `_shared_options`. Required options come first, so `--out`
    follows the function's required ones; the manifest stores the command in this order.
    """
    own = _parameters(make_source)
    own_names = {parameter.name for parameter in own}  # tfds has a --name of its own
    shared = [parameter for parameter in _parameters(_shared_options) if parameter.name not in own_names]
    context = inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    options = sorted([*own, *shared], key=lambda parameter: parameter.default is not inspect.Parameter.empty)

    @functools.wraps(make_source)
    def convert_source(ctx: typer.Context, **values: Any) -> None:
        source = make_source(**{name: values[name] for name in own_names})
        run(ctx, source, "" if "name" in own_names else values["name"])

    # Typer reads both.
    convert_source.__signature__ = inspect.Signature([context, *options])  # type: ignore[attr-defined]
    convert_source.__annotations__ = {parameter.name: parameter.annotation for parameter in (context, *options)}
    return convert_source


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """The parameters of a function with their annotations as types."""
    # Source is imported for type checkers only: importing it takes seconds.
    hints = typing.get_type_hints(function, localns={"Source": Any}, include_extras=True)
    parameters = inspect.signature(function).parameters.values()
    return [parameter.replace(annotation=hints[parameter.name]) for parameter in parameters]


Match = Annotated[
    str, typer.Option(help="Convert only photos whose name without suffix matches this pattern, like 'train_*'.")
]


@app.command()
@conversion
def rgbd(
    root: Root,
    match: Match = "*",
    depth_scale: Annotated[
        str, typer.Option(help="Metres per unit of depth, like 1/256; empty: 0.001, or 1 in files of floats.")
    ] = "",
    depth_unknown: Annotated[str, typer.Option(help="Values of unknown depth, separated by commas.")] = "0",
    depth_along: Annotated[
        str, typer.Option(help="Depth is the distance along the camera's axis, or along each pixel's ray: axis or ray.")
    ] = "axis",
    focal: Annotated[str, typer.Option(help="Focal length in pixels, FX[,FY[,CX,CY]]; needed for rays.")] = "",
    normals_axes: Annotated[
        str, typer.Option(help="Right, down and forward in the files' axes; x,-y,-z for OpenGL and Blender.")
    ] = "x,y,z",
    ignore: Annotated[str, typer.Option(help="Class values that are ignored, separated by commas, or none.")] = "255",
    match_time: Annotated[
        float, typer.Option(help="Names are times: match those that are at most this many seconds apart.")
    ] = 0.0,
) -> Source:
    """Photos with depth, normals and segmentation maps in folders side by side.

    Layout: ROOT/rgb/x.png; depth/x.png in 16-bit millimetres, or .npy, EXR or TIFF in metres; normal/x.png with
    RGB = (n + 1) * 127.5; label/x.png with class ids that ROOT/classes.txt names.

    Example: must-records convert rgbd --root data/rooms --match 'train_*' --out records/rooms
    """
    from tfrecords_tools.sources.rgbd import Rgbd
    from tfrecords_tools.sources.rgbd_maps import MapOptions

    options = MapOptions(depth_scale, depth_unknown, depth_along, focal, normals_axes, ignore, match_time)
    return Rgbd(root, match, options)


@app.command()
@conversion
def classes(
    root: Root,
    limit: Annotated[int, typer.Option(help="Images to convert per class, in the order of their names; 0: all.")] = 0,
) -> Source:
    """One folder of images per class: classification.

    Layout: ROOT/tulip/x.jpg; every folder directly inside --root is a class.

    Example: must-records convert classes --root data/flowers/train --out records/flowers
    """
    from tfrecords_tools.sources.classes import ClassFolders

    return ClassFolders(root, limit)


@app.command()
@conversion
def images(
    root: Annotated[str, typer.Option(help="Folder with images at any depth, or an uncompressed .tar of them.")],
    match: Match = "*",
) -> Source:
    """Images without labels: all image files below --root.

    Layout: any; an image's id is its path below --root.

    Example: must-records convert images --root data/photos.tar --out records/photos
    """
    from tfrecords_tools.sources.images import UnlabelledImages

    return UnlabelledImages(root, match)


@app.command()
@conversion
def scenes(
    domain: Annotated[str, typer.Option(help="Appearance of the scenes; also decides which labels they have.")],
    count: Annotated[int, typer.Option(help="Number of scenes.")],
    seed: Annotated[int, typer.Option(help="Random seed; two seeds share no scene.")],
    size: Annotated[int, typer.Option(help="Image side in pixels.")] = 128,
    tasks: Annotated[
        str, typer.Option(help="Tasks to label instead of the domain's own: names separated by commas, all or none.")
    ] = "",
) -> Source:
    """Generated scenes with exact labels.

    Example: must-records convert scenes --domain wild --count 64 --seed 1 --tasks all --out records/scenes
    """
    from tfrecords_tools.sources.scenes import Scenes

    return Scenes(domain, count, seed, size, tasks)


@app.command()
@conversion
def tfds(
    name: Annotated[str, typer.Option(help="The dataset's name, like voc/2012 or coco/2017:1.1.0.")],
    split: Annotated[str, typer.Option(help="The split in TFDS notation: train, or 'train[:10%]'.")],
    data_dir: Annotated[str, typer.Option(help="Folder in which TFDS prepared it; nothing is downloaded.")],
    map_: Annotated[
        list[str], typer.Option("--map", help="TASK=FEATURE or image=FEATURE, like detection=objects; repeatable.")
    ],
    classes: Annotated[
        list[str] | None, typer.Option(help="TASK=FILE: class names, one per line, if no feature names them.")
    ] = None,
    depth_scale: Annotated[float, typer.Option(help="Metres per unit of depth.")] = 1.0,
) -> Source:
    """Any dataset of TensorFlow Datasets: --map says which feature holds which label.

    Layout: DATA_DIR/voc/2012/5.0.0/*.tfrecord, as `tfds build` or download_and_prepare writes it.

    Example: must-records convert tfds --name voc/2012 --split train --data-dir ~/tensorflow_datasets
    --map detection=objects --out records/voc
    """
    from tfrecords_tools.sources.tfds import Tfds

    features, class_files = _pairs("--map", map_), _pairs("--classes", classes or [])
    return Tfds(name, split, data_dir, features, class_files, depth_scale)


@app.command()
@conversion
def mg(
    records: Annotated[str, typer.Option(help="Model Garden's record files, in quotes: 'DIR/train-*.tfrecord'.")],
    classes: Annotated[
        list[str],
        typer.Option(
            help="[TASK=]FILE: class names, one per line, or the COCO JSON; repeat per task, or give one file for all."
        ),
    ],
    first_class: Annotated[int, typer.Option(help="First label of classification; 1 for ImageNet's records.")] = 0,
) -> Source:
    """Model Garden's own records: classification, detection, masks, segmentation.

    Layout: TFRecord files with image/encoded, image/object/bbox/..., image/object/mask, image/class/label,
    image/segmentation/class/encoded.

    Example: must-records convert mg --records 'coco/train-*.tfrecord'
    --classes detection=instances_train2017.json --out records/coco
    """
    from tfrecords_tools.sources.published.mg import Mg

    return Mg(records, _pairs("--classes", classes, bare=True), first_class)


def _pairs(option: str, words: Sequence[str], bare: bool = False) -> tuple[tuple[str, str], ...]:
    """Parses KEY=VALUE of a repeated option; with `bare`, a VALUE without a key is allowed and its key is empty."""
    pairs = []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals and bare:
            key, value = "", word
        if not value or not (key or bare):
            raise UserError(f"{option} {word!r}: expected {'[TASK=]FILE' if bare else 'TASK=NAME'}.")
        pairs.append((key, value))
    if len({key for key, _ in pairs}) < len(pairs):
        raise UserError(f"{option} names a task twice: {' '.join(words)}. Give each task once.")
    return tuple(pairs)


def relabelled(source: Source, values: Mapping[str, Any]) -> Source:
    """Applies the shared options that change the classes."""
    from tfrecords_tools.convert import relabelled as classes

    rename, drop = (values.get(option) or () for option in ("rename", "drop"))
    given = {"classes"} if values.get("classes") else set()
    options = {option for option in ("tasks", "classes") if option in values} - given
    return classes.relabelled(source, values.get("classes_of") or "", rename, drop, options)


def run(ctx: typer.Context, source: Source, name: str) -> None:
    """Converts the source under a name with the shared options of `ctx`, and ends the command."""
    from tfrecords_tools.cli import report
    from tfrecords_tools.convert import run as convert
    from tfrecords_tools.sources import named, selected

    values = ctx.params
    given = named.named(relabelled(source, values), name)
    source = selected.selected(given, values["part"], values["validation_share"], values["exclude"] or ())
    options = convert.Options(
        out=values["out"],
        shards=values["shards"],
        workers=values["workers"],
        max_drop_rate=values["max_drop_rate"],
        command=tuple(command_line(ctx)),
    )
    if values["runner"]:
        beam_options = values["runner_options"].split()
        outcome = convert.run_on_beam(convert.Encoder(source), options, values["runner"], beam_options)
    else:
        outcome = convert.convert(source, options)
    report.show(outcome, options.out, values["json"])
    rate, kind = outcome.worst()
    if rate > options.max_drop_rate:
        typer.echo(
            f"error: {rate:.1%} of the {kind} were dropped; --max-drop-rate allows {options.max_drop_rate:.1%}. "
            "All other records were written. Repair what was dropped, or allow it with --max-drop-rate "
            f"{math.ceil(rate * 1000) / 1000:g} (in a plan of `must run`, max_drop_rate of the dataset).",
            err=True,
        )
        raise typer.Exit(1)
