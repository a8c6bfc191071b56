"""Depth is kept as predicted, as in the paper."""

from __future__ import annotations

from typing import Any

import numpy as np

from must_tf.spec import ImageInfo, Labels


def keep(predictions: dict[str, np.ndarray], info: ImageInfo, config: Any) -> Labels:
    """Labels: `metres` float32 [h, w]."""
    del info, config
    return {"metres": np.asarray(predictions["metres"], np.float32)}
