"""Labels and predictions with a few boxes of one class."""

from __future__ import annotations

import numpy as np

from tests.support.contract import golden

REGION = (0.25, 0.25, 0.75, 0.75)  # of the image: 32..96 of 128 pixels, where the anchors begin at 32


def one_box(score: float, crowd: bool = False, box: tuple[float, ...] = REGION) -> dict[str, np.ndarray]:
    """Returns detection labels with one box of class 1."""
    found = {"boxes": [box], "classes": [1], "scores": [score], "is_crowd": [crowd], "area": [100.0]}
    return {key: np.asarray(found[key], value.dtype) for key, value in golden("detection").empty(128, 128).items()}


def predictions(*maps: np.ndarray) -> dict[str, np.ndarray]:
    """Returns predictions of an image of 56 x 56 with boxes of 28 x 28: a cell of a map is a pixel."""
    count = len(maps)
    return {
        "boxes": np.tile(np.array([0.25, 0.25, 0.75, 0.75], np.float32), [count, 1]),
        "classes": np.ones(count, np.int32),
        "scores": np.full(count, 0.9, np.float32),
        "count": np.array(count, np.int32),
        "probability": np.stack(maps).astype(np.float32),
    }
