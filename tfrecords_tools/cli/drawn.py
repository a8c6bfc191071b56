"""must-records convert: files of annotation tools. Each source's docstring has the whole format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tfrecords_tools.cli.convert import conversion
from tfrecords_tools.cli.options import Tasks

if TYPE_CHECKING:
    from tfrecords_tools.sources import Source

app = typer.Typer()

Images = Annotated[str, typer.Option(help="Folder with the images.")]
Classes = Annotated[
    str, typer.Option(help="File with the class names in order, one per line; empty: all that occur, from A to Z.")
]


@app.command()
@conversion
def yolo(
    data: Annotated[str, typer.Option(help="data.yaml, which names the classes and the folders.")],
    split: Annotated[str, typer.Option(help="train, val or test.")] = "train",
    corners: Annotated[
        str, typer.Option(help="What lines of four corners are if there are no others: polygon (masks) or box.")
    ] = "",
    background: Annotated[
        bool, typer.Option("--background", help="Images without a label file show no object, instead of: unlabelled.")
    ] = False,
    tasks: Tasks = "",
) -> Source:
    """YOLO: detection from boxes; masks, too, from polygons.

    Layout: data.yaml with path, train, val, names; images/train/x.jpg and labels/train/x.txt with lines like
    '0 0.5 0.5 0.2 0.3' (class, x and y of the centre, width, height), or class and the corners of a polygon.

    Example: must-records convert yolo --data dataset/data.yaml --split val --out records/dataset-val
    """
    from tfrecords_tools.sources.drawn.yolo import Yolo
    from tfrecords_tools.sources.only import only

    return only(Yolo(data, split, corners, background), tasks)


@app.command()
@conversion
def labelme(
    annotations: Annotated[str, typer.Option(help="Folder with the JSON files.")],
    images: Annotated[str, typer.Option(help="Folder with the images, if they are not beside the JSON files.")] = "",
    classes: Classes = "",
    tasks: Tasks = "",
) -> Source:
    """Files of labelme: detection from rectangles; masks, too, from polygons, circles and brush masks.

    Layout: ANNOTATIONS/x.json and x.jpg beside it.

    Example: must-records convert labelme --annotations labelled --out records/labelled
    """
    from tfrecords_tools.sources.drawn.labelme import Labelme
    from tfrecords_tools.sources.only import only

    return only(Labelme(annotations, images, classes), tasks)


@app.command()
@conversion
def cvat(
    images: Images,
    annotations: Annotated[str, typer.Option(help="annotations.xml, exported as 'CVAT for images 1.1'.")],
    classes: Classes = "",
    tasks: Tasks = "",
) -> Source:
    """CVAT's XML: detection from boxes; masks from polygons, ellipses and masks; classification from tags.

    Layout: annotations.xml and IMAGES/x.jpg, as the XML names them.

    Example: must-records convert cvat --images task/images --annotations task/annotations.xml --out records/task
    """
    from tfrecords_tools.sources.drawn.cvat import Cvat
    from tfrecords_tools.sources.only import only

    return only(Cvat(images, annotations, classes), tasks)


@app.command()
@conversion
def via(
    images: Images,
    annotations: Annotated[str, typer.Option(help="The saved project, or annotations exported as JSON or CSV.")],
    attribute: Annotated[str, typer.Option(help="The region attribute that is the class, if there are several.")] = "",
    classes: Classes = "",
    tasks: Tasks = "",
) -> Source:
    """VIA (VGG Image Annotator): detection from rectangles; masks from polygons, circles and ellipses.

    Layout: the project and IMAGES/x.jpg, as it names them.

    Example: must-records convert via --images photos --annotations via_project.json --attribute kind --out records/via
    """
    from tfrecords_tools.sources.drawn.via import Via
    from tfrecords_tools.sources.only import only

    return only(Via(images, annotations, attribute, classes), tasks)


@app.command()
@conversion
def label_studio(
    images: Images,
    annotations: Annotated[str, typer.Option(help="The project's export as JSON or JSON-MIN.")],
    classes: Classes = "",
    tasks: Tasks = "",
) -> Source:
    """Label Studio's JSON: detection from rectangles; masks from polygons, ellipses, brushes; classification.

    Layout: the export and IMAGES/x.jpg, which are found by the last part of the tasks' URLs.

    Example: must-records convert label-studio --images photos --annotations project.json --out records/project
    """
    from tfrecords_tools.sources.drawn.label_studio import LabelStudio
    from tfrecords_tools.sources.only import only

    return only(LabelStudio(images, annotations, classes), tasks)


@app.command()
@conversion
def open_images(
    images: Images,
    boxes: Annotated[str, typer.Option(help="CSV of boxes: oidv6-train-annotations-bbox.csv.")],
    classes: Annotated[str, typer.Option(help="CSV of the classes: class-descriptions-boxable.csv.")],
    image_labels: Annotated[
        str, typer.Option(help="CSV of verified image labels; says which classes are not in an image.")
    ] = "",
    masks: Annotated[str, typer.Option(help="CSV of masks: train-annotations-object-segmentation.csv.")] = "",
    mask_images: Annotated[str, typer.Option(help="Folder with the masks' PNGs, at any depth.")] = "",
    tasks: Tasks = "",
) -> Source:
    """Open Images: detection and masks, each image for the classes that were looked for in it.

    Layout: IMAGES/0001eeaf4aed83f9.jpg, and the CSV files as published. A part of the images is enough.

    Example: must-records convert open-images --images train --boxes oidv6-train-annotations-bbox.csv
    --classes class-descriptions-boxable.csv --image-labels train-annotations-human-imagelabels-boxable.csv
    --out records/open-images
    """
    from tfrecords_tools.sources.drawn.open_images import OpenImages
    from tfrecords_tools.sources.only import only

    return only(OpenImages(images, boxes, classes, image_labels, masks, mask_images), tasks)
