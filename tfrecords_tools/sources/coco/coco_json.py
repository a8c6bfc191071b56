"""COCO's JSON files: what their entries must have, and what they say."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from must_tf.common.errors import UserError

CocoEntry = dict[str, Any]
# The three lists, and what an entry cannot do without; all else may be missing.
NEEDED = {"images": ("id",), "annotations": (), "categories": ("id", "name")}
PANOPTIC = NEEDED | {"annotations": ("image_id", "file_name", "segments_info")}
COLOURS = 1 << 24  # of a panoptic PNG


def check_entry(key: str, place: int, entry: Any, needed: Sequence[str], name: str) -> None:
    """Raises UserError unless the entry at this place of the list `key` is an object that has the `needed` keys."""
    if not isinstance(entry, dict) or any(field not in entry for field in needed):
        wanted = f" with {' and '.join(map(repr, needed))}" if needed else ""
        raise UserError(f"{name}: {key}[{place}] is no object{wanted}; write the JSON again.")


def classes(categories: list[CocoEntry], first_id: int, path: str) -> tuple[dict[int, int], tuple[str, ...]]:
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


def used(categories: Iterable[Any], ids: Mapping[int, int]) -> dict[int, int]:
    """What annotations of these need of category id -> class id: all of it in every item would outweigh them."""
    return {category: ids[category] for category in categories if category in ids}


def file_of(image: CocoEntry) -> str:
    """The image's path below the folder of images; `./a.jpg` is `a.jpg`, `a\\b.jpg` (from Windows) is `a/b.jpg`."""
    return posixpath.normpath(str(image.get("file_name")).replace("\\", "/"))


def size_of(image: CocoEntry) -> tuple[int, int] | None:
    """Height and width as the JSON has them, also as 20.0 or "20"; None where it does not."""
    try:
        return int(float(image["height"])), int(float(image["width"]))
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def segments_of(annotation: CocoEntry, ids: Mapping[int, int], path: str) -> dict[int, int]:
    """Segment id -> class id of one image; segments of unknown categories are left out."""
    name, segments = f"{path}: image {annotation['image_id']}", annotation["segments_info"]
    if not isinstance(segments, list):
        raise UserError(f"{name} has no list 'segments_info'; COCO's format is expected.")
    for place, segment in enumerate(segments):
        check_entry("segments_info", place, segment, ("id", "category_id"), name)
    return {s["id"]: ids[s["category_id"]] for s in segments if s["category_id"] in ids}


def panoptic_candidates(folder: str, annotations: str) -> list[str]:
    """Where the panoptic JSON of the PNGs in `folder` may be, likely places first: the files are large.

    It is looked for as `folder`.json, beside the folder, and beside the instances' JSON.
    """
    parent, split = os.path.dirname(folder.rstrip("/")) or ".", os.path.basename(folder.rstrip("/"))
    patterns = [f"{folder.rstrip('/')}.json", os.path.join(parent, "panoptic*.json")]
    patterns.append(os.path.join(os.path.dirname(annotations) or ".", "panoptic*.json"))
    found = dict.fromkeys(path for pattern in patterns for path in sorted(tf.io.gfile.glob(pattern)))
    return sorted(found, key=lambda path: split not in path)


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
