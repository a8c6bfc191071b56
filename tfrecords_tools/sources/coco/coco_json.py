"""Entries of COCO's JSON files: required keys, and conversion of their values."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from must_tf.common.errors import UserError

CocoEntry = dict[str, Any]
# The three lists, and the keys that their entries must have; all other keys are optional.
NEEDED = {"images": ("id",), "annotations": (), "categories": ("id", "name")}
PANOPTIC = NEEDED | {"annotations": ("image_id", "file_name", "segments_info")}
COLOURS = 1 << 24  # number of colours in a panoptic PNG


def check_entry(key: str, place: int, entry: Any, needed: Sequence[str], name: str) -> None:
    """Raises UserError unless the entry at this position of the list `key` is an object with the `needed` keys."""
    if not isinstance(entry, dict) or any(field not in entry for field in needed):
        keys = f" with {' and '.join(map(repr, needed))}" if needed else ""
        raise UserError(f"{name}: {key}[{place}] is not an object{keys}. Correct the entry.")


def classes(categories: list[CocoEntry], first_id: int, path: str) -> tuple[dict[int, int], tuple[str, ...]]:
    """Returns {category id: class id} and the names; class ids start at `first_id` and follow the category ids."""
    if {type(category["id"]) for category in categories} not in (set(), {int}, {str}):
        raise UserError(f"{path}: the ids in categories must be all integers or all strings. Correct the file.")
    ordered = sorted(categories, key=lambda category: category["id"])
    names = tuple(str(category["name"]) for category in ordered)
    ids = {category["id"]: first_id + place for place, category in enumerate(ordered)}
    repeated = sorted({name for name in names if names.count(name) > 1})
    if len(ids) < len(ordered) or repeated:
        raise UserError(f"{path}: categories share an id or a name {repeated}. Give each category its own.")
    return ids, names


def used_ids(categories: Iterable[Any], ids: Mapping[int, int]) -> dict[int, int]:
    """Returns the part of {category id: class id} that an image needs; all of it in every item would be too much."""
    return {category: ids[category] for category in categories if category in ids}


def file_of(image: CocoEntry) -> str:
    """Returns an image's normalised path: `./a.jpg` becomes `a.jpg`, and `a\\b.jpg` (from Windows) `a/b.jpg`."""
    return posixpath.normpath(str(image.get("file_name")).replace("\\", "/"))


def size_of(image: CocoEntry) -> tuple[int, int] | None:
    """Returns height and width from the JSON, also from 20.0 or "20"; None if they are missing or invalid."""
    try:
        return int(float(image["height"])), int(float(image["width"]))
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def segments_of(annotation: CocoEntry, ids: Mapping[int, int], path: str) -> dict[int, int]:
    """Returns {segment id: class id} of one image without segments of unknown categories."""
    name, segments = f"{path}: image {annotation['image_id']}", annotation["segments_info"]
    if not isinstance(segments, list):
        raise UserError(f"{name} has no list 'segments_info'. Give a file in COCO's format.")
    for place, segment in enumerate(segments):
        check_entry("segments_info", place, segment, ("id", "category_id"), name)
    return {s["id"]: ids[s["category_id"]] for s in segments if s["category_id"] in ids}


def panoptic_candidates(folder: str, annotations: str) -> list[str]:
    """Lists paths where the panoptic JSON of the PNGs in `folder` may be, likely ones first: the files are large.

    They are `folder`.json, and files beside the folder and beside the instances JSON.
    """
    parent, split = os.path.dirname(folder.rstrip("/")) or ".", os.path.basename(folder.rstrip("/"))
    patterns = [f"{folder.rstrip('/')}.json", os.path.join(parent, "panoptic*.json")]
    patterns.append(os.path.join(os.path.dirname(annotations) or ".", "panoptic*.json"))
    paths = dict.fromkeys(path for pattern in patterns for path in sorted(tf.io.gfile.glob(pattern)))
    return sorted(paths, key=lambda path: split not in path)


def segment_classes(png: np.ndarray, segments: dict[int, int], ignore: int) -> tuple[np.ndarray, bool]:
    """Converts panoptic colours uint8 [h, w, 3] RGB to class ids int32 [h, w].

    A segment's id is R + 256 G + 256^2 B. Pixels without a segment become `ignore`; COCO gives them the id 0.

    Returns:
      Class ids, and True if the image has a segment that is not in `segments`.
    """
    ids = png[..., 0].astype(np.int32) | png[..., 1].astype(np.int32) << 8 | png[..., 2].astype(np.int32) << 16
    lookup = np.zeros(COLOURS, np.int32)  # 64 MB, but only the pages with this image's colours are touched
    for segment, class_id in segments.items():
        if 0 <= segment < COLOURS:
            lookup[segment] = class_id + 1
    classes = lookup[ids] - 1
    unlisted = bool(((classes < 0) & (ids > 0)).any())
    return np.where(classes < 0, ignore, classes).astype(np.int32), unlisted
