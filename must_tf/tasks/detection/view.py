"""Boxes over the photo, one colour per class; crowds and ignore regions dashed and hatched."""

from __future__ import annotations

import numpy as np

from must_tf.data import geometry
from must_tf.shared import drawing


def draw(image: np.ndarray, labels: dict[str, np.ndarray], config: drawing.HasClasses) -> np.ndarray:
    """Frames and names every object. A score below 1 is shown and makes the frame paler.

    Args:
        image: uint8 [h, w, 3], of any size: boxes are normalised.
        labels: a detection label; may be empty. Labels of a training batch also have `ignored` [M, 4], the ignore
            regions, drawn in grey below all objects.
        config: its `classes` name ids 1, 2, ...

    Returns:
        uint8 [h, w, 3], a new array. If names would overlap, the one with the highest score is drawn.
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
