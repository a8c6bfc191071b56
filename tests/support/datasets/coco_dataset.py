"""A dataset in COCO's published layout with every mask format, and the records made from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from pycocotools import mask as mask_utils

from tests.support.converting import CocoEntry, Converted, converted, dump, noise, save
from tfrecords_tools.sources.coco.coco import Coco

HEIGHT, WIDTH = 60, 80
CATEGORIES = [{"id": 90, "name": "brush"}, {"id": 1, "name": "person"}, {"id": 18, "name": "dog"}]
CLASS_IDS = {1: 1, 18: 2, 90: 3}  # in the order of the category ids, without gaps
# Float32 of a coordinate that is divided by the side and multiplied by it again, with room for one rounding each.
PIXEL = 1e-4


def disk(y: float, x: float, radius: float) -> np.ndarray:
    """A round mask uint8 [h, w]."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return np.asfortranarray(((rows - y) ** 2 + (columns - x) ** 2 < radius**2).astype(np.uint8))


def runs(mask: np.ndarray) -> list[int]:
    """COCO's uncompressed counts: lengths of runs down the columns, zeros first."""
    flat = mask.flatten(order="F")
    changes = np.flatnonzero(np.diff(flat)) + 1
    edges = [0, *changes.tolist(), flat.size]
    return ([0] if flat[0] else []) + np.diff(edges).tolist()


def entry(number: int, image_id: Any, category: int, segmentation: Any, **values: Any) -> CocoEntry:
    """An annotation with the box and area of its mask."""
    rle = segmentation
    if isinstance(rle, dict) and isinstance(rle["counts"], list):
        rle = mask_utils.frPyObjects(rle, *rle["size"])
    elif isinstance(rle, list):
        rle = mask_utils.merge(mask_utils.frPyObjects(rle, HEIGHT, WIDTH))
    box, area = mask_utils.toBbox(rle).tolist(), float(mask_utils.area(rle))
    annotation = {"id": number, "image_id": image_id, "category_id": category, "segmentation": segmentation}
    return annotation | {"bbox": box, "area": area, "iscrowd": 0} | values


def forms() -> list[CocoEntry]:
    """One annotation in each of COCO's mask formats."""
    compressed = mask_utils.encode(disk(30, 40, 12))
    compressed["counts"] = compressed["counts"].decode()
    plain = {"size": [HEIGHT, WIDTH], "counts": runs(disk(10, 12, 9.5))}
    parts = [[3.5, 40.2, 20.0, 41.0, 12.3, 55.7], [50.0, 5.0, 70.5, 5.0, 70.5, 20.5, 50.0, 20.5]]
    return [
        entry(11, 7, 18, parts),
        entry(12, 7, 1, plain, iscrowd=1),
        entry(13, 7, 90, compressed, area=123.5),
        entry(14, 9, 90, [[0.0, 0.0, 80.0, 0.0, 80.0, 60.0]]),
    ]


IMAGES: list[CocoEntry] = [
    {"id": number, "file_name": f"{number:012}.jpg", "height": HEIGHT, "width": WIDTH} for number in (7, 9, 8)
]
# Segment ids with all three colours, and a class each; 5 stands in no list.
SEGMENTS = {1 + 256 * 2 + 65536 * 3: 18, 4: 1, 65536 * 200: 200}


class Dataset(NamedTuple):
    """The dataset's JSON, its panoptic colours and its records."""

    json: str
    colours: np.ndarray  # uint8 [h, w, 3], of the panoptic PNG of image 7
    result: Converted


def panoptic(folder: Path) -> np.ndarray:
    """Writes the panoptic PNG and JSON of image 7 as published, the JSON beside the folder of PNGs."""
    ids = np.full([HEIGHT, WIDTH], 5)
    for place, number in enumerate(SEGMENTS):
        ids[:, 20 * place : 20 * place + 20] = number
    colours = np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)
    save(folder / "panoptic_val2017" / "000000000007.png", colours)
    segments = [{"id": number, "category_id": category} for number, category in SEGMENTS.items()]
    entries = [{"image_id": 7, "file_name": "000000000007.png", "segments_info": segments}]
    content = {"images": IMAGES, "annotations": entries, "categories": [*CATEGORIES, {"id": 200, "name": "rug"}]}
    dump(folder / "panoptic_val2017.json", content)
    return colours


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A dataset with val2017/ and annotations/, and all optional files."""
    root = tmp_path_factory.mktemp("coco")
    for image in IMAGES:
        save(root / "val2017" / image["file_name"], noise(HEIGHT, WIDTH, image["id"]))
    content = {"images": IMAGES, "annotations": forms(), "categories": CATEGORIES}
    json = dump(root / "annotations" / "instances_val2017.json", content)
    colours = panoptic(root / "annotations")
    source = Coco(str(root / "val2017"), json, str(root / "annotations" / "panoptic_val2017"), full_masks=True)
    return Dataset(json, colours, converted(source, root / "records"))
