"""Pseudo labels of segmentation: all pixels with their confidence. The paper's threshold of 0.5 applies on reading."""

from __future__ import annotations

import numpy as np

from must_tf.spec import ImageInfo, Labels
from must_tf.tasks.segmentation.config import Config
from must_tf.tasks.segmentation.labels import IGNORE


def keep(predictions: dict[str, np.ndarray], info: ImageInfo, config: Config) -> Labels:
    """Returns `classes` int32 [h, w] and `confidence` float32 [h, w]. A pixel with NaN confidence is ignored."""
    del info, config
    confidence = np.asarray(predictions["confidence"], np.float32)
    classes = np.asarray(predictions["classes"], np.int32)
    known = np.isfinite(confidence)
    if known.all():  # copies of a large map take gigabytes
        return {"classes": classes, "confidence": confidence}
    return {
        "classes": np.where(known, classes, np.int32(IGNORE)),
        "confidence": np.where(known, confidence, 0.0),
    }
