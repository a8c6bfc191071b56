"""How a dataset of Hugging Face writes its boxes, if its owner does not say: nothing in the files does.

Numbers in 0..1 are shares of the image's sides. They are sizes or corners, whichever fits; if both do, the user
decides. Pixels are read as in COCO's JSON, see `coco_boxes`: areas prove corners, and boxes beyond their images make
them likely.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from must_tf.common.errors import UserError
from must_tf.data import image_files
from tfrecords_tools.sources.coco import coco_boxes

SIZES, CORNERS, RELATIVE = "sizes", "corners", "relative-"
FORMS = (SIZES, CORNERS, f"{RELATIVE}{SIZES}", f"{RELATIVE}{CORNERS}")
SAMPLE = 200  # images
TINY = 2  # pixels; boxes of such images may be below 1
ROUNDING = 1e-3  # of coordinates below 0 or above 1

# An object and its image, as entries of a COCO JSON.
Sampled = tuple[dict[str, Any], dict[str, Any]]


def sampled(image: bytes, listed: Iterable[Mapping[str, Any]]) -> Iterator[Sampled]:
    """Yields the objects of an image whose box can tell: none if the image is tiny or cannot be read."""
    height, width = image_files.frames(image).stored
    for one in listed if min(height, width) > TINY else ():
        box = one.get("bbox")
        if box is None or len(box) != 4 or None in box:
            continue
        numbers = [float(value) for value in box]
        if all(map(math.isfinite, numbers)) and min(numbers[2:]) > 0:
            yield {"bbox": numbers, "area": one.get("area")}, {"height": height, "width": width}


def form_of(sample: Sequence[Sampled], path: str) -> str:
    """Returns the form of the boxes, one of `FORMS`.

    Args:
      sample: the objects of the first images.
      path: of the files, for messages.

    Raises:
      UserError: they may have several forms.
    """
    boxes = [annotation["bbox"] for annotation, _ in sample]
    limit = 1 + ROUNDING
    if not boxes or max(map(max, boxes)) > limit or min(map(min, boxes)) < -ROUNDING:
        return coco_boxes.form_of(sample, "", f"--data {path}")
    fits = {
        SIZES: all(x + width <= limit and y + height <= limit for x, y, width, height in boxes),
        CORNERS: all(x1 > x0 and y1 > y0 for x0, y0, x1, y1 in boxes),
    }
    if fits[SIZES] == fits[CORNERS]:
        raise UserError(
            f"--data {path}: the boxes are in 0..1, such as {boxes[0]}. Give --boxes relative-sizes for "
            "[x, y, width, height], or --boxes relative-corners for [x0, y0, x1, y1]."
        )
    return f"{RELATIVE}{SIZES if fits[SIZES] else CORNERS}"
