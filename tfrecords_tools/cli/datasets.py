"""must-records convert: published datasets in their published layout. Each source's docstring has the whole layout."""

from __future__ import annotations

from typing import Annotated

import typer

from tfrecords_tools.cli.convert import Json, MaxDropRate, Out, Root, Runner, RunnerOptions, Shards, Tasks, Workers, run

app = typer.Typer()


@app.command()
def coco(
    ctx: typer.Context,
    images: Annotated[str, typer.Option(help="Folder of the images.")],
    annotations: Annotated[str, typer.Option(help="Instances JSON.")],
    out: Out,
    panoptic: Annotated[str, typer.Option(help="Folder of panoptic PNGs, its JSON beside it.")] = "",
    stuff: Annotated[str, typer.Option(help="Stuff JSON, or folder of stuff PNGs, JSON or labels.txt beside it.")] = "",
    full_masks: Annotated[
        bool, typer.Option("--full-masks", help="Also write full masks, for Model Garden's decoder.")
    ] = False,
    tasks: Tasks = "",
    shards: Shards = 0,
    workers: Workers = 0,
    max_drop_rate: MaxDropRate = 0.01,
    json: Json = False,
    runner: Runner = "",
    runner_options: RunnerOptions = "",
) -> None:
    """COCO, and any JSON of its form: detection and masks; with --panoptic or --stuff segmentation.

    Layout: IMAGES/000000000009.jpg as the JSON names it.

    Example: must-records convert coco --images train2017 --annotations annotations/instances_train2017.json
    --panoptic annotations/panoptic_train2017 --out records/coco
    """
    from tfrecords_tools.sources.coco.coco import Coco
    from tfrecords_tools.sources.only import only

    run(ctx, only(Coco(images, annotations, panoptic, full_masks, stuff), tasks))


@app.command()
def objects365(
    ctx: typer.Context,
    images: Annotated[str, typer.Option(help="Folder that holds patch0/, patch1/, ...")],
    annotations: Annotated[str, typer.Option(help="zhiyuan_objv2_train.json, or another split's.")],
    out: Out,
    shards: Shards = 0,
    workers: Workers = 0,
    max_drop_rate: MaxDropRate = 0.01,
    json: Json = False,
    runner: Runner = "",
    runner_options: RunnerOptions = "",
) -> None:
    """Objects365: detection. Boxes alone, so its images stay unlabelled for masks.

    Layout: IMAGES/patch8/objects365_v1_00420917.jpg, which the JSON calls images/v1/patch8/objects365_v1_00420917.jpg.

    Example: must-records convert objects365 --images Objects365/train
    --annotations Objects365/zhiyuan_objv2_train.json --out records/objects365
    """
    from tfrecords_tools.sources.coco.objects365 import Objects365

    run(ctx, Objects365(images, annotations))


@app.command()
def voc(
    ctx: typer.Context,
    root: Annotated[str, typer.Option(help="Folder of one year: JPEGImages/, Annotations/, ImageSets/, ...")],
    out: Out,
    split: Annotated[str, typer.Option(help="The list's name: train, val, trainval, test.")] = "train",
    image_set: Annotated[str, typer.Option(help="The list's folder in ImageSets: Main or Segmentation.")] = "Main",
    classes: Annotated[str, typer.Option(help="Other class names than VOC's 20, one a line.")] = "",
    tasks: Tasks = "",
    shards: Shards = 0,
    workers: Workers = 0,
    max_drop_rate: MaxDropRate = 0.01,
    json: Json = False,
    runner: Runner = "",
    runner_options: RunnerOptions = "",
) -> None:
    """PASCAL VOC: detection; segmentation and masks of the images that have them.

    Layout: ROOT/JPEGImages/x.jpg, Annotations/x.xml, SegmentationClass/x.png, SegmentationObject/x.png,
    ImageSets/Main/train.txt.

    Example: must-records convert voc --root VOCdevkit/VOC2012 --split trainval --out records/voc
    """
    from tfrecords_tools.sources.only import only
    from tfrecords_tools.sources.voc import Voc

    run(ctx, only(Voc(root, split, image_set, classes), tasks))


@app.command()
def ade20k(
    ctx: typer.Context,
    root: Annotated[str, typer.Option(help="ADEChallengeData2016: images/, annotations/, objectInfo150.txt.")],
    out: Out,
    split: Annotated[str, typer.Option(help="training or validation.")] = "training",
    shards: Shards = 0,
    workers: Workers = 0,
    max_drop_rate: MaxDropRate = 0.01,
    json: Json = False,
    runner: Runner = "",
    runner_options: RunnerOptions = "",
) -> None:
    """ADE20K as SceneParsing-150: segmentation.

    Layout: ROOT/images/training/x.jpg, annotations/training/x.png (0 ignored, 1..150), objectInfo150.txt.

    Example: must-records convert ade20k --root ADEChallengeData2016 --split validation --out records/ade20k-val
    """
    from tfrecords_tools.sources.ade20k import Ade20k

    run(ctx, Ade20k(root, split))


@app.command()
def cityscapes(
    ctx: typer.Context,
    root: Annotated[str, typer.Option(help="Folder with leftImg8bit/ and gtFine/.")],
    out: Out,
    split: Annotated[str, typer.Option(help="train, val, or test (whose labels are withheld).")] = "train",
    tasks: Tasks = "",
    shards: Shards = 0,
    workers: Workers = 0,
    max_drop_rate: MaxDropRate = 0.01,
    json: Json = False,
    runner: Runner = "",
    runner_options: RunnerOptions = "",
) -> None:
    """Cityscapes: segmentation of 19 classes; detection and masks of the 8 that are things.

    Layout: ROOT/leftImg8bit/train/aachen/x_leftImg8bit.png, gtFine/train/aachen/x_gtFine_labelIds.png and
    x_gtFine_instanceIds.png.

    Example: must-records convert cityscapes --root cityscapes --split val --out records/cityscapes-val
    """
    from tfrecords_tools.sources.cityscapes import Cityscapes
    from tfrecords_tools.sources.only import only

    run(ctx, only(Cityscapes(root, split), tasks))


@app.command()
def imagenet(
    ctx: typer.Context,
    root: Annotated[str, typer.Option(help="Folder of synset folders or of images, or the .tar as published.")],
    out: Out,
    labels: Annotated[str, typer.Option(help="Synsets of flat images: one per line, or name and synset.")] = "",
    classes: Annotated[str, typer.Option(help="All synsets, one per line; needed for a part of the set.")] = "",
    shards: Shards = 0,
    workers: Workers = 0,
    max_drop_rate: MaxDropRate = 0.01,
    json: Json = False,
    runner: Runner = "",
    runner_options: RunnerOptions = "",
) -> None:
    """ImageNet: classification. Class ids are the places in the sorted synsets, from 0 on.

    Layout: ROOT/n01440764/x.JPEG, or flat images with --labels; or a tar of either, as published (a tar of tars).

    Example: must-records convert imagenet --root ILSVRC2012_img_val.tar
    --labels imagenet_2012_validation_synset_labels.txt --out records/imagenet-val
    """
    from tfrecords_tools.sources.imagenet import Imagenet

    run(ctx, Imagenet(root, labels, classes))


@app.command()
def cifar100(
    ctx: typer.Context,
    root: Annotated[str, typer.Option(help="cifar-100-python: train, test, meta.")],
    out: Out,
    split: Annotated[str, typer.Option(help="train or test.")] = "train",
    shards: Shards = 0,
    workers: Workers = 0,
    max_drop_rate: MaxDropRate = 0.01,
    json: Json = False,
    runner: Runner = "",
    runner_options: RunnerOptions = "",
) -> None:
    """CIFAR-100: classification into its 100 fine classes.

    Layout: ROOT/train, test and meta, the pickles of the version for Python.

    Example: must-records convert cifar100 --root cifar-100-python --split test --out records/cifar100-test
    """
    from tfrecords_tools.sources.cifar100 import Cifar100

    run(ctx, Cifar100(root, split))


@app.command()
def nyu(
    ctx: typer.Context,
    root: Annotated[str, typer.Option(help="nyu_depth_v2_labeled.mat, or a folder of .h5 files by split.")],
    out: Out,
    split: Annotated[str, typer.Option(help="Of the .mat: train, test, all; else a folder's name.")] = "train",
    splits: Annotated[str, typer.Option(help="splits.mat if not beside the .mat, or a text file of frames.")] = "",
    classes: Annotated[str, typer.Option(help="Segmentation's names out of the 894, one a line [TAB class].")] = "",
    shards: Shards = 0,
    workers: Workers = 0,
    max_drop_rate: MaxDropRate = 0.01,
    json: Json = False,
    runner: Runner = "",
    runner_options: RunnerOptions = "",
) -> None:
    """NYU Depth V2: depth; with --classes segmentation.

    Layout: nyu_depth_v2_labeled.mat with splits.mat beside it; or ROOT/train/basement_0001a/00001.h5 (rgb, depth).

    Example: must-records convert nyu --root nyu_depth_v2_labeled.mat --split test --out records/nyu-test
    """
    from tfrecords_tools.sources.nyu import Nyu

    run(ctx, Nyu(root, split, splits, classes))


@app.command()
def diode(
    ctx: typer.Context,
    root: Root,
    out: Out,
    tasks: Tasks = "",
    shards: Shards = 0,
    workers: Workers = 0,
    max_drop_rate: MaxDropRate = 0.01,
    json: Json = False,
    runner: Runner = "",
    runner_options: RunnerOptions = "",
) -> None:
    """DIODE: depth and surface normals; --root is train or val, or any folder below.

    Layout: ROOT/.../x.png, x_depth.npy, x_depth_mask.npy, x_normal.npy.

    Example: must-records convert diode --root diode/val/indoors --out records/diode-val
    """
    from tfrecords_tools.sources.diode import Diode
    from tfrecords_tools.sources.only import only

    run(ctx, only(Diode(root), tasks))
