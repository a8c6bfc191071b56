"""Object masks over the photo: a translucent fill and a full outline, one colour per class."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from must_tf.shared import drawing
from must_tf.tasks.masks.labels import has_mask

FILL = 0.5  # shows the mask's shape and what it covers
CROWD_FILL = 0.25


def draw(image: np.ndarray, labels: dict[str, Any], config: drawing.HasClasses) -> np.ndarray:
    """Fills and outlines every object's mask and names it. Objects without a mask are left out.

    Args:
        image: uint8 [h, w, 3], of any size. On another than the labels' own size a mask is resized
            to its box there, which is exact to one pixel of the original image.
        labels: a masks label; may be empty.
        config: its `classes` name ids 1, 2, ...

    Returns:
        uint8 [h, w, 3], a new array; the outline lies inside the mask.
    """
    picture = image.copy()
    objects = drawing.framed_objects(labels, config, *image.shape[:2])
    known = has_mask(labels)
    order = [index for index in drawing.drawing_order(objects) if known[index]]
    for index in order:
        _fill(picture, objects[index], labels["crops"][index], bool(labels["is_crowd"][index]))
    drawing.tags(picture, [objects[index] for index in reversed(order)])
    return picture


def _fill(picture: np.ndarray, item: drawing.FramedObject, crop: np.ndarray, crowd: bool) -> None:
    top, left, bottom, right = item.window
    height, width = bottom - top, right - left
    mask = drawing.resize_nearest(crop, height, width).astype(np.uint8)
    line = drawing.stroke(picture)
    kernel = np.ones((2 * line + 1, 2 * line + 1), np.uint8)
    # Outside the window counts as outside the mask, so that the outline closes along the box.
    inner = cv2.erode(mask, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    outline = (mask > inner) & _dashes(height, width, line, crowd)
    region = picture[top:bottom, left:right]
    drawing.blend(region, mask > 0, item.colour, item.opacity * (CROWD_FILL if crowd else FILL))
    drawing.blend(region, outline, item.colour, item.opacity)


def _dashes(height: int, width: int, line: int, crowd: bool) -> np.ndarray:
    if crowd:
        return drawing.stripes(height, width, 8 * line, 5 * line)
    return np.ones((height, width), bool)
