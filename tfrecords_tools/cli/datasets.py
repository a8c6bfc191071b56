"""must-records convert: published datasets in their published layout. Each source's docstring has the whole layout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tfrecords_tools.cli.convert import conversion
from tfrecords_tools.cli.options import Root, Tasks

if TYPE_CHECKING:
    from tfrecords_tools.sources import Source

app = typer.Typer()


@app.command()
@conversion
def coco(
    images: Annotated[str, typer.Option(help="Folder with the images.")],
    annotations: Annotated[str, typer.Option(help="Instances JSON.")],
    panoptic: Annotated[str, typer.Option(help="Folder with panoptic PNGs; their JSON is beside it.")] = "",
    stuff: Annotated[
        str, typer.Option(help="Stuff JSON, or folder with stuff PNGs; their JSON or labels.txt is beside it.")
    ] = "",
    full_masks: Annotated[
        bool, typer.Option("--full-masks", help="Also write full-image masks for Model Garden's decoder.")
    ] = False,
    boxes: Annotated[
        str,
        typer.Option(help="Form of the boxes: sizes [x, y, w, h], corners or normalised; empty: found out."),
    ] = "",
    tasks: Tasks = "",
) -> Source:
    """COCO and JSON files in its format: detection and masks; segmentation with --panoptic or --stuff.

    Layout: IMAGES/000000000009.jpg, as named in the JSON.

    Example: must-records convert coco --images train2017 --annotations annotations/instances_train2017.json
    --panoptic annotations/panoptic_train2017 --out records/coco
    """
    from tfrecords_tools.sources.coco.coco import Coco
    from tfrecords_tools.sources.only import only

    return only(Coco(images, annotations, panoptic, full_masks, stuff, boxes), tasks)


@app.command()
@conversion
def objects365(
    images: Annotated[str, typer.Option(help="Folder with patch0/, patch1/, ...")],
    annotations: Annotated[str, typer.Option(help="zhiyuan_objv2_train.json, or the file of another split.")],
) -> Source:
    """Objects365: detection. It has boxes only, so its images stay unlabelled for masks.

    Layout: IMAGES/patch8/objects365_v1_00420917.jpg, which the JSON calls images/v1/patch8/objects365_v1_00420917.jpg.

    Example: must-records convert objects365 --images Objects365/train
    --annotations Objects365/zhiyuan_objv2_train.json --out records/objects365
    """
    from tfrecords_tools.sources.coco.objects365 import Objects365

    return Objects365(images, annotations)


@app.command()
@conversion
def voc(
    root: Annotated[str, typer.Option(help="Folder of one year: JPEGImages/, Annotations/, ImageSets/, ...")],
    split: Annotated[str, typer.Option(help="Image list: train, val, trainval or test.")] = "train",
    image_set: Annotated[str, typer.Option(help="Folder of the list in ImageSets: Main or Segmentation.")] = "Main",
    classes: Annotated[str, typer.Option(help="File with class names, one per line, instead of VOC's 20.")] = "",
    tasks: Tasks = "",
) -> Source:
    """PASCAL VOC: detection; segmentation and masks for the images that have them.

    Layout: ROOT/JPEGImages/x.jpg, Annotations/x.xml, SegmentationClass/x.png, SegmentationObject/x.png,
    ImageSets/Main/train.txt.

    Example: must-records convert voc --root VOCdevkit/VOC2012 --split trainval --out records/voc
    """
    from tfrecords_tools.sources.only import only
    from tfrecords_tools.sources.voc import Voc

    return only(Voc(root, split, image_set, classes), tasks)


@app.command()
@conversion
def ade20k(
    root: Annotated[str, typer.Option(help="ADEChallengeData2016: images/, annotations/, objectInfo150.txt.")],
    split: Annotated[str, typer.Option(help="training or validation.")] = "training",
) -> Source:
    """ADE20K as SceneParsing-150: segmentation.

    Layout: ROOT/images/training/x.jpg, annotations/training/x.png (0 ignored, 1..150), objectInfo150.txt.

    Example: must-records convert ade20k --root ADEChallengeData2016 --split validation --out records/ade20k-val
    """
    from tfrecords_tools.sources.published.ade20k import Ade20k

    return Ade20k(root, split)


@app.command()
@conversion
def cityscapes(
    root: Annotated[str, typer.Option(help="Folder with leftImg8bit/ and gtFine/.")],
    split: Annotated[str, typer.Option(help="train, val, or test (its labels are withheld).")] = "train",
    tasks: Tasks = "",
) -> Source:
    """Cityscapes: segmentation with 19 classes; detection and masks for the 8 of them that are things.

    Layout: ROOT/leftImg8bit/train/aachen/x_leftImg8bit.png, gtFine/train/aachen/x_gtFine_labelIds.png and
    x_gtFine_instanceIds.png.

    Example: must-records convert cityscapes --root cityscapes --split val --out records/cityscapes-val
    """
    from tfrecords_tools.sources.cityscapes import Cityscapes
    from tfrecords_tools.sources.only import only

    return only(Cityscapes(root, split), tasks)


@app.command()
@conversion
def imagenet(
    root: Annotated[str, typer.Option(help="Folder with synset folders or images, or the .tar as published.")],
    labels: Annotated[
        str, typer.Option(help="Synsets of images without folders: one per line, or name and synset.")
    ] = "",
    classes: Annotated[
        str, typer.Option(help="All synsets, one per line; needed if only some of them are in --root.")
    ] = "",
) -> Source:
    """ImageNet: classification. Class ids are the positions of the sorted synsets, starting at 0.

    Layout: ROOT/n01440764/x.JPEG, or images without folders and --labels; or a tar of either, as published (a tar of
    tars).

    Example: must-records convert imagenet --root ILSVRC2012_img_val.tar
    --labels imagenet_2012_validation_synset_labels.txt --out records/imagenet-val
    """
    from tfrecords_tools.sources.imagenet import Imagenet

    return Imagenet(root, labels, classes)


@app.command()
@conversion
def cifar100(
    root: Annotated[str, typer.Option(help="The folder cifar-100-python with train, test and meta.")],
    split: Annotated[str, typer.Option(help="train or test.")] = "train",
) -> Source:
    """CIFAR-100: classification into its 100 fine classes.

    Layout: ROOT/train, test and meta, the pickles of the Python version.

    Example: must-records convert cifar100 --root cifar-100-python --split test --out records/cifar100-test
    """
    from tfrecords_tools.sources.published.cifar100 import Cifar100

    return Cifar100(root, split)


@app.command()
@conversion
def nyu(
    root: Annotated[
        str, typer.Option(help="nyu_depth_v2_labeled.mat, or a folder with a folder of .h5 files per split.")
    ],
    split: Annotated[str, typer.Option(help="For the .mat: train, test or all; otherwise a folder's name.")] = "train",
    splits: Annotated[
        str, typer.Option(help="splits.mat, if it is not beside the .mat, or a text file with frame numbers.")
    ] = "",
    classes: Annotated[
        str, typer.Option(help="File with names to keep for segmentation, out of the 894: NAME [TAB CLASS] per line.")
    ] = "",
) -> Source:
    """NYU Depth V2: depth; segmentation with --classes.

    Layout: nyu_depth_v2_labeled.mat with splits.mat beside it; or ROOT/train/basement_0001a/00001.h5 (rgb, depth).

    Example: must-records convert nyu --root nyu_depth_v2_labeled.mat --split test --out records/nyu-test
    """
    from tfrecords_tools.sources.published.nyu import Nyu

    return Nyu(root, split, splits, classes)


@app.command()
@conversion
def diode(
    root: Root,
    tasks: Tasks = "",
) -> Source:
    """DIODE: depth and surface normals. --root is train, val or any folder below them.

    Layout: ROOT/.../x.png, x_depth.npy, x_depth_mask.npy, x_normal.npy.

    Example: must-records convert diode --root diode/val/indoors --out records/diode-val
    """
    from tfrecords_tools.sources.diode import Diode
    from tfrecords_tools.sources.only import only

    return only(Diode(root), tasks)


@app.command()
@conversion
def kitti(
    images: Annotated[str, typer.Option(help="Folder of the raw data, or of the selected validation images.")],
    depth: Annotated[str, typer.Option(help="Folder of the annotated depth of one split, or of the selected maps.")],
) -> Source:
    """KITTI: depth, known where the laser has measured.

    Layout: DEPTH/2011_09_26_drive_0001_sync/proj_depth/groundtruth/image_02/0000000005.png and
    IMAGES/2011_09_26/2011_09_26_drive_0001_sync/image_02/data/0000000005.png.

    Example: must-records convert kitti --images raw --depth data_depth_annotated/val --out records/kitti-val
    """
    from tfrecords_tools.sources.published.kitti import Kitti

    return Kitti(images, depth)


@app.command()
@conversion
def hypersim(
    root: Annotated[str, typer.Option(help="Folder of the scenes ai_001_001, ai_001_002, ...")],
    tasks: Tasks = "",
) -> Source:
    """Hypersim: depth and surface normals of rendered rooms.

    Layout: ROOT/ai_001_001/images/scene_cam_00_final_preview/frame.0000.tonemap.jpg and
    scene_cam_00_geometry_hdf5/frame.0000.depth_meters.hdf5, frame.0000.normal_cam.hdf5.

    Example: must-records convert hypersim --root hypersim --out records/hypersim
    """
    from tfrecords_tools.sources.only import only
    from tfrecords_tools.sources.published.hypersim import Hypersim

    return only(Hypersim(root), tasks)


@app.command()
@conversion
def webdataset(
    archives: Annotated[str, typer.Option(help="Tar archives, in quotes: 'DIR/train-*.tar'.")],
    classes: Annotated[str, typer.Option(help="File with the class names; empty: their numbers are the names.")] = "",
) -> Source:
    """WebDataset: images in tar archives; classification if samples have a class.

    Layout: 000000.jpg and 000000.cls (the number of its class) in uncompressed tar archives.

    Example: must-records convert webdataset --archives 'cc12m/*.tar' --out records/cc12m
    """
    from tfrecords_tools.sources.published.webdataset import WebDataset

    return WebDataset(archives, classes)


@app.command()
@conversion
def hugging_face(
    data: Annotated[
        str, typer.Option(help="The .parquet or .arrow files of a split, in quotes: 'DIR/train-*.parquet'.")
    ],
    image: Annotated[str, typer.Option(help="The column with the images, if there are several.")] = "",
    label: Annotated[str, typer.Option(help="The column with the class of the image, if there are several.")] = "",
    objects: Annotated[str, typer.Option(help="The column with objects, if there are several.")] = "",
    boxes: Annotated[
        str, typer.Option(help="Numbers of a box: sizes, corners, relative-sizes or relative-corners; empty: find out.")
    ] = "",
    tasks: Tasks = "",
) -> Source:
    """Datasets of Hugging Face on disk: classification and detection.

    Layout: DIR/data/train-00000-of-00001.parquet, or DIR/train/data-00000-of-00001.arrow as save_to_disk writes it.

    Example: must-records convert hugging-face --data 'cppe-5/data/train-*.parquet' --out records/cppe-5
    """
    from tfrecords_tools.sources.only import only
    from tfrecords_tools.sources.published.hugging_face import HuggingFace

    return only(HuggingFace(data, image, label, objects, boxes), tasks)


@app.command()
@conversion
def taskonomy(
    root: Root,
    tasks: Tasks = "",
) -> Source:
    """Taskonomy, and datasets in Omnidata's layout: depth and surface normals.

    Layout: ROOT/rgb/.../point_0_view_0_domain_rgb.png, depth_zbuffer/.../point_0_view_0_domain_depth_zbuffer.png,
    normal/.../point_0_view_0_domain_normal.png; or ROOT/beechwood_rgb/rgb/..., as Taskonomy's archives have it.

    Example: must-records convert taskonomy --root omnidata --out records/omnidata
    """
    from tfrecords_tools.sources.only import only
    from tfrecords_tools.sources.published.taskonomy import Taskonomy

    return only(Taskonomy(root), tasks)
