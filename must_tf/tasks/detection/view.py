"""Boxes over the photo, one colour per class; crowds and ignore regions dashed and hatched."""

from __future__ import annotations

import numpy as np

from must_tf.data import geometry
from must_tf.shared import drawing


def draw(image: np.ndarray, labels: dict[str, np.ndarray], config: drawing.HasClasses) -> np.ndarray:
    """Frames every object and names it; the score is shown, and pales the frame, below 1.

    Args:
        image: uint8 [h, w, 3], of any size: boxes are normalised.
        labels: a detection label; no object leaves the photo as it is. Of a training batch it also has `ignored`
            [M, 4], the ignore regions: grey, below all objects.
        config: its `classes` name ids 1, 2, ...

    Returns:
        uint8 [h, w, 3], a new array. Where names would cover each other, the surest one stays.
    """
    picture = image.copy()
    for box in labels.get("ignored", ()):
        window = geometry.crop_window(box, *image.shape[:2])
        drawing.frame(picture, drawing.FramedObject(window, drawing.LIGHT, "", 1.0), dashed=True)
    objects = drawing.framed_objects(labels, config, *image.shape[:2])
    order = drawing.drawing_order(objects)
    for index in order:
        drawing.frame(picture, objects[index], dashed=bool(labels["is_crowd"][index]))
    drawing.tags(picture, [objects[index] for index in reversed(order)])
    return picture
