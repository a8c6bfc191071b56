"""Depth as colour, near is bright; unknown is dark grey. The range is written in metres."""

from __future__ import annotations

import math

import matplotlib
import numpy as np

from must_tf import drawing

COLOURS = matplotlib.colormaps["viridis"]  # equal steps look equal, and brightness alone tells order


def draw(image: np.ndarray, labels: dict[str, np.ndarray], config: object) -> np.ndarray:
    """Replaces the photo by its depth, in colours.

    The colours span the picture's own range, widened to round numbers, so that a label and a good
    prediction share a scale; the key at the bottom left says which.

    Args:
        image: uint8 [h, w, 3], of any size; the map is resized to it (nearest).
        labels: a depth label, in the original frame.
        config: not used.

    Returns:
        uint8 [h, w, 3], a new array.
    """
    metres = drawing.fit(labels["metres"], *image.shape[:2])
    known = metres > 0
    picture = np.full_like(image, drawing.UNKNOWN)
    if not known.any():
        return picture
    near, far = colour_range(metres[known])
    nearness = np.clip((far - metres[known]) / (far - near), 0, 1)
    picture[known] = COLOURS(nearness, bytes=True)[:, :3]
    _write_key(picture, near, far)
    return picture


def colour_range(metres: np.ndarray) -> tuple[float, float]:
    """Round numbers around nearly all of the values [n]: (near, far), near < far, in metres."""
    low, high = np.percentile(metres, [2, 98])  # a few stray pixels must not flatten the rest
    span = max(high - low, 0.1 * high)
    step = _round_up(span / 5)
    near = math.floor(low / step + 1e-6) * step
    return near, max(math.ceil(high / step - 1e-6) * step, near + step)


def _round_up(value: float) -> float:
    """The next of ... 0.1, 0.2, 0.5, 1, 2, 5, 10 ..."""
    unit = 10.0 ** math.floor(math.log10(value))
    return next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= value)


def _write_key(picture: np.ndarray, near: float, far: float) -> None:
    size = drawing.text_size(picture)
    first = drawing.tag(f"{near:.3g} m", size, drawing.DARK)
    last = drawing.tag(f"{far:.3g} m", size, drawing.DARK)
    ramp = COLOURS(np.linspace(1, 0, 5 * size), bytes=True)[:, :3]
    key = np.hstack([first, np.broadcast_to(ramp, (first.shape[0], *ramp.shape)), last])
    taken = np.zeros(picture.shape[:2], bool)
    drawing.place(picture, taken, key, [(picture.shape[0], 0)])
