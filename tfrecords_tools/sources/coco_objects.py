"""One COCO annotation -> one object. COCO's JSON in the wild is looser than its definition; this is the list.

| found | becomes |
|---|---|
| box over the border | cut to the image |
| width or height zero or negative, outside of the image, not four numbers | dropped |
| no box, but a mask | the mask's box |
| polygons, RLE, compressed RLE as text or bytes, crowd or not | the mask, by pycocotools |
| no mask, an empty, broken or too short one, one of another size, none of it in its box | a mask that fills the box |
| no mask in the whole image | boxes only: the image is unlabelled for masks |
| area missing, zero or no number | the mask's |
| iscrowd missing | no crowd |
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from pycocotools import mask as mask_utils

from must_tf.spec import ImageInfo, Labels
from tfrecords_tools.sources import objects
from tfrecords_tools.sources.objects import Mask, Notes, Thing
from tfrecords_tools.tally import Account, Dropped

POLYGON = 6  # coordinates of a triangle; pycocotools takes four for a box

Annotation = dict[str, Any]


def labels_of(annotations: list[Annotation], ids: dict[int, int], info: ImageInfo, account: Account) -> Labels:
    """All annotations of one image as labels of `masks`; detection's are the same without the crops.

    Args:
      annotations: entries of the JSON.
      ids: category id -> class id, 1 to K.
      info: the image.
      account: where dropped objects are counted.
    """
    things = []
    for annotation in annotations:
        name = f"image {info.source_id}, annotation {annotation.get('id', '?')}"
        try:
            things.append(_thing(annotation, ids, info, Notes(account, name)))
        except Dropped as dropped:
            account.dropped.add(dropped.reason, f"{name}: {dropped.example}")
    return objects.labels_of(things)


def _thing(annotation: Annotation, ids: dict[int, int], info: ImageInfo, notes: Notes) -> Thing:
    category = annotation.get("category_id")
    if isinstance(category, (list, dict)) or category not in ids:
        raise Dropped("object: category is not in the JSON", f"category_id {category!r}")
    mask = _mask(annotation.get("segmentation"), info, notes)
    box = objects.normalised(objects.checked(_box(annotation.get("bbox"), mask), info, notes), info)
    crop = objects.crop_of(mask, box, info, notes)
    area: Any = annotation.get("area")
    known = isinstance(area, (int, float)) and math.isfinite(area) and area > 0
    is_crowd = annotation.get("iscrowd") not in (None, 0, "0")
    return Thing(box, ids[category], is_crowd, float(area if known else np.count_nonzero(crop)), crop)


def _box(bbox: Any, mask: Mask | None) -> tuple[float, float, float, float]:
    """COCO's [x, y, width, height] -> pixels [y0, x0, y1, x1], or the mask's box where there is none."""
    if bbox is None or (isinstance(bbox, list) and not bbox):
        if mask is None:
            raise Dropped("object: neither box nor mask", "")
        bbox = mask_utils.toBbox(mask_utils.encode(np.asfortranarray(mask.pixels))).tolist()
    try:
        x, y, width, height = (float(value) for value in bbox)
    except (TypeError, ValueError):
        raise Dropped("object: box is not four numbers", f"bbox {bbox!r}") from None
    return y, x, y + height, x + width


def _mask(segmentation: Any, info: ImageInfo, notes: Notes) -> Mask | None:
    """The mask, or None where there is none that can be used."""
    if not segmentation:
        notes.add("object: no mask, box used", "segmentation is empty")
        return None
    try:
        rle = rle_of(segmentation, info.height, info.width)
        if list(rle["size"]) != [info.height, info.width]:
            notes.add("object: mask of another size, box used", f"height, width {rle['size']}")
            return None
        mask = Mask(mask_utils.decode(rle), int(mask_utils.area(rle)))  # in the runs it takes a hundredth of the time
    except Exception as error:  # pycocotools checks little and raises whatever comes
        notes.add("object: mask cannot be read, box used", f"{type(error).__name__}: {error}")
        return None
    if not mask.area:
        notes.add("object: no mask, box used", "the mask has no pixel")
        return None
    return mask


def rle_of(segmentation: Any, height: int, width: int) -> dict[str, Any]:
    """Any of COCO's forms -> compressed RLE."""
    if isinstance(segmentation, dict):
        counts = segmentation["counts"]
        runs = counts if isinstance(counts, list) else _runs(counts)
        # pycocotools leaves the pixels that no run covers as the memory was: other ones at every run.
        if sum(runs) != math.prod(segmentation["size"]) or min(runs) < 0:
            raise ValueError(f"runs of {sum(runs)} pixels for height, width {segmentation['size']}")
        return mask_utils.frPyObjects(segmentation, *segmentation["size"]) if counts is runs else segmentation
    nested = segmentation if isinstance(segmentation[0], list) else [segmentation]
    polygons = [
        polygon[: len(polygon) // 2 * 2] for polygon in nested if len(polygon) >= POLYGON and np.isfinite(polygon).all()
    ]
    if not polygons:
        raise ValueError("no polygon has three corners")
    return mask_utils.merge(mask_utils.frPyObjects(polygons, height, width))


def _runs(counts: str | bytes) -> list[int]:
    """COCO's compressed counts -> lengths of runs down the columns, zeros first.

    Five bits a character, least first, from "0" on; bit 5: more follow, bit 4 of the last: negative. From the fourth
    run on only the difference to the last but one is stored. Source: rleToString in pycocotools' maskApi.c.
    """
    runs: list[int] = []
    value = shift = 0
    for character in counts.encode() if isinstance(counts, str) else counts:
        bits = character - ord("0")
        value |= (bits & 0x1F) << shift
        shift += 5
        if not bits & 0x20:
            value -= (1 << shift) if bits & 0x10 else 0
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return runs
