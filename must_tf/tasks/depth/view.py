"""Depth as colour: near is bright, unknown is dark grey. The range of metric depth is shown in metres."""

from __future__ import annotations

import math

import matplotlib
import numpy as np

from must_tf.shared import drawing, pixel_confidence
from must_tf.tasks.depth.config import Config

COLOURS = matplotlib.colormaps["viridis"]  # perceptually uniform, and ordered by brightness


def draw(image: np.ndarray, labels: dict[str, np.ndarray], config: Config) -> np.ndarray:
    """Replaces the photo by its depth, in colours.

    The colours span the picture's own range, widened to round numbers, so that a label and a good
    prediction share a scale; the key at the bottom left shows it. The photo shows through where the label is uncertain.

    Args:
        image: uint8 [h, w, 3], of any size; the map is resized to it (nearest).
        labels: a depth label of either kind, in the original frame.
        config: not used.

    Returns:
        uint8 [h, w, 3], a new array.
    """
    relative = np.any(labels.get("inverse_depth", 0) > 0)
    values = drawing.resize_nearest(labels["inverse_depth" if relative else "metres"], *image.shape[:2])
    known = values > 0
    picture = np.full_like(image, drawing.UNKNOWN)
    if not known.any():
        return picture
    near, far = _ends(values[known]) if relative else colour_range(values[known])
    nearness = np.clip((far - values[known]) / (far - near), 0, 1)
    picture[known] = COLOURS(nearness, bytes=True)[:, :3]
    words = ("near", "far") if relative else (f"{near:.3g} m", f"{far:.3g} m")
    picture = pixel_confidence.shown(image, picture, labels, known)
    _write_key(picture, *words)
    return picture


def _ends(inverse: np.ndarray) -> tuple[float, float]:
    """Returns (nearest, farthest) around nearly all inverse depths [n]; two different numbers."""
    far, near = (float(value) for value in np.percentile(inverse, [2, 98]))
    return max(near, np.nextafter(np.float32(far), np.float32(np.inf))), far


def colour_range(metres: np.ndarray) -> tuple[float, float]:
    """Returns (near, far) in metres, round numbers around nearly all values [n]; near < far."""
    low, high = np.percentile(metres, [2, 98])  # so that outliers do not use up the range
    span = max(high - low, 0.1 * high)
    step = _round_up(span / 5)
    near = math.floor(low / step + 1e-6) * step
    return near, max(math.ceil(high / step - 1e-6) * step, near + step)


def _round_up(value: float) -> float:
    """Rounds up to one of ... 0.1, 0.2, 0.5, 1, 2, 5, 10 ..."""
    unit = 10.0 ** math.floor(math.log10(value))
    return next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= value)


def _write_key(picture: np.ndarray, near: str, far: str) -> None:
    size = drawing.text_size(picture)
    first, last = (drawing.tag(word, size, drawing.DARK) for word in (near, far))
    ramp = COLOURS(np.linspace(1, 0, 5 * size), bytes=True)[:, :3]
    key = np.hstack([first, np.broadcast_to(ramp, (first.shape[0], *ramp.shape)), last])
    taken = np.zeros(picture.shape[:2], bool)
    drawing.place(picture, taken, key, [(picture.shape[0], 0)])
