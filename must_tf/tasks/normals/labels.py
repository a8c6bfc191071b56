"""Record format of normals, `image/normals/encoded`: 8-bit PNG [h, w, 3], RGB = (n + 1) * 127.5 rounded; unknown is
0,0,0.

Precision: 1/255 per component before normalising, at most about 0.4 degrees.

`image/normals/confidence/encoded`: see `shared/pixel_confidence.py`.
"""

from __future__ import annotations

import functools
from typing import Any

import cv2
import numpy as np
import tensorflow as tf

from must_tf.data import geometry, map_png, record
from must_tf.data.geometry import Warp
from must_tf.shared import pixel_confidence
from must_tf.spec import ImageInfo, Labels, Tensors
from must_tf.tasks.normals.config import Config

NORMALS = "image/normals/encoded"
CONFIDENCE = "image/normals/confidence/encoded"
ZERO = (128, 128, 128)  # the colour of a vector 0,0,0 before it is known to be none
ROWS_AT_ONCE = 32  # so that what is computed from them stays in the processor's cache
# Pixels that are converted at once: converting takes five times the memory of its result. The memory of smaller bands
# would not go back to the system: glibc keeps blocks below 32 MB.
BAND = 4_000_000


def features(config: Config) -> dict[str, Any]:
    """Returns the parsing spec of both PNGs."""
    del config
    return {key: tf.io.FixedLenFeature([], tf.string, "") for key in (NORMALS, CONFIDENCE)}


def read(parsed: Tensors, size: tf.Tensor, config: Config) -> Tensors:
    """Returns `normals` float32 [h, w, 3], unit vectors or 0,0,0, and the `confidence`."""
    del config
    stored = record.decode_map(parsed[NORMALS], size, 3, tf.uint8, 0)
    is_large = tf.reduce_prod(tf.shape(stored)[:2]) > BAND
    normals = tf.cond(is_large, lambda: _vectors_in_bands(stored), lambda: vectors(stored))
    confidence = pixel_confidence.read(parsed[CONFIDENCE], size)
    return {"normals": tf.ensure_shape(normals, stored.shape), pixel_confidence.CONFIDENCE: confidence}


def _vectors_in_bands(stored: tf.Tensor) -> tf.Tensor:
    """Converts colours like `vectors`, one band of rows after the other."""
    height, width = tf.unstack(tf.shape(stored)[:2])
    rows = tf.maximum(1, BAND // width)
    if tf.executing_eagerly():  # a list is freed when this returns
        return tf.concat([vectors(stored[top : top + rows]) for top in tf.range(0, height, rows)], 0)
    count = -(-height // rows)
    shape = tf.TensorShape([None, None, 3])
    bands = tf.TensorArray(tf.float32, count, infer_shape=False, element_shape=shape)

    def converted(place: tf.Tensor, bands: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
        return place + 1, bands.write(place, vectors(stored[place * rows : (place + 1) * rows]))

    _, bands = tf.while_loop(lambda place, _: place < count, converted, [0, bands], parallel_iterations=1)
    return bands.concat()


def vectors(stored: tf.Tensor) -> tf.Tensor:
    """Converts colours uint8 [..., 3] to float32 unit vectors or 0,0,0."""
    # Axis by axis, and between them by transposing a matrix: all else with an innermost axis of length 3 is slow.
    planes = tf.unstack(tf.transpose(tf.reshape(stored, [-1, 3])))
    known = tf.cast(functools.reduce(tf.maximum, planes) > 0, tf.float32)
    # Unknown pixels are 0; a product of -1 and 0 would be -0.
    # Graphs replace division by a constant with multiplication; written like this, eager code gives the same result.
    x, y, z = (tf.cast(plane, tf.float32) * (1 / 127.5) - known for plane in planes)
    inverse = tf.math.rsqrt(tf.maximum(tf.square(x) + tf.square(y) + tf.square(z), 1e-12))
    turned = tf.stack([x * inverse, y * inverse, z * inverse])
    return tf.ensure_shape(tf.reshape(tf.transpose(turned), tf.shape(stored)), stored.shape)


def write(labels: Labels, info: ImageInfo) -> dict[str, tf.train.Feature]:
    """Writes the rounded colours."""
    del info
    written = {NORMALS: record.bytes_feature([map_png.encode(colours(labels["normals"]))])}
    return written | pixel_confidence.write(labels, CONFIDENCE)


def colours(normals: np.ndarray) -> np.ndarray:
    """Converts unit vectors [h, w, 3] to uint8 RGB; unknown is 0,0,0."""
    colours = np.empty(normals.shape, np.uint8)
    for top in range(0, len(normals), ROWS_AT_ONCE):
        part, into = normals[top : top + ROWS_AT_ONCE], colours[top : top + ROWS_AT_ONCE]
        shifted = part + 1.0
        shifted *= 127.5
        with np.errstate(invalid="ignore"):  # NaN is unknown
            into[...] = np.rint(shifted, out=shifted)
        if cv2.inRange(into, ZERO, ZERO).any() or not np.isfinite(shifted).all():  # looked for first, as it is rare
            x, y, z = np.moveaxis(np.abs(part), -1, 0)
            into[~(x + y + z > 0)] = 0
    return colours


def targets(parsed: Tensors, size: tf.Tensor, warp: Warp, config: Config) -> Tensors:
    """Returns `normal_colours` uint8 [S / stride, S / stride, 3] as in the record, and `mirrored` bool [].

    In a mirrored view x has the other sign than its colour says. The loss computes the vectors (`seen`) on the device
    of the network; in the input pipeline this took longer than the rest of the image. If pixels are weighted by
    confidence, also returns `confidence` float32 [S / stride, S / stride].
    """
    sure, weights = pixel_confidence.targets(parsed[CONFIDENCE], size, warp, config)
    stored = record.decode_map(parsed[NORMALS], size, 3, tf.uint8, 0, as_stored=True)
    kept = pixel_confidence.only(geometry.warp_nearest(stored, warp, 0, config.stride), sure)
    return {"normal_colours": kept, "mirrored": warp.flip} | weights


def seen(targets: Tensors) -> tf.Tensor:
    """Returns the vectors float32 [B, T, T, 3] that the network should predict for a batch; 0,0,0 is unknown."""
    sign = tf.where(targets["mirrored"][:, None], tf.constant([-1.0, 1.0, 1.0]), tf.constant([1.0, 1.0, 1.0]))
    return vectors(targets["normal_colours"]) * sign[:, None, None]
