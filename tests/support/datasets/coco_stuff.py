"""COCO's stuff annotations and Objects365 in small, in the published forms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as mask_utils

from tests.support.converting import CocoEntry, dump, noise, save

HEIGHT, WIDTH = 30, 40
IMAGES: list[dict[str, Any]] = [
    {"id": n, "file_name": f"{n:012}.jpg", "height": HEIGHT, "width": WIDTH} for n in (7, 9)
]
STUFF = [{"id": 183, "name": "other"}, {"id": 92, "name": "banner"}, {"id": 157, "name": "sky-other"}]


def coco(root: Path) -> tuple[str, str]:
    """Two photos and an instances JSON without objects."""
    for image in IMAGES:
        save(root / "val2017" / image["file_name"], noise(HEIGHT, WIDTH, image["id"]))
    content = {"images": IMAGES, "annotations": [], "categories": [{"id": 1, "name": "person"}]}
    return str(root / "val2017"), dump(root / "annotations" / "instances_val2017.json", content)


def ids() -> np.ndarray:
    """Category ids of image 7 [h, w]; 0 means unlabelled."""
    found = np.zeros([HEIGHT, WIDTH], np.uint8)
    found[:10], found[10:20, :15], found[20:, 30:] = 157, 92, 183
    return found


def stuff_json(root: Path) -> str:
    """stuff_val2017.json: a compressed mask per class and image."""
    annotations = []
    for number in (92, 157, 183):
        rle = mask_utils.encode(np.asfortranarray((ids() == number).astype(np.uint8)))
        rle["counts"] = rle["counts"].decode()
        annotations.append({"id": number, "image_id": 7, "category_id": number, "segmentation": rle})
    content = {"images": IMAGES, "annotations": annotations, "categories": STUFF}
    return dump(root / "annotations" / "stuff_val2017.json", content)


def objects365(root: Path, *names: str) -> tuple[str, str]:
    """The folder of training images, and zhiyuan's JSON for these file names."""
    save(root / "train" / "patch8" / "objects365_v1_00420917.jpg", noise(HEIGHT, WIDTH))
    save(root / "train" / "patch20" / "objects365_v2_01000000.jpg", noise(HEIGHT, WIDTH, 1))
    images: list[CocoEntry] = [
        {"id": number, "file_name": name, "height": HEIGHT, "width": WIDTH, "license": 5, "url": ""}
        for number, name in enumerate(names, 420917)
    ]
    boxes = [
        {"id": 1, "image_id": 420917, "category_id": 2, "iscrowd": 0, "isfake": 0, "bbox": [4.5, 6, 10, 8], "area": 80},
        {"id": 2, "image_id": 420917, "category_id": 3, "iscrowd": 1, "isfake": 0, "bbox": [30, 20, 20, 20], "area": 9},
    ]
    categories = [{"id": 1, "name": "Person"}, {"id": 2, "name": " Speaker"}, {"id": 3, "name": "Speaker"}]
    content = {"images": images, "annotations": boxes, "categories": categories, "licenses": [], "info": {}}
    return str(root / "train"), dump(root / "zhiyuan_objv2_train.json", content)


PUBLISHED = ("images/v1/patch8/objects365_v1_00420917.jpg", "images/v2/patch20/objects365_v2_01000000.jpg")
