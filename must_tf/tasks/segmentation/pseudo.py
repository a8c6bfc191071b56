"""Every pixel is kept with its confidence; the paper's threshold of 0.5 is applied on reading."""

from __future__ import annotations

from typing import Any

import numpy as np

from must_tf.spec import ImageInfo, Labels


def keep(predictions: dict[str, np.ndarray], info: ImageInfo, config: Any) -> Labels:
    """Labels: `classes` int32 [h, w], `confidence` float32 [h, w]."""
    del info, config
    return {
        "classes": np.asarray(predictions["classes"], np.int32),
        "confidence": np.asarray(predictions["confidence"], np.float32),
    }
