"""The whole distribution is kept: the paper trains classification on soft labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from must_tf.spec import ImageInfo, Labels


def keep(predictions: dict[str, np.ndarray], info: ImageInfo, config: Any) -> Labels:
    """Labels: `probability` float32 [C]."""
    del info, config
    return {"probability": np.asarray(predictions["probability"], np.float32)}
