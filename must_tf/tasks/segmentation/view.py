"""Class colours over the photo, paler where less certain; ignored pixels hatched in grey."""

from __future__ import annotations

import cv2
import numpy as np

from must_tf.shared import drawing
from must_tf.tasks.segmentation.labels import IGNORE

BACKGROUND = "background"
FILL = 0.6  # of a pixel that is certain
NAMED_SHARE = 0.004  # smaller regions are smaller than their name


def draw(image: np.ndarray, labels: dict[str, np.ndarray], config: drawing.HasClasses) -> np.ndarray:
    """Colours every labelled pixel and writes each class's name into its largest region.

    Args:
        image: uint8 [h, w, 3], of any size; the maps are resized to it (nearest).
        labels: a segmentation label, in the original frame.
        config: its `classes` name ids 0, 1, ...

    Returns:
        uint8 [h, w, 3], a new array.
    """
    height, width = image.shape[:2]
    classes = drawing.resize_nearest(labels["classes"], height, width)
    confidence = np.clip(drawing.resize_nearest(labels["confidence"], height, width), 0, 1)
    known = classes != IGNORE
    palette = np.array([_colour(config, identity) for identity in range(classes.max() + 1)], np.float32)

    picture = image.copy()
    drawing.blend(picture, known, palette[classes], FILL * confidence)
    line = drawing.stroke(picture)
    hatch = drawing.stripes(height, width, 6 * line, 2 * line)
    drawing.blend(picture, ~known & hatch, drawing.UNKNOWN, 0.7)
    _write_names(picture, classes, config)
    return picture


def _write_names(picture: np.ndarray, classes: np.ndarray, config: drawing.HasClasses) -> None:
    taken = np.zeros(classes.shape, bool)
    size = drawing.text_size(picture)
    identities, counts = np.unique(classes[classes != IGNORE], return_counts=True)
    for identity in identities[np.argsort(-counts)]:
        region = _largest_region(classes == identity)
        if region.mean() < NAMED_SHARE:
            continue
        name = drawing.name_or_number(config.classes, int(identity))
        patch = drawing.tag(name, size, _colour(config, int(identity)))
        y, x = _innermost(region)
        corner = (y - patch.shape[0] // 2, x - patch.shape[1] // 2)
        drawing.place(picture, taken, patch, [corner])


def _colour(config: drawing.HasClasses, identity: int) -> drawing.Colour:
    """Returns a class's colour: that of the box class of this number, whose 0 is the background."""
    return drawing.colour(identity + (BACKGROUND not in config.classes[:1]))


def _largest_region(where: np.ndarray) -> np.ndarray:
    _, regions, facts, _ = cv2.connectedComponentsWithStats(where.astype(np.uint8))
    return regions == 1 + np.argmax(facts[1:, cv2.CC_STAT_AREA])  # region 0 is what is not `where`


def _innermost(region: np.ndarray) -> tuple[int, int]:
    """The pixel farthest from the region's edge, the picture's edge included."""
    padded = np.pad(region, 1).astype(np.uint8)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1]
    y, x = np.unravel_index(np.argmax(distance), region.shape)
    return int(y), int(x)
