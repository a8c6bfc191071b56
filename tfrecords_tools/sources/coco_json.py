"""COCO's JSON files: read, checked, grouped by image."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from must_tf.errors import UserError
from tfrecords_tools.sources import files, json_stream
from tfrecords_tools.tally import Account

Entry = dict[str, Any]
# The three lists, and what an entry cannot do without; all else may be missing.
NEEDED = {"images": ("id",), "annotations": (), "categories": ("id", "name")}
PANOPTIC = NEEDED | {"annotations": ("image_id", "file_name", "segments_info")}
# All keys that are read. The others (licences, URLs, captions) are forgotten at once.
USED = {"images", "annotations", "categories", "id", "name", "file_name", "height", "width", "image_id", "category_id"}
USED |= {"bbox", "area", "iscrowd", "segmentation", "size", "counts", "segments_info"}
COLOURS = 1 << 24  # of a panoptic PNG


class Content(NamedTuple):
    """The three lists; annotations are most of a file, and unpacked one at a time."""

    images: list[Entry]
    annotations: json_stream.Packed
    categories: list[Entry]


def read(path: str, option: str, needed: Mapping[str, Sequence[str]] = NEEDED) -> Content:
    """The JSON's three lists, whose entries have the `needed` keys.

    Raises:
      UserError: it is no JSON, or not COCO's.
    """
    files.require_file(path, option)
    content, seen, name = Content([], json_stream.Packed(), []), set(), f"{option} {path}"
    with tf.io.gfile.GFile(path, "rb") as file:
        try:
            for key, entry in json_stream.entries(file, needed, _used):
                entries: Any = getattr(content, key)
                if key in seen:
                    _check(entry, f"{key}[{len(entries)}]", needed[key], name)
                    entries.append(entry)
                seen.add(key)
        except ValueError as error:
            raise UserError(f"{name} is not JSON: {error}") from None
    for key in needed:
        if key not in seen:
            raise UserError(f"{name} has no list {key!r}; COCO's format is expected.")
    return content


def _used(entry: Entry) -> Entry:
    return {key: value for key, value in entry.items() if key in USED}


def _check(entry: Any, place: str, needed: Sequence[str], name: str) -> None:
    """Raises UserError unless the entry is an object with the `needed` keys."""
    if not isinstance(entry, dict) or any(field not in entry for field in needed):
        wanted = f" with {' and '.join(map(repr, needed))}" if needed else ""
        raise UserError(f"{name}: {place} is no object{wanted}; write the JSON again.")


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


def by_image(content: Content, account: Account) -> dict[str, json_stream.Packed]:
    """Image id as text -> its annotations, all images included; annotations of no image are counted."""
    grouped = {str(image["id"]): json_stream.Packed() for image in content.images}

    def group(annotation: Entry) -> json_stream.Packed | None:
        image_id = str(annotation.get("image_id"))
        if image_id not in grouped:
            account.dropped.add("object: its image is not in the JSON", f"image_id {image_id}")
        return grouped.get(image_id)

    content.annotations.grouped(group)
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
    name, segments = f"{path}: image {annotation['image_id']}", annotation["segments_info"]
    if not isinstance(segments, list):
        raise UserError(f"{name} has no list 'segments_info'; COCO's format is expected.")
    for place, segment in enumerate(segments):
        _check(segment, f"segments_info[{place}]", ("id", "category_id"), name)
    return {s["id"]: ids[s["category_id"]] for s in segments if s["category_id"] in ids}


def panoptic_json(folder: str, annotations: str) -> tuple[str, Content]:
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
        if any(annotation["file_name"] in pngs for annotation in content.annotations):
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
