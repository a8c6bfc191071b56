"""Datasets of any number of tiny images in every layout that annotation tools and publishers use.

All images are links to one file, because only their number matters here. Each has six boxes, or maps.
"""

from __future__ import annotations

import csv
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pyarrow as pa
from pyarrow import parquet

from tfrecords_tools.sources import Source
from tfrecords_tools.sources.coco.coco import Coco
from tfrecords_tools.sources.drawn.cvat import Cvat
from tfrecords_tools.sources.drawn.label_studio import LabelStudio
from tfrecords_tools.sources.drawn.labelme import Labelme
from tfrecords_tools.sources.drawn.open_images import OpenImages
from tfrecords_tools.sources.drawn.via import Via
from tfrecords_tools.sources.drawn.yolo import Yolo
from tfrecords_tools.sources.imagenet import Imagenet
from tfrecords_tools.sources.published.hugging_face import HuggingFace
from tfrecords_tools.sources.published.hypersim import Hypersim
from tfrecords_tools.sources.published.kitti import Kitti
from tfrecords_tools.sources.published.taskonomy import Taskonomy
from tfrecords_tools.sources.published.webdataset import WebDataset

HEIGHT, WIDTH = 24, 32
BOXES = [(2 + 3 * place, 4, 8, 9) for place in range(6)]  # x, y, width, height
CLASSES = ("cat", "dog")
PER_FOLDER = 1000


def photo() -> bytes:
    """Returns a small JPEG."""
    pixels = np.random.default_rng(0).integers(0, 256, [HEIGHT, WIDTH, 3], np.uint8)
    return cv2.imencode(".jpg", pixels)[1].tobytes()


def _file(root: Path, name: str, content: bytes) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _links(original: Path, folder: Path, names: Iterator[str]) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        os.link(original, path)


def _photos(root: Path, count: int, folder: str = "images") -> None:
    _links(_file(root, "photo.jpg", photo()), root / folder, (f"{number:06}.jpg" for number in range(count)))


def _json(root: Path, name: str, begin: str, entries: Iterator[Any], end: str) -> str:
    with open(root / name, "w") as file:
        file.write(begin)
        for number, entry in enumerate(entries):
            file.write((", " if number else "") + (entry if isinstance(entry, str) else json.dumps(entry)))
        file.write(end)
    return str(root / name)


def yolo(root: Path, count: int) -> Source:
    """Writes label files, which are links too."""
    _photos(root, count)
    lines = "".join(
        f"0 {(x + w / 2) / WIDTH} {(y + h / 2) / HEIGHT} {w / WIDTH} {h / HEIGHT}\n" for x, y, w, h in BOXES
    )
    _links(_file(root, "label", lines.encode()), root / "labels", (f"{number:06}.txt" for number in range(count)))
    data = _file(root, "data.yaml", b"train: images\nnames: [cat, dog]\n")
    return Yolo(str(data))


def labelme(root: Path, count: int) -> Source:
    """Writes one JSON per image."""
    _photos(root, count)
    shapes = [{"label": "cat", "shape_type": "rectangle", "points": [[x, y], [x + w, y + h]]} for x, y, w, h in BOXES]
    content = {"shapes": shapes, "imagePath": "", "imageHeight": HEIGHT, "imageWidth": WIDTH}
    original = _file(root, "label", json.dumps(content).encode())
    _links(original, root / "images", (f"{number:06}.json" for number in range(count)))
    return Labelme(f"{root}/images")


def cvat(root: Path, count: int) -> Source:
    """Writes one XML."""
    _photos(root, count)
    boxes = "".join(f'<box label="cat" xtl="{x}" ytl="{y}" xbr="{x + w}" ybr="{y + h}"/>' for x, y, w, h in BOXES)
    with open(root / "set.xml", "w") as file:
        file.write('<?xml version="1.0" encoding="utf-8"?>\n<annotations>')
        for number in range(count):
            file.write(f'<image name="{number:06}.jpg" width="{WIDTH}" height="{HEIGHT}">{boxes}</image>\n')
        file.write("</annotations>")
    return Cvat(f"{root}/images", f"{root}/set.xml")


def via(root: Path, count: int) -> Source:
    """Writes a project, in which all images are in one object."""
    _photos(root, count)
    regions = [
        {
            "shape_attributes": {"name": "rect", "x": x, "y": y, "width": w, "height": h},
            "region_attributes": {"type": "cat"},
        }
        for x, y, w, h in BOXES
    ]
    names = (f"{number:06}.jpg" for number in range(count))
    entries = (f'"{name}": {json.dumps({"filename": name, "regions": regions})}' for name in names)
    return Via(f"{root}/images", _json(root, "set.json", '{"_via_settings": {}, "_via_img_metadata": {', entries, "}}"))


def label_studio(root: Path, count: int) -> Source:
    """Writes a list of tasks."""
    _photos(root, count)
    results = [
        {
            "type": "rectanglelabels",
            "original_width": WIDTH,
            "original_height": HEIGHT,
            "value": {
                "x": 100 * x / WIDTH,
                "y": 100 * y / HEIGHT,
                "width": 100 * w / WIDTH,
                "height": 100 * h / HEIGHT,
                "rectanglelabels": ["cat"],
            },
        }
        for x, y, w, h in BOXES
    ]
    entries = (
        {"id": number, "data": {"image": f"/data/{number:06}.jpg"}, "annotations": [{"result": results}]}
        for number in range(count)
    )
    return LabelStudio(f"{root}/images", _json(root, "set.json", "[", entries, "]"))


def open_images(root: Path, count: int) -> Source:
    """Writes a CSV of boxes."""
    _photos(root, count)
    _file(root, "classes.csv", b"/m/1,cat\n/m/2,dog\n")
    with open(root / "boxes.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["ImageID", "LabelName", "XMin", "XMax", "YMin", "YMax"])
        for number in range(count):
            for x, y, w, h in BOXES:
                sides = [x / WIDTH, (x + w) / WIDTH, y / HEIGHT, (y + h) / HEIGHT]
                rows.writerow([f"{number:06}", "/m/1", *sides])
    return OpenImages(f"{root}/images", f"{root}/boxes.csv", f"{root}/classes.csv")


def lvis(root: Path, count: int) -> Source:
    """Writes a JSON of COCO's form with what was not looked for."""
    _photos(root, count)
    images = (
        {
            "id": number,
            "coco_url": f"http://x/{number:06}.jpg",
            "height": HEIGHT,
            "width": WIDTH,
            "neg_category_ids": [2],
            "not_exhaustive_category_ids": [],
        }
        for number in range(count)
    )
    objects = (
        {"id": 6 * number + place, "image_id": number, "category_id": 1, "bbox": box, "area": box[2] * box[3]}
        for number in range(count)
        for place, box in enumerate(BOXES)
    )
    categories = [{"id": number, "name": name} for number, name in enumerate(CLASSES, 1)]
    path = _json(root, "set.json", f'{{"categories": {json.dumps(categories)}, "images": [', images, "]")
    with open(path, "a") as file:
        file.write(', "annotations": [')
        for number, entry in enumerate(objects):
            file.write((", " if number else "") + json.dumps(entry))
        file.write("]}")
    return Coco(f"{root}/images", path)


def hugging_face(root: Path, count: int) -> Source:
    """Writes parquet files of a thousand rows."""
    kinds = {"names": list(CLASSES), "_type": "ClassLabel"}
    box = {"feature": {"dtype": "float32", "_type": "Value"}, "_type": "Sequence"}
    inside = {"feature": {"bbox": box, "category": kinds}, "_type": "Sequence"}
    features = {"image": {"_type": "Image"}, "objects": inside}
    metadata, data = {"huggingface": json.dumps({"info": {"features": features}})}, photo()
    for start in range(0, count, PER_FOLDER):
        numbers = range(start, min(count, start + PER_FOLDER))
        columns = {
            "image": pa.array([{"bytes": data, "path": f"{number:06}.jpg"} for number in numbers]),
            "objects": pa.array([{"bbox": [[float(v) for v in b] for b in BOXES], "category": [0] * 6}] * len(numbers)),
        }
        table = pa.table(columns).replace_schema_metadata(metadata)
        parquet.write_table(table, root / f"{start:06}.parquet")
    return HuggingFace(f"{root}/*.parquet")


def _depth(root: Path, units: int) -> Path:
    png = cv2.imencode(".png", np.full([HEIGHT, WIDTH], units, np.uint16))[1].tobytes()
    return _file(root, "depth.png", png)


def kitti(root: Path, count: int) -> Source:
    """Writes the selected photos' layout."""
    drive, image = "2011_09_26_drive_0001_sync", _file(root, "photo.jpg", photo())
    numbers = [f"{number:010}" for number in range(count)]
    _links(image, root / "images", (f"{drive}_image_{number}_image_02.jpg" for number in numbers))
    _links(
        _depth(root, 900), root / "depth", (f"{drive}_groundtruth_depth_{number}_image_02.png" for number in numbers)
    )
    return Kitti(f"{root}/images", f"{root}/depth")


def hypersim(root: Path, count: int) -> Source:
    """Writes one scene."""
    folder, image = root / "set/ai_001_001/images", _file(root, "photo.jpg", photo())
    numbers = [f"{number:04}" for number in range(count)]
    _links(image, folder / "scene_cam_00_final_preview", (f"frame.{number}.tonemap.jpg" for number in numbers))
    arrays = {
        "depth_meters": np.full([HEIGHT, WIDTH], 2.0, np.float32),
        "normal_cam": np.tile(np.array([0, 0, 1], np.float32), [HEIGHT, WIDTH, 1]),
    }
    for name, array in arrays.items():
        with h5py.File(root / name, "w") as file:
            file["dataset"] = array
        _links(root / name, folder / "scene_cam_00_geometry_hdf5", (f"frame.{n}.{name}.hdf5" for n in numbers))
    return Hypersim(f"{root}/set")


def taskonomy(root: Path, count: int) -> Source:
    """Writes one building."""
    normal = cv2.imencode(".png", np.full([HEIGHT, WIDTH, 3], [255, 128, 128], np.uint8))[1].tobytes()
    made = {
        "rgb": _file(root, "photo.jpg", photo()),
        "depth_zbuffer": _depth(root, 900),
        "normal": _file(root, "normal.png", normal),
    }
    for domain, original in made.items():
        names = (f"point_{number}_view_0_domain_{domain}{original.suffix}" for number in range(count))
        _links(original, root / "set" / domain, names)
    return Taskonomy(f"{root}/set")


def tiny_imagenet(root: Path, count: int) -> Source:
    """Writes folders of synsets."""
    names = (f"n{number % 200:08}/images/n{number % 200:08}_{number // 200}.JPEG" for number in range(count))
    _links(_file(root, "photo.jpg", photo()), root / "train", names)
    return Imagenet(f"{root}/train")


def imagenet_tar(root: Path, count: int) -> Source:
    """Writes one tar of images, and the list of their synsets."""
    _tar(root / "val.tar", ((f"ILSVRC2012_val_{number:08}.JPEG", photo_bytes) for number, photo_bytes in _each(count)))
    (root / "val.txt").write_text("".join(f"n{number % 200:08}\n" for number in range(count)))
    return Imagenet(f"{root}/val.tar", f"{root}/val.txt")


def webdataset(root: Path, count: int) -> Source:
    """Writes tars of a thousand samples."""
    for start in range(0, count, PER_FOLDER):
        numbers = range(start, min(count, start + PER_FOLDER))
        data = photo()
        members = (
            member
            for number in numbers
            for member in ((f"{number:06}.jpg", data), (f"{number:06}.cls", str(number % 200).encode()))
        )
        _tar(root / f"{start:06}.tar", members)
    return WebDataset(f"{root}/*.tar")


def _each(count: int) -> Iterator[tuple[int, bytes]]:
    data = photo()
    for number in range(count):
        yield number, data


def _tar(path: Path, members: Iterator[tuple[str, bytes]]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


LAYOUTS: dict[str, Callable[[Path, int], Source]] = {
    make.__name__.replace("_", "-"): make
    for make in (
        yolo,
        labelme,
        cvat,
        via,
        label_studio,
        open_images,
        lvis,
        hugging_face,
        kitti,
        hypersim,
        taskonomy,
        tiny_imagenet,
        imagenet_tar,
        webdataset,
    )
}
