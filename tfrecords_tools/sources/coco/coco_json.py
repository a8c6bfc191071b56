"""Entries of COCO's JSON files: required keys, and conversion of their values."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from must_tf.common.errors import UserError
from must_tf.common.files import matched_by
from tfrecords_tools.sources import class_files, finder
from tfrecords_tools.writing.counts import Account

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


def id_key(value: Any) -> str:
    """Returns one form of the ids that mean the same: 1, 1.0 and "1" are "1"."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()


def classes(categories: list[CocoEntry], first_id: int, path: str) -> tuple[dict[Any, int], tuple[str, ...]]:
    """Returns {category id: class id} and the names; class ids start at `first_id` and follow the category ids.

    Ids that are all numbers, as text or not, are in the order of the numbers. Categories that are the same count once.

    Raises:
      UserError: the ids are of several kinds, or categories share an id or a name.
    """
    kept = list({(id_key(category["id"]), str(category["name"]).strip()): category for category in categories}.values())
    numbers = all(isinstance(c["id"], int | float) for c in kept) or all(id_key(c["id"]).isdigit() for c in kept)
    if not numbers and not all(isinstance(category["id"], str) for category in kept):
        raise UserError(f"{path}: the ids in categories must be all numbers or all text. Correct the file.")
    ordered = sorted(kept, key=lambda category: float(category["id"]) if numbers else category["id"])
    names = tuple(class_files.composed(str(category["name"])) for category in ordered)
    ids = {category["id"]: first_id + place for place, category in enumerate(ordered)}
    repeated = sorted({name for name in names if names.count(name) > 1})
    if len({id_key(key) for key in ids}) < len(ordered) or repeated:
        raise UserError(f"{path}: categories share an id or a name {repeated}. Give each category its own.")
    return ids, names


def without_roots(categories: list[CocoEntry], used: Collection[str], account: Account) -> list[CocoEntry]:
    """Returns the categories without those that only group others, and notes them.

    Such a category is the supercategory of others, has none itself, and no annotation. Some tools write one with the
    name of the project.

    Args:
      categories: of the JSON.
      used: `id_key` of the categories that have annotations.
      account: counts the notes.
    """
    kept = []
    for category in categories:
        name = str(category["name"]).strip()
        groups = any(supercategory_of(other) == name for other in categories if other is not category)
        if groups and not supercategory_of(category) and id_key(category["id"]) not in used:
            account.notes.add("category: it only groups others and has no annotation, so it is not a class", name)
        else:
            kept.append(category)
    return kept


def supercategory_of(category: CocoEntry) -> str:
    """Returns the name of a category's group; empty if it has none."""
    name = str(category.get("supercategory") or "").strip()
    return "" if name.lower() == "none" else name


def used_ids(categories: Iterable[Any], ids: Mapping[str, int]) -> dict[Any, int]:
    """Returns {category id as annotated: class id} of an image; all categories in every item would be too much.

    Args:
      categories: the category ids of an image's annotations.
      ids: {`id_key` of a category: class id}.
    """
    return {category: ids[id_key(category)] for category in categories if id_key(category) in ids}


def names_of(image: CocoEntry) -> list[str]:
    """Returns the names that an image entry gives its file, most reliable first; LVIS has only an address."""
    names = [str(image[key]) for key in ("file_name", "coco_url", "flickr_url") if image.get(key)]
    return names or [f"(image {image['id']} has no file_name)"]


def file_of(image: CocoEntry) -> str:
    """Returns an image's normalised path: `./a.jpg` becomes `a.jpg`, and `a\\b.jpg` (from Windows) `a/b.jpg`."""
    return finder.normalised(names_of(image)[0])


def written_name(image: CocoEntry) -> str:
    """Returns one form of all spellings of the first name that an image entry gives its file, with its folders."""
    return finder.written_name(names_of(image)[0])


def has_outline(segmentation: Any) -> bool:
    """Returns True if an annotation's segmentation has content; it may still be invalid."""
    if isinstance(segmentation, dict):
        return bool(segmentation.get("counts"))
    return isinstance(segmentation, list) and any(bool(part) for part in segmentation)


def polygons_of(segmentation: Any) -> list[list[float]]:
    """Returns the polygons [x, y, x, y, ...] of an annotation, whose points may also be pairs or {"x", "y"}, or text.

    Raises:
      TypeError, ValueError, KeyError, IndexError: it has no polygons, or they are not numbers.
    """
    are_flat = all(isinstance(polygon, list) and isinstance(polygon[0], int | float) for polygon in segmentation)
    if are_flat and any(len(polygon) != 2 for polygon in segmentation):
        return segmentation  # nearly always
    first = segmentation[0]
    if isinstance(first, dict) or _is_point(first):
        segmentation = [segmentation]  # one polygon of points
    elif not isinstance(first, list):
        segmentation = [segmentation]  # one polygon of numbers
    return [[float(value) for point in polygon for value in _coordinates(point)] for polygon in segmentation]


def _is_point(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and not isinstance(value[0], list | dict)


def _coordinates(point: Any) -> Sequence[Any]:
    if isinstance(point, dict):
        return point["x"], point["y"]
    return point if isinstance(point, list) else (point,)


def size_of(image: CocoEntry) -> tuple[int, int] | None:
    """Returns height and width from the JSON, also from 20.0 or "20"; None if they are missing or invalid."""
    try:
        return int(float(image["height"])), int(float(image["width"]))
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


class Segments(NamedTuple):
    """The segments of one image.

    Attributes:
      classes: {segment id: class id} without segments of unknown categories.
      several: ids that are there for several classes, which are left out.
      no_colour: ids that no pixel of a PNG can have, which are left out.
    """

    classes: dict[int, int]
    several: list[int]
    no_colour: list[int]


def segments_of(annotation: CocoEntry, ids: Mapping[str, int], path: str) -> Segments:
    """Converts the segments of one image.

    Args:
      annotation: of a panoptic JSON.
      ids: {`id_key` of a category: class id}.
      path: the JSON.

    Raises:
      UserError: a segment has no category, or its id is not a number.
    """
    name, segments = f"{path}: image {annotation['image_id']}", annotation["segments_info"]
    if not isinstance(segments, list):
        raise UserError(f"{name} has no list 'segments_info'. Give a file in COCO's format.")
    found, several, no_colour = dict[int, int](), set[int](), set[int]()
    for place, segment in enumerate(segments):
        check_entry("segments_info", place, segment, ("id", "category_id"), name)
        number, category = id_key(segment["id"]), id_key(segment["category_id"])
        if not number.removeprefix("-").isdecimal():
            raise UserError(
                f"{name}: segments_info[{place}] has the id {segment['id']!r}. Give its colour as a number."
            )
        if not 0 <= int(number) < COLOURS:
            no_colour.add(int(number))
        elif category in ids and found.setdefault(int(number), ids[category]) != ids[category]:
            several.add(int(number))
    classes = {number: class_id for number, class_id in found.items() if number not in several}
    return Segments(classes, sorted(several), sorted(no_colour))


def panoptic_candidates(folder: str, annotations: str) -> list[str]:
    """Lists paths where the panoptic JSON of the PNGs in `folder` may be, likely ones first: the files are large.

    They are `folder`.json, and files beside the folder and beside the instances JSON.
    """
    parent, split = os.path.dirname(folder.rstrip("/")) or ".", os.path.basename(folder.rstrip("/"))
    patterns = [f"{folder.rstrip('/')}.json", os.path.join(parent, "panoptic*.json")]
    patterns.append(os.path.join(os.path.dirname(annotations) or ".", "panoptic*.json"))
    paths = dict.fromkeys(path for pattern in patterns for path in matched_by(pattern))
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
