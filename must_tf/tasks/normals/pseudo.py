"""Pseudo labels of normals: kept as predicted, as the paper does with depth."""

from __future__ import annotations

import numpy as np

from must_tf.spec import ImageInfo, Labels
from must_tf.tasks.normals.config import Config


def keep(predictions: dict[str, np.ndarray], info: ImageInfo, config: Config) -> Labels:
    """Returns `normals` float32 [h, w, 3]."""
    del info, config
    return {"normals": np.asarray(predictions["normals"], np.float32)}
