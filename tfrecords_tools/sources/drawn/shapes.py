"""Shapes as COCO annotations: [x, y] points become polygons, boxes and run-length codes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from must_tf.data.opening import MAX_PIXELS

CocoEntry = dict[str, Any]
Points = Sequence[Sequence[float]]  # [x, y] of each corner
CORNERS = 3  # fewest corners of a polygon
ROUND = 64  # corners of an ellipse; between them it is cut by 0.1 % of its radius


def box(name: str, first: Sequence[float], second: Sequence[float]) -> CocoEntry:
    """Returns a box between two opposite corners [x, y], in any order."""
    low = [min(pair) for pair in zip(first, second, strict=True)]
    high = [max(pair) for pair in zip(first, second, strict=True)]
    return {"category_id": name, "bbox": [*low, high[0] - low[0], high[1] - low[1]]}


def polygon(name: str, *rings: Points) -> CocoEntry:
    """Returns an object of one or more polygons and the box around them. A ring of fewer than 3 corners has no area."""
    points = np.array([point for ring in rings for point in ring], np.float64).reshape(-1, 2)
    around = box(name, points.min(0).tolist(), points.max(0).tolist())
    flat = [[float(value) for point in ring for value in point] for ring in rings if len(ring) >= CORNERS]
    return around | {"segmentation": flat}


def round_ring(centre: Sequence[float], radii: Sequence[float], degrees: float = 0.0) -> list[list[float]]:
    """Returns corners on an ellipse, turned clockwise by `degrees` about its centre."""
    angles = np.arange(ROUND) * (2 * math.pi / ROUND)
    upright = np.stack([centre[0] + radii[0] * np.cos(angles), centre[1] + radii[1] * np.sin(angles)], -1)
    return turned(upright.tolist(), centre, degrees)


def turned(corners: Points, pivot: Sequence[float], degrees: float) -> list[list[float]]:
    """Turns corners [x, y] clockwise by `degrees` about the pivot (y points down)."""
    turn = math.radians(degrees)
    moved = [(x - pivot[0], y - pivot[1]) for x, y in corners]
    return [
        [
            pivot[0] + x * math.cos(turn) - y * math.sin(turn),
            pivot[1] + x * math.sin(turn) + y * math.cos(turn),
        ]
        for x, y in moved
    ]


def bitmap(name: str, mask: np.ndarray, top: int, left: int, size: tuple[int, int]) -> CocoEntry:
    """Returns an object with a mask.

    Args:
      name: of its class.
      mask: bool [h, w], a part of the image.
      top, left: its place in the image.
      size: height and width of the image.

    Raises:
      ValueError: the mask is empty, or is not inside the image.
    """
    height, width = mask.shape
    if top < 0 or left < 0 or top + height > size[0] or left + width > size[1]:
        raise ValueError(f"a mask of {width}x{height} at {left},{top} is not inside of {size[1]}x{size[0]}")
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        raise ValueError("the mask has no pixel")
    whole = canvas(size)
    whole[top : top + height, left : left + width] = mask
    flat = whole.T.ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    counts = np.diff([0, *([0] if flat[0] else []), *changes, len(flat)]).tolist()
    first = [left + float(columns[0]), top + float(rows[0])]
    last = [left + float(columns[-1]) + 1, top + float(rows[-1]) + 1]
    return box(name, first, last) | {"segmentation": {"counts": counts, "size": list(size)}}


def canvas(size: tuple[int, int]) -> np.ndarray:
    """Returns a mask bool [h, w] without a pixel.

    Raises:
      ValueError: no image can have this size.
    """
    if not 0 < size[0] * size[1] <= MAX_PIXELS:
        raise ValueError(f"an image of {size[1]}x{size[0]}")
    return np.zeros(size, bool)


def rectangle(first: Sequence[float], second: Sequence[float]) -> list[list[float]]:
    """Returns the four corners of the box between two opposite corners [x, y]."""
    return [[first[0], first[1]], [second[0], first[1]], [second[0], second[1]], [first[0], second[1]]]
