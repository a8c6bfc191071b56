"""A tiny dataset in each format of annotation tools: the same photos and the same boxes and masks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.support.converting import dump
from tests.support.datasets.drawn import photos, write
from tfrecords_tools.sources import Source
from tfrecords_tools.sources.drawn.cvat import Cvat
from tfrecords_tools.sources.drawn.label_studio import LabelStudio
from tfrecords_tools.sources.drawn.labelme import Labelme
from tfrecords_tools.sources.drawn.open_images import OpenImages
from tfrecords_tools.sources.drawn.via import Via
from tfrecords_tools.sources.drawn.yolo import Yolo

NAMES = tuple(f"{letter}.jpg" for letter in "abcdefg")
# In each photo a cat as a box, and a dog as a polygon of five corners around it.
BOX = (48, 16, 80, 48)
CORNERS = ((32, 16), (64, 16), (64, 48), (40, 48), (32, 40))


def yolo(root: Path) -> Source:
    """YOLO."""
    x0, y0, x1, y1 = BOX
    cat = f"0 {(x0 + x1) / 256} {(y0 + y1) / 128} {(x1 - x0) / 128} {(y1 - y0) / 64}\n"
    dog = "1 " + " ".join(f"{x / 128} {y / 64}" for x, y in CORNERS)
    photos(root / "images", *NAMES)
    for name in NAMES:
        write(root / "labels" / f"{name[0]}.txt", cat + dog)
    return Yolo(write(root / "data.yaml", "train: images\nnames: [cat, dog]\n"))


def labelme(root: Path) -> Source:
    """One JSON per photo."""
    photos(root, *NAMES)
    cat = {"label": "cat", "shape_type": "rectangle", "points": [BOX[:2], BOX[2:]]}
    dog = {"label": "dog", "shape_type": "polygon", "points": CORNERS}
    for name in NAMES:
        content = {"imagePath": name, "imageHeight": 64, "imageWidth": 128, "shapes": [cat, dog]}
        dump(root / f"{name[0]}.json", content)
    return Labelme(str(root))


def cvat(root: Path) -> Source:
    """CVAT for images."""
    photos(root / "images", *NAMES)
    cat = f'<box label="cat" xtl="{BOX[0]}" ytl="{BOX[1]}" xbr="{BOX[2]}" ybr="{BOX[3]}"/>'
    dog = f'<polygon label="dog" points="{";".join(f"{x},{y}" for x, y in CORNERS)}"/>'
    images = "".join(f'<image name="{name}" width="128" height="64">{cat}{dog}</image>' for name in NAMES)
    return Cvat(f"{root}/images", write(root / "a.xml", f"<annotations>{images}</annotations>"))


def via(root: Path) -> Source:
    """VIA."""
    photos(root / "images", *NAMES)
    x0, y0, x1, y1 = BOX
    cat = {"name": "rect", "x": x0, "y": y0, "width": x1 - x0, "height": y1 - y0}
    xs, ys = zip(*CORNERS, strict=True)
    dog = {"name": "polygon", "all_points_x": xs, "all_points_y": ys}
    regions = [
        {"shape_attributes": shape, "region_attributes": {"kind": kind}} for shape, kind in ((cat, "cat"), (dog, "dog"))
    ]
    content = {name: {"filename": name, "regions": regions} for name in NAMES}
    return Via(f"{root}/images", dump(root / "a.json", content))


def label_studio(root: Path) -> Source:
    """Label Studio."""
    photos(root / "images", *NAMES)
    x0, y0, x1, y1 = (value / side * 100 for value, side in zip(BOX, (128, 64, 128, 64), strict=True))
    cat = {"x": x0, "y": y0, "width": x1 - x0, "height": y1 - y0, "rectanglelabels": ["cat"]}
    dog = {"points": [[x / 1.28, y / 0.64] for x, y in CORNERS], "polygonlabels": ["dog"]}
    size = {"original_width": 128, "original_height": 64}
    results = [{"type": "rectanglelabels", "value": cat} | size, {"type": "polygonlabels", "value": dog} | size]
    tasks = [{"data": {"image": f"/x/{name}"}, "annotations": [{"result": results}]} for name in NAMES]
    return LabelStudio(f"{root}/images", dump(root / "a.json", tasks))


def open_images(root: Path) -> Source:
    """Open Images, whose masks are files; boxes only here."""
    photos(root / "images", *NAMES)
    boxes = {"/m/1": BOX, "/m/2": (32, 16, 64, 48)}
    rows = [
        f"{name[0]},{label},{x0 / 128},{x1 / 128},{y0 / 64},{y1 / 64}"
        for name in NAMES
        for label, (x0, y0, x1, y1) in boxes.items()
    ]
    header = "ImageID,LabelName,XMin,XMax,YMin,YMax"
    csv = write(root / "boxes.csv", "\n".join([header, *rows]))
    return OpenImages(f"{root}/images", csv, write(root / "classes.csv", "/m/1,cat\n/m/2,dog\n"))


FORMATS: dict[str, Callable[[Path], Source]] = {
    each.__name__: each for each in (yolo, labelme, cvat, via, label_studio, open_images)
}
