"""Converts COCO annotations to objects. Real files deviate from COCO's format; these cases are handled:

| in the JSON | becomes |
|---|---|
| box over the border | clipped to the image |
| box with zero or negative width or height, outside the image, or not four numbers | dropped |
| no box, but a mask | the mask's box |
| polygons, RLE, compressed RLE as text or bytes, crowd or not | the mask, by pycocotools |
| mask missing, empty, invalid, of another size, or outside its box | an object without a mask |
| no usable mask in the whole image | boxes only; the image is unlabelled for masks |
| area missing, zero or not a number | the area of the mask |
| iscrowd missing, or anything else than 1 and true | not a crowd |
| a polygon as pairs, as objects with x and y, or as text | the mask |
| boxes and polygons in 0..1, or boxes as corners (see `coco_boxes`) | converted to pixels |
| a rotated box | dropped |
| the same annotation twice, with the same id | one object |
| keys and attributes that are not used here | noted, if they are set |
"""

from __future__ import annotations

import collections
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import cv2
import numpy as np
from pycocotools import mask as mask_utils

from must_tf.data import geometry
from must_tf.data.opening import MAX_PIXELS
from must_tf.spec import ImageInfo, Labels
from tfrecords_tools.sources import objects
from tfrecords_tools.sources.coco import coco_boxes, coco_json, rle
from tfrecords_tools.sources.objects import ObjectLabel, ObjectNotes
from tfrecords_tools.writing.counts import Account, Dropped
from tfrecords_tools.writing.reasons import reason_of

FAR = 100_000.0  # pixels; pycocotools walks along every line, and takes 150 bytes of memory a pixel
POLYGON = 6  # coordinates of a triangle; pycocotools would take four for a box
USED = {"id", "image_id", "category_id", "bbox", "area", "segmentation", "iscrowd", coco_boxes.KEY, coco_boxes.MODE}
OURS = {"score", "mask_score"}  # of export-coco: a corrected label is certain
ATTRIBUTES = "attributes"  # a table of further keys, as CVAT writes it
TWICE = "object: its annotation is there twice, one is used"
ANGLES = ("rotation", "angle", "theta")  # keys of rotated boxes

CocoEntry = dict[str, Any]


class RunLengthMask(NamedTuple):
    """A run-length encoded mask of the whole image; see `rle`."""

    runs: np.ndarray  # int64 [N]
    area: int  # pixels


def labels_of(annotations: list[CocoEntry], ids: dict[int, int], info: ImageInfo, account: Account) -> Labels:
    """Converts all annotations of one image to labels of `masks`; those of detection are the same without the crops.

    Args:
      annotations: entries of the JSON.
      ids: {category id: class id from 1 to K}.
      info: the image.
      account: counts dropped objects.
    """
    object_labels = []
    for annotation in _once(annotations, ObjectNotes(account, f"image {info.source_id}")):
        name = f"image {info.source_id}, annotation {annotation.get('id', '?')}"
        try:
            object_labels.append(_object(annotation, ids, info, ObjectNotes(account, name)))
        except Dropped as dropped:
            account.dropped.add(dropped.reason, f"{name}: {dropped.example}")
    objects.note_repeated(object_labels, ObjectNotes(account, f"image {info.source_id}"))
    return objects.labels_of(object_labels)


def _once(annotations: list[CocoEntry], notes: ObjectNotes) -> Iterator[CocoEntry]:
    """Yields the annotations; one that is in the file several times, with the same id, once."""
    ids = collections.Counter(repr(annotation.get("id")) for annotation in annotations)
    seen: set[str] = set()
    for annotation in annotations:
        number = annotation.get("id")
        if number is not None and ids[repr(number)] > 1:
            content = repr(sorted(annotation.items()))
            if content in seen:
                notes.add(TWICE, f"annotation {number}")
                continue
            seen.add(content)
        yield annotation


def _object(annotation: CocoEntry, ids: dict[int, int], info: ImageInfo, notes: ObjectNotes) -> ObjectLabel:
    category = annotation.get("category_id")
    if isinstance(category, (list, dict)) or category not in ids:
        raise Dropped("object: category is not in the JSON", f"category_id {category!r}")
    _note_unused(annotation, notes)
    mask = _mask(_segmentation(annotation, info), info, notes)
    box = objects.normalised(objects.checked(_box(annotation, mask, info, notes), info, notes), info)
    crop = _crop(mask, box, info, notes)
    area: Any = annotation.get("area")
    is_valid = isinstance(area, (int, float)) and 0 < area <= MAX_PIXELS
    if annotation.get(coco_boxes.KEY) == coco_boxes.NORMALISED:
        is_valid = False  # it may be a share
    is_crowd = objects.is_set(annotation.get("iscrowd"), "iscrowd", notes)
    return ObjectLabel(box, ids[category], is_crowd, float(area) if is_valid else objects.area_of(crop), crop)


def _note_unused(annotation: CocoEntry, notes: ObjectNotes) -> None:
    """Notes the keys that are set and have no meaning here.

    Raises:
      Dropped: the box is rotated.
    """
    unused = annotation.keys() - USED - OURS
    if not unused and coco_boxes.MODE not in annotation:
        return
    values = {key: annotation[key] for key in sorted(unused - {ATTRIBUTES})}
    if coco_boxes.MODE in annotation and not coco_boxes.told_form(annotation):
        values[coco_boxes.MODE] = annotation[coco_boxes.MODE]
    attributes = annotation.get(ATTRIBUTES)
    if isinstance(attributes, dict):
        values |= {f"{ATTRIBUTES}.{key}": value for key, value in attributes.items()}
    elif attributes:
        values[ATTRIBUTES] = attributes
    for key, value in values.items():
        is_angle = key.removeprefix(f"{ATTRIBUTES}.").lower() in ANGLES
        if is_angle and isinstance(value, int | float) and value % 360:
            raise Dropped("object: its box is rotated", f"{key} {value}")
        if value and str(value).lower() not in objects.NOT_SET:
            notes.add(f"object: {key} is set and not used", str(value)[:40])


def _segmentation(annotation: CocoEntry, info: ImageInfo) -> Any:
    """Returns the segmentation in pixels."""
    segmentation = annotation.get("segmentation")
    if annotation.get(coco_boxes.KEY) != coco_boxes.NORMALISED or not isinstance(segmentation, list):
        return segmentation
    try:
        polygons = coco_json.polygons_of(segmentation)
    except (TypeError, ValueError, KeyError, IndexError):
        return segmentation  # reported when the mask is read
    sides = (info.width, info.height)
    return [[value * sides[place % 2] for place, value in enumerate(polygon)] for polygon in polygons]


def _box(
    annotation: CocoEntry, mask: RunLengthMask | None, info: ImageInfo, notes: ObjectNotes
) -> tuple[float, float, float, float]:
    """Converts COCO's [x, y, width, height] to [y0, x0, y1, x1] in pixels; without a box, the mask's is used."""
    bbox = annotation.get("bbox")
    form = annotation.get(coco_boxes.KEY, coco_boxes.SIZES)
    told = coco_boxes.told_form(annotation)
    if told and form != coco_boxes.NORMALISED:
        if told != form:
            notes.add(f"object: its {coco_boxes.MODE} is another one than the file's, used", told)
        form = told
    if bbox is None or (isinstance(bbox, list) and not bbox):
        if mask is None:
            raise Dropped("object: neither box nor mask", "")
        bbox = cv2.boundingRect(rle.crop(mask.runs, info.height, (0, 0, info.height, info.width)))
        form = coco_boxes.SIZES
    if isinstance(bbox, list) and len(bbox) == 5:
        raise Dropped("object: its box is rotated", f"bbox {bbox}")
    try:
        x, y, width, height = (float(value) for value in bbox)
    except (TypeError, ValueError):
        raise Dropped("object: box is not four numbers", f"bbox {bbox!r}") from None
    if form == coco_boxes.CORNERS:
        notes.add("object: box read as corners x0, y0, x1, y1", bbox)
        return y, x, height, width
    if form == coco_boxes.NORMALISED:
        notes.add("object: box in 0..1 scaled to pixels", bbox)
        x, y, width, height = x * info.width, y * info.height, width * info.width, height * info.height
    return y, x, y + height, x + width


def _mask(segmentation: Any, info: ImageInfo, notes: ObjectNotes) -> RunLengthMask | None:
    """Returns the mask, or None if there is no usable one."""
    if not segmentation or (isinstance(segmentation, dict | list) and not coco_json.has_outline(segmentation)):
        notes.add("object: no mask, box only", "segmentation is empty")
        return None
    try:
        runs, size = runs_of(segmentation, info.height, info.width)
        if list(size) != [info.height, info.width]:
            notes.add("object: mask of another size, box only", f"height, width {size}")
            return None
    except Exception as error:  # pycocotools checks little and can raise anything
        notes.add("object: mask cannot be read, box only", reason_of(error))
        return None
    area = int(runs[1::2].sum())
    if not area:
        notes.add("object: no mask, box only", "the mask has no pixel")
        return None
    return RunLengthMask(runs, area)


def runs_of(segmentation: Any, height: int, width: int) -> tuple[np.ndarray, list[int]]:
    """Returns the runs int64 [N] of any of COCO's mask formats, and the height and width that they cover."""
    if isinstance(segmentation, dict):
        counts, size = segmentation["counts"], segmentation["size"]
        runs = np.asarray(counts) if isinstance(counts, list) else rle.decompress(counts)
        if runs.dtype != np.int64 or runs.sum() != math.prod(size) or runs.min() < 0:
            raise ValueError(f"runs of {runs.sum()} pixels for height, width {size}")
        return runs, size
    polygons = [
        polygon[: len(polygon) // 2 * 2]
        for polygon in coco_json.polygons_of(segmentation)
        if len(polygon) >= POLYGON and np.isfinite(polygon).all()
    ]
    if not polygons:
        raise ValueError("no polygon has three corners")
    if max(map(max, polygons)) > FAR or min(map(min, polygons)) < -FAR:
        raise ValueError("a corner is far outside of the image")
    merged = mask_utils.merge(mask_utils.frPyObjects(polygons, height, width))
    return rle.decompress(merged["counts"]), merged["size"]


def _crop(mask: RunLengthMask | None, box: np.ndarray, info: ImageInfo, notes: ObjectNotes) -> np.ndarray:
    """Cuts the mask to the pixels that the normalised box touches; all zeros without a mask."""
    if mask is None:
        return objects.crop_of(None, box, info, notes)
    window = geometry.crop_window(box, info.height, info.width)
    return objects.checked_crop(rle.crop(mask.runs, info.height, window), mask.area, notes)
