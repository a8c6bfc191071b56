"""Pseudo labels of classification: the whole distribution, because the paper trains on soft labels."""

from __future__ import annotations

import numpy as np

from must_tf.spec import ImageInfo, Labels
from must_tf.tasks.classification.config import Config


def keep(predictions: dict[str, np.ndarray], info: ImageInfo, config: Config) -> Labels:
    """Returns `probability` float32 [C]."""
    del info, config
    return {"probability": np.asarray(predictions["probability"], np.float32)}
