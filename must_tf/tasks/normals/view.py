"""Normals as colour: x, y, z in -1..1 become red, green, blue in 0..255; unknown is dark grey."""

from __future__ import annotations

import numpy as np

from must_tf.shared import drawing, pixel_confidence
from must_tf.tasks.normals.config import Config
from must_tf.tasks.normals.labels import colours


def draw(image: np.ndarray, labels: dict[str, np.ndarray], config: Config) -> np.ndarray:
    """Replaces the photo by its normals, colour = (n + 1) * 127.5.

    Surfaces that face the camera (z = -1) are olive, without blue; facing right is redder, facing down is greener.
    The photo shows through where the label is uncertain.

    Args:
        image: uint8 [h, w, 3], of any size; the map is resized to it (nearest).
        labels: a normals label, in the original frame.
        config: not used.

    Returns:
        uint8 [h, w, 3], a new array.
    """
    normals = drawing.resize_nearest(labels["normals"], *image.shape[:2])  # [h, w, 3]
    known = np.any(normals != 0, axis=-1)
    picture = colours(normals)
    picture[~known] = drawing.UNKNOWN
    return pixel_confidence.shown(image, picture, labels, known)
