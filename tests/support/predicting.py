"""The images of the tiny records, for tests of predictions."""

from __future__ import annotations

import functools

import numpy as np

from must_tf.data import scenes
from tests.support.tiny import SIZES


@functools.cache
def images() -> tuple[np.ndarray, ...]:
    """Returns the five scenes of `tiny_records` in their order, uint8 [h, w, 3]."""
    return tuple(scenes.render("wild", 5, index, SIZES[index % len(SIZES)]).image for index in range(5))
