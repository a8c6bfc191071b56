"""COCO's JSON files: read, checked, grouped by image."""

from __future__ import annotations

import json
import os
import posixpath
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from must_tf.errors import UserError
from tfrecords_tools.sources import files
from tfrecords_tools.tally import Account

Entry = dict[str, Any]
# The three lists, and what an entry cannot do without; all else may be missing.
NEEDED = {"images": ("id",), "annotations": (), "categories": ("id", "name")}
PANOPTIC = NEEDED | {"annotations": ("image_id", "file_name", "segments_info")}
# All keys that are read. The others (licences, URLs, captions) are forgotten at once: they are most of the memory.
USED = {"images", "annotations", "categories", "id", "name", "file_name", "height", "width", "image_id", "category_id"}
USED |= {"bbox", "area", "iscrowd", "segmentation", "size", "counts", "segments_info"}
COLOURS = 1 << 24  # of a panoptic PNG


def read(path: str, option: str, needed: Mapping[str, Sequence[str]] = NEEDED) -> dict[str, list[Entry]]:
    """The JSON with its three lists, whose entries have the `needed` keys.

    Raises:
      UserError: it is no JSON, or not COCO's.
    """
    files.require_file(path, option)
    with tf.io.gfile.GFile(path) as file:
        try:
            content = json.loads(file.read(), object_hook=_used)
        except ValueError as error:
            raise UserError(f"{option} {path} is not JSON: {error}") from None
    for key, fields in needed.items():
        _check(content, key, fields, f"{option} {path}")
    return content


def _used(entry: Entry) -> Entry:
    return {key: value for key, value in entry.items() if key in USED}


def _check(content: Any, key: str, needed: Sequence[str], name: str) -> None:
    """Raises UserError unless `content[key]` is a list of objects that have the `needed` keys."""
    if not isinstance(content, dict) or not isinstance(content.get(key), list):
        raise UserError(f"{name} has no list {key!r}; COCO's format is expected.")
    for place, entry in enumerate(content[key]):
        if not isinstance(entry, dict) or any(field not in entry for field in needed):
            wanted = f" with {' and '.join(map(repr, needed))}" if needed else ""
            raise UserError(f"{name}: {key}[{place}] is no object{wanted}; write the JSON again.")


def classes(categories: list[Entry], first_id: int, path: str) -> tuple[dict[int, int], tuple[str, ...]]:
    """Category id -> class id from `first_id` on without gaps, in id order; and the names."""
    if {type(category["id"]) for category in categories} not in (set(), {int}, {str}):
        raise UserError(f"{path}: ids in categories must be whole numbers, or all of them text; write the JSON again.")
    ordered = sorted(categories, key=lambda category: category["id"])
    names = tuple(str(category["name"]) for category in ordered)
    ids = {category["id"]: first_id + place for place, category in enumerate(ordered)}
    twice = sorted({name for name in names if names.count(name) > 1})
    if len(ids) < len(ordered) or twice:
        raise UserError(f"{path}: categories share an id or a name {twice}; give each its own.")
    return ids, names


def by_image(content: dict[str, list[Entry]], account: Account) -> dict[str, list[Entry]]:
    """Image id as text -> its annotations, all images included; annotations of no image are counted."""
    grouped: dict[str, list[Entry]] = {str(image["id"]): [] for image in content["images"]}
    for annotation in content["annotations"]:
        image_id = str(annotation.get("image_id"))
        if image_id in grouped:
            grouped[image_id].append(annotation)
        else:
            account.dropped.add("object: its image is not in the JSON", f"image_id {image_id}")
    return grouped


def unique(images: list[Entry], account: Account) -> list[Entry]:
    """The images without those whose id or file came before: their annotations cannot be told apart."""
    kept, ids, names = [], set(), set()
    for image in images:
        name = file_of(image)
        if str(image["id"]) in ids or name in names:
            account.dropped.add("image: id or file is twice in the JSON", f"{image['id']}: {name}")
            continue
        ids.add(str(image["id"]))
        names.add(name)
        kept.append(image)
    return kept


def file_of(image: Entry) -> str:
    """The image's path below the folder of images; `./a.jpg` is `a.jpg`, `a\\b.jpg` (from Windows) is `a/b.jpg`."""
    return posixpath.normpath(str(image.get("file_name")).replace("\\", "/"))


def size_of(image: Entry) -> tuple[int, int] | None:
    """Height and width as the JSON has them, also as 20.0 or "20"; None where it does not."""
    try:
        return int(float(image["height"])), int(float(image["width"]))
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def segments_of(annotation: Entry, ids: Mapping[int, int], path: str) -> dict[int, int]:
    """Segment id -> class id of one image; segments of unknown categories are left out."""
    _check(annotation, "segments_info", ("id", "category_id"), f"{path}: image {annotation['image_id']}")
    return {s["id"]: ids[s["category_id"]] for s in annotation["segments_info"] if s["category_id"] in ids}


def panoptic_json(folder: str, annotations: str) -> tuple[str, dict[str, list[Entry]]]:
    """The panoptic JSON whose PNGs lie in `folder`.

    It is looked for as `folder`.json, beside the folder, and beside the instances' JSON.

    Raises:
      UserError: no JSON there names a PNG of the folder.
    """
    files.require_folder(folder, "--panoptic")
    pngs, looked = set(files.images_in(folder)), []
    parent = os.path.dirname(folder.rstrip("/")) or "."
    patterns = [f"{folder.rstrip('/')}.json", os.path.join(parent, "panoptic*.json")]
    patterns.append(os.path.join(os.path.dirname(annotations) or ".", "panoptic*.json"))
    split = os.path.basename(folder.rstrip("/"))
    found = dict.fromkeys(path for pattern in patterns for path in sorted(tf.io.gfile.glob(pattern)))
    for path in sorted(found, key=lambda path: split not in path):  # likely ones first: they are large
        looked.append(path)
        content = read(path, "panoptic annotations", PANOPTIC)
        if any(annotation["file_name"] in pngs for annotation in content["annotations"]):
            return path, content
    raise UserError(
        f"no panoptic JSON names a PNG of {folder} (looked at {', '.join(looked or patterns)}). "
        f"Put it beside the folder as {folder.rstrip('/')}.json."
    )


def segment_classes(png: np.ndarray, segments: dict[int, int], ignore: int) -> tuple[np.ndarray, bool]:
    """Panoptic colours uint8 [h, w, 3] RGB -> class ids int32 [h, w], and whether a segment was not in `segments`.

    A segment's id is R + 256 G + 256^2 B; pixels of no segment become `ignore`. 0 is COCO's own "nothing".
    """
    ids = png[..., 0].astype(np.int32) | png[..., 1].astype(np.int32) << 8 | png[..., 2].astype(np.int32) << 16
    lookup = np.zeros(COLOURS, np.int32)  # 64 MB, of which only the pages of this image's colours are ever touched
    for segment, class_id in segments.items():
        if 0 <= segment < COLOURS:
            lookup[segment] = class_id + 1
    classes = lookup[ids] - 1
    unlisted = bool(((classes < 0) & (ids > 0)).any())
    return np.where(classes < 0, ignore, classes).astype(np.int32), unlisted
