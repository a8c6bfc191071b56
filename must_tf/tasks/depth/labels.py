"""`image/depth/encoded`: 16-bit PNG [h, w], 0 = unknown; `image/depth/scale`: metres per unit; `image/depth/kind`.

Precision: half of the scale, which is 1 mm up to 65 m and max / 65535 beyond. `kind` is "metric".
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import tensorflow as tf

from must_tf.data import geometry, record
from must_tf.data.geometry import Warp
from must_tf.spec import ImageInfo, Labels, Tensors

DEPTH = "image/depth/encoded"
SCALE = "image/depth/scale"
KIND = "image/depth/kind"
MILLIMETRE = 1e-3
LARGEST = 65535  # of 16 bits


def features(config: Any) -> dict[str, Any]:
    """The parsing spec of the PNG and its scale."""
    del config
    return {
        DEPTH: tf.io.FixedLenFeature([], tf.string, ""),
        SCALE: tf.io.FixedLenFeature([], tf.float32, MILLIMETRE),
    }


def read(parsed: Tensors, size: tf.Tensor, config: Any) -> Tensors:
    """Labels: `metres` float32 [h, w], 0 = unknown."""
    del config
    units = record.decode_map(parsed[DEPTH], size, 1, tf.uint16, 0)[..., 0]
    return {"metres": tf.cast(units, tf.float32) * parsed[SCALE]}


def write(labels: Labels, info: ImageInfo) -> dict[str, tf.train.Feature]:
    """Millimetres where they reach; known depth never rounds to unknown. Negative and infinite: unknown."""
    del info
    metres = np.asarray(labels["metres"], np.float64)
    known = np.isfinite(metres) & (metres > 0)
    farthest = metres[known].max(initial=0.0)
    scale = float(np.float32(max(MILLIMETRE, farthest / LARGEST)))
    units = np.where(known, np.clip(np.rint(np.where(known, metres, 0) / scale), 1, LARGEST), 0)
    return {
        DEPTH: record.bytes_feature([cv2.imencode(".png", units.astype(np.uint16))[1].tobytes()]),
        SCALE: record.float_feature([scale]),
        KIND: record.bytes_feature([b"metric"]),
    }


def targets(labels: Tensors, warp: Warp, config: Any) -> Tensors:
    """`metres` float32 [S / stride, S / stride], 0 = unknown.

    A view enlarged by z shows a wall as a camera would that stands at 1/z of the distance, so its metres are
    divided by z (see the package's docstring).
    """
    metres = labels["metres"] / geometry.enlargement(warp)
    return {"metres": geometry.warp_nearest(metres, warp, 0.0, config.stride)}
