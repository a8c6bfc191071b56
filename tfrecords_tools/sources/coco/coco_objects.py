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
| iscrowd missing | not a crowd |
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import cv2
import numpy as np
from pycocotools import mask as mask_utils

from must_tf.data import geometry
from must_tf.spec import ImageInfo, Labels
from tfrecords_tools.sources import objects
from tfrecords_tools.sources.coco import rle
from tfrecords_tools.sources.objects import ObjectLabel, ObjectNotes
from tfrecords_tools.writing.counts import Account, Dropped

POLYGON = 6  # coordinates of a triangle; pycocotools would take four for a box

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
    for annotation in annotations:
        name = f"image {info.source_id}, annotation {annotation.get('id', '?')}"
        try:
            object_labels.append(_object(annotation, ids, info, ObjectNotes(account, name)))
        except Dropped as dropped:
            account.dropped.add(dropped.reason, f"{name}: {dropped.example}")
    return objects.labels_of(object_labels)


def _object(annotation: CocoEntry, ids: dict[int, int], info: ImageInfo, notes: ObjectNotes) -> ObjectLabel:
    category = annotation.get("category_id")
    if isinstance(category, (list, dict)) or category not in ids:
        raise Dropped("object: category is not in the JSON", f"category_id {category!r}")
    mask = _mask(annotation.get("segmentation"), info, notes)
    box = objects.normalised(objects.checked(_box(annotation.get("bbox"), mask, info), info, notes), info)
    crop = _crop(mask, box, info, notes)
    area: Any = annotation.get("area")
    is_valid = isinstance(area, (int, float)) and math.isfinite(area) and area > 0
    is_crowd = annotation.get("iscrowd") not in (None, 0, "0")
    return ObjectLabel(box, ids[category], is_crowd, float(area) if is_valid else objects.area_of(crop), crop)


def _box(bbox: Any, mask: RunLengthMask | None, info: ImageInfo) -> tuple[float, float, float, float]:
    """Converts COCO's [x, y, width, height] to [y0, x0, y1, x1] in pixels; without a box, the mask's is used."""
    if bbox is None or (isinstance(bbox, list) and not bbox):
        if mask is None:
            raise Dropped("object: neither box nor mask", "")
        bbox = cv2.boundingRect(rle.crop(mask.runs, info.height, (0, 0, info.height, info.width)))
    try:
        x, y, width, height = (float(value) for value in bbox)
    except (TypeError, ValueError):
        raise Dropped("object: box is not four numbers", f"bbox {bbox!r}") from None
    return y, x, y + height, x + width


def _mask(segmentation: Any, info: ImageInfo, notes: ObjectNotes) -> RunLengthMask | None:
    """Returns the mask, or None if there is no usable one."""
    if not segmentation:
        notes.add("object: no mask, box only", "segmentation is empty")
        return None
    try:
        runs, size = runs_of(segmentation, info.height, info.width)
        if list(size) != [info.height, info.width]:
            notes.add("object: mask of another size, box only", f"height, width {size}")
            return None
    except Exception as error:  # pycocotools checks little and can raise anything
        notes.add("object: mask cannot be read, box only", f"{type(error).__name__}: {error}")
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
    nested = segmentation if isinstance(segmentation[0], list) else [segmentation]
    polygons = [
        polygon[: len(polygon) // 2 * 2] for polygon in nested if len(polygon) >= POLYGON and np.isfinite(polygon).all()
    ]
    if not polygons:
        raise ValueError("no polygon has three corners")
    merged = mask_utils.merge(mask_utils.frPyObjects(polygons, height, width))
    return rle.decompress(merged["counts"]), merged["size"]


def _crop(mask: RunLengthMask | None, box: np.ndarray, info: ImageInfo, notes: ObjectNotes) -> np.ndarray:
    """Cuts the mask to the pixels that the normalised box touches; all zeros without a mask."""
    if mask is None:
        return objects.crop_of(None, box, info, notes)
    window = geometry.crop_window(box, info.height, info.width)
    return objects.checked_crop(rle.crop(mask.runs, info.height, window), mask.area, notes)
