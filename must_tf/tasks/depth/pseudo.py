"""Pseudo labels of depth: kept as predicted, as in the paper. Relative depth is shifted so that all pixels are
positive.
"""

from __future__ import annotations

import numpy as np

from must_tf.spec import ImageInfo, Labels
from must_tf.tasks.depth.config import Config
from must_tf.tasks.depth.labels import LARGEST


def keep(predictions: dict[str, np.ndarray], info: ImageInfo, config: Config) -> Labels:
    """Returns `metres` and `inverse_depth` float32 [h, w]; the one that was not predicted is all 0."""
    del info, config
    key = "inverse_depth" if "inverse_depth" in predictions else "metres"
    values = np.asarray(predictions[key], np.float32)
    labels = {"metres": np.zeros_like(values), "inverse_depth": np.zeros_like(values)}
    return labels | {key: _positive(values) if key == "inverse_depth" else values}


def _positive(inverse: np.ndarray) -> np.ndarray:
    """Shifts inverse depth so that the farthest pixel is one step of 16 bits above 0, which means unknown."""
    lowest, highest = inverse.min(), inverse.max()
    step = (highest - lowest) / LARGEST or np.float32(1.0)  # a flat prediction has no step
    return inverse - lowest + step
