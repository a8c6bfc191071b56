"""How a COCO JSON writes its boxes: [x, y, width, height] in pixels, or as some tools do, corners or shares of it.

Boxes in 0..1 are never pixels. Corners are recognised by the masks and areas of the same objects; if there are none,
by boxes that reach beyond their images as sizes and never as corners, which is not proof: then the user decides.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

from must_tf.common.errors import UserError, nearest
from tfrecords_tools.sources.coco import coco_json
from tfrecords_tools.sources.coco.coco_json import CocoEntry

SIZES, CORNERS, NORMALISED = "sizes", "corners", "normalised"
FORMS = (SIZES, CORNERS, NORMALISED)
MODE = "bbox_mode"  # of Detectron2's dictionaries
MODES = {0: CORNERS, 1: SIZES}
KEY = "must_boxes"  # added to annotations whose boxes are not SIZES
SAME = 2.0  # pixels between a box and its mask; both are rounded
SAME_AREA = 0.01  # relative
ABOVE_ONE = 1e-3  # of normalised coordinates, by rounding
OVERHANG = 2.0  # pixels beyond the image
PROVEN, DOUBTFUL = 0.9, 0.2  # shares of the objects that tell


def form_of(sample: Iterable[tuple[CocoEntry, CocoEntry]], wanted: str, path: str) -> str:
    """Returns the form of a JSON's boxes.

    Args:
      sample: some annotations, each with the entry of its image.
      wanted: the value of --boxes; empty to find out.
      path: the JSON.

    Raises:
      UserError: `wanted` does not exist, or the objects say otherwise; or the boxes may be corners.
    """
    if wanted:
        if wanted not in FORMS:
            raise UserError(
                f"--boxes {wanted!r} does not exist.{nearest(wanted, FORMS)} Choose from {', '.join(FORMS)}."
            )
        for annotation, _ in sample:
            if (told := told_form(annotation)) not in ("", wanted):
                raise UserError(
                    f"--boxes {wanted}: the objects of {path} say {MODE} {annotation[MODE]}, which means {told}. Leave "
                    f"out --boxes, or correct {MODE} there."
                )
        return wanted
    boxes = [(box, annotation, image) for annotation, image in sample if (box := _numbers(annotation.get("bbox")))]
    if not boxes:
        return SIZES
    if all(_is_normalised(box, image) for box, _, image in boxes):
        return NORMALISED
    if not all(_fits_as_corners(box, image) for box, _, image in boxes):
        return SIZES
    verdicts = [verdict for box, annotation, _ in boxes if (verdict := _verdict(box, annotation))]
    if verdicts:
        return CORNERS if verdicts.count(CORNERS) >= PROVEN * len(verdicts) else SIZES
    beyond = [box for box, _, image in boxes if _reaches_beyond(box, image)]
    if len(beyond) >= DOUBTFUL * len(boxes):
        raise UserError(
            f"{path}: {len(beyond)} of the first {len(boxes)} boxes reach beyond their images, such as {beyond[0]}, "
            "and all of them fit as corners. Give --boxes corners for [x0, y0, x1, y1], or --boxes sizes for "
            "[x, y, width, height]."
        )
    return SIZES


def told_form(annotation: CocoEntry) -> str:
    """Returns the form that an object itself states; an empty string if it states none that is read."""
    mode = annotation.get(MODE)
    return MODES.get(mode, "") if isinstance(mode, int) else ""


def marked(annotations: str, form: str) -> str:
    """Adds the form to annotations, a JSON list, if it is not SIZES."""
    if form == SIZES:
        return annotations
    return json.dumps([annotation | {KEY: form} for annotation in json.loads(annotations)])


def reach_of(annotations: Iterable[CocoEntry]) -> tuple[float, float]:
    """Returns how far the boxes of an image reach down and right in pixels; 0 if they are in another form."""
    found = [
        (box[1] + box[3], box[0] + box[2])
        for annotation in annotations
        if KEY not in annotation and (box := _numbers(annotation.get("bbox")))
    ]
    return max((down for down, _ in found), default=0.0), max((right for _, right in found), default=0.0)


def _numbers(bbox: Any) -> list[float] | None:
    try:
        numbers = [float(value) for value in bbox]
    except (TypeError, ValueError):
        return None
    return numbers if len(numbers) == 4 and all(map(math.isfinite, numbers)) and min(numbers[2:]) > 0 else None


def _is_normalised(box: list[float], image: CocoEntry) -> bool:
    x, y, width, height = box
    is_tiny_image = min(coco_json.size_of(image) or (3, 3)) <= 2
    return not is_tiny_image and min(box) >= 0 and max(x + width, y + height) <= 1 + ABOVE_ONE and width * height < 1


def _fits_as_corners(box: list[float], image: CocoEntry) -> bool:
    height, width = coco_json.size_of(image) or (math.inf, math.inf)
    return box[2] > box[0] and box[3] > box[1] and box[2] <= width + SAME and box[3] <= height + SAME


def _reaches_beyond(box: list[float], image: CocoEntry) -> bool:
    height, width = coco_json.size_of(image) or (math.inf, math.inf)
    return box[0] + box[2] > width + OVERHANG or box[1] + box[3] > height + OVERHANG


def _verdict(box: list[float], annotation: CocoEntry) -> str:
    """Returns SIZES or CORNERS if the object says it, or its mask or area fits only one; else an empty string."""
    if told := told_form(annotation):
        return told
    x, y, width, height = box
    x1, y1 = _lower_corner(annotation.get("segmentation"))
    if x1 is not None and y1 is not None:
        as_sizes = abs(x + width - x1) <= SAME and abs(y + height - y1) <= SAME
        as_corners = abs(width - x1) <= SAME and abs(height - y1) <= SAME
    else:
        area = annotation.get("area")
        if not isinstance(area, int | float) or not area > 0:
            return ""
        as_sizes = abs(width * height - area) <= SAME_AREA * area
        as_corners = abs((width - x) * (height - y) - area) <= SAME_AREA * area
    if as_sizes == as_corners:
        return ""
    return SIZES if as_sizes else CORNERS


def _lower_corner(segmentation: Any) -> tuple[float | None, float | None]:
    """Returns the largest x and y of polygons; None of anything else."""
    try:
        points = [value for polygon in coco_json.polygons_of(segmentation) for value in polygon]
        return (max(points[0::2]), max(points[1::2])) if len(points) >= 6 else (None, None)
    except (TypeError, ValueError, KeyError, IndexError):
        return None, None
