"""COCO datasets of any size: real photos or generated scenes, repeated under new ids."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from must_tf.common.errors import UserError
from must_tf.data import scenes
from must_tf.tasks.masks.labels import paste

HEIGHT, WIDTH = 427, 640  # the most frequent size in COCO
SCENES = 64  # different scenes, then repeated: rendering takes longer than converting
JPEG_QUALITY = 92
NOISE = 12.0  # grey levels: makes a scene's file as large as a photo's

Entry = dict[str, Any]


class Set(NamedTuple):
    """A COCO dataset on disk."""

    images: Path
    annotations: Path


def real(folder: Path) -> Set:
    """Returns the training set of a folder in COCO's layout, or its first set if there is no training set.

    Raises:
      UserError: there is none.
    """
    found = sorted(folder.glob("annotations/instances_*.json"), key=lambda path: ("train" not in path.name, path.name))
    for path in found:
        for images in images_of(folder, path):
            return Set(images, path)
    raise UserError(f"--data {folder}: no annotations/instances_*.json with its images below this folder.")


def annotations_in(path: Path) -> dict[str, Any]:
    """Returns an annotation file's content.

    Raises:
      UserError: it is not JSON in COCO's layout, or has no image.
    """
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}. Download it again.") from error
    missing = [
        key for key in ("images", "annotations", "categories") if not isinstance(found, dict) or key not in found
    ]
    if missing or not found["images"]:
        raise UserError(f"{path} has no {', '.join(missing or ['images'])}. Give a file in COCO's layout.")
    return dict(found)


def images_of(folder: Path, annotations: Path) -> list[Path]:
    """Returns the folders below `folder` that have the first image of an annotation file."""
    name = annotations_in(annotations)["images"][0]["file_name"]
    return [photo.parent for photo in [*folder.glob(f"*/{name}"), *folder.glob(f"images/*/{name}")]]


def generated(folder: Path, count: int | None = None) -> Set:
    """Writes `count` or `SCENES` generated scenes as JPEGs, with their objects as polygons."""
    images, annotations = list[Entry](), list[Entry]()
    (folder / "images").mkdir(parents=True)
    noise = np.random.default_rng(0)
    for index in range(count or SCENES):
        scene = scenes.render("wild", 11, index, (HEIGHT, WIDTH))
        grainy = scene.image + noise.normal(0, NOISE, scene.image.shape)
        name = f"{index:012}.jpg"
        pixels = np.clip(grainy, 0, 255).astype(np.uint8)[..., ::-1]
        cv2.imwrite(str(folder / "images" / name), pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        images.append({"id": index, "file_name": name, "height": HEIGHT, "width": WIDTH})
        for entry in _objects(scene.labels["masks"]):
            annotations.append(entry | {"id": len(annotations), "image_id": index})
    names = scenes.CLASSES["detection"]
    categories = [{"id": number, "name": name} for number, name in enumerate(names, 1)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "instances.json").write_text(json.dumps(content))
    return Set(folder / "images", folder / "instances.json")


def _objects(labels: dict[str, Any]) -> list[Entry]:
    found = []
    for mask, class_id in zip(paste(labels, HEIGHT, WIDTH), labels["classes"], strict=True):
        contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        polygons = [contour.ravel().tolist() for contour in contours if len(contour) > 2]
        if not polygons:
            continue
        box = list(cv2.boundingRect(mask.astype(np.uint8)))
        entry = {"category_id": int(class_id), "bbox": box, "area": int(mask.sum()), "iscrowd": 0}
        found.append(entry | {"segmentation": polygons})
    return found


def repeated(source: Set, count: int, folder: Path) -> Set:
    """Makes a dataset of `count` images: links to the source's images, under new ids and names."""
    content = json.loads(source.annotations.read_text())
    of: dict[Any, list[Entry]] = {}
    for annotation in content["annotations"]:
        of.setdefault(annotation["image_id"], []).append(annotation)
    (folder / "images").mkdir(parents=True)
    images, annotations = list[Entry](), list[Entry]()
    for number in range(1, count + 1):
        image = content["images"][number % len(content["images"])]
        name = f"{number:012}.jpg"
        os.symlink((source.images / image["file_name"]).resolve(), folder / "images" / name)
        images.append(image | {"id": number, "file_name": name})
        for annotation in of.get(image["id"], []):
            annotations.append(annotation | {"id": len(annotations) + 1, "image_id": number})
    new = content | {"images": images, "annotations": annotations}
    (folder / "instances.json").write_text(json.dumps(new))
    return Set(folder / "images", folder / "instances.json")
