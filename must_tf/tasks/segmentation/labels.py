"""Record format of class maps.

`image/segmentation/class/encoded`       PNG [h, w], 8-bit, the class id of each pixel, 255 = ignore
`image/segmentation/confidence/encoded`  PNG [h, w], 8-bit, 255 * probability of that class; pseudo labels only

Precision: ids exact, confidence 1/510. At most 255 classes. All pixels are written, whatever their confidence; the
thresholds of the config apply on reading.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import tensorflow as tf

from must_tf.common.errors import UserError
from must_tf.data import assertions, geometry, map_png, opening, record
from must_tf.data.geometry import Warp
from must_tf.shared import thresholds
from must_tf.spec import Features, ImageInfo, Labels, TaskConfig, Tensors
from must_tf.tasks.segmentation.config import Config

CLASSES = "image/segmentation/class/encoded"
CONFIDENCE = "image/segmentation/confidence/encoded"
IGNORE = opening.UNKNOWN


def features(config: Config) -> dict[str, Any]:
    """Returns the parsing spec of both PNGs."""
    del config
    return {
        CLASSES: tf.io.FixedLenFeature([], tf.string, ""),
        CONFIDENCE: tf.io.FixedLenFeature([], tf.string, ""),
    }


def read(parsed: Tensors, size: tf.Tensor, config: Config) -> Tensors:
    """Returns `classes` int32 [h, w] and `confidence` float32 [h, w]."""
    classes, confidence = _stored(parsed, size, config, False)
    # Graphs replace division by a constant with multiplication by its inverse, which does not give exactly 0.8.
    shares = tf.math.divide_no_nan(tf.cast(confidence, tf.float32), 255.0)
    return {"classes": tf.cast(classes, tf.int32), "confidence": shares}


def _stored(parsed: Tensors, size: tf.Tensor, config: Config, as_stored: bool) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns both maps in bytes, uint8 [h, w], after checking the ids. See `record.decode_map`."""
    classes = record.decode_map(parsed[CLASSES], size, 1, tf.uint8, IGNORE, as_stored)[..., 0]
    classes = assertions.checked_map(classes, len(config.classes), "segmentation")
    return classes, record.decode_map(parsed[CONFIDENCE], size, 1, tf.uint8, 255, as_stored)[..., 0]


def write(labels: Labels, info: ImageInfo) -> dict[str, tf.train.Feature]:
    """Writes the ids, and the confidence if any of it is below 1.

    Raises:
      UserError: an id that does not fit into the PNG.
    """
    lowest, highest = np.min(labels["classes"], initial=0), np.max(labels["classes"], initial=0)
    if lowest < 0 or highest > IGNORE:
        raise UserError(
            f"image {info.source_id!r}: the segmentation label has class id {lowest if lowest < 0 else highest}. Ids "
            f"must be 0 to {IGNORE - 1}, or {IGNORE} for ignored pixels. Merge some classes."
        )
    written = {CLASSES: _feature(labels["classes"])}
    if np.min(labels["confidence"], initial=1.0) < 1.0:
        shares = labels["confidence"] * 255.0
        written[CONFIDENCE] = _feature(np.rint(shares, out=shares))
    return written


def _feature(values: np.ndarray) -> tf.train.Feature:
    return record.bytes_feature([map_png.encode(np.asarray(values).astype(np.uint8))])


def count(features: Features) -> dict[int, int]:
    """Returns 1 for each class in the image, so that the sum over records is a number of images."""
    return dict.fromkeys(_classes_in(features[CLASSES].bytes_list.value[0]), 1)


@functools.lru_cache(maxsize=4)  # a record is counted more than once while it is written
def _classes_in(png: bytes) -> tuple[int, ...]:
    pixels = cv2.calcHist([_decoded(png)], [0], None, [IGNORE + 1], [0, IGNORE + 1])
    return tuple(class_id for class_id in np.flatnonzero(pixels).tolist() if class_id != IGNORE)


def recode(features: Features, ids: Mapping[int, int], classes: int) -> None:
    """Rewrites the PNG's ids. Ignored pixels stay ignored.

    Raises:
      UserError: more classes than ids.
    """
    if classes > IGNORE:
        raise UserError(
            f"{classes} segmentation classes, but records hold at most {IGNORE}. Unite classes with --same, or merge "
            "fewer datasets."
        )
    lookup = np.full([IGNORE + 1], IGNORE, np.uint8)
    for old, new in ids.items():
        lookup[old] = new
    features[CLASSES].bytes_list.value[:] = [map_png.encode(lookup[_decoded(features[CLASSES].bytes_list.value[0])])]


def _decoded(png: bytes) -> np.ndarray:
    decoded = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE)
    if decoded is None:
        raise opening.BadRecord(opening.Fault("segmentation: label cannot be read", CLASSES, "not a whole PNG"))
    return np.asarray(decoded)


def believed(labels: Mapping[str, Any], config: Config) -> Any:
    """Tests which pixels reach the threshold of their class: bool [h, w], NumPy or tensors."""
    return labels["confidence"] >= thresholds.of_ids(labels["classes"], _table(config))


def _table(config: Config) -> np.ndarray:
    return thresholds.table(config, config.confidence_threshold, 0)


def settle(config: Config, configs: Mapping[str, TaskConfig]) -> list[str]:
    """Checks the names in `class_thresholds`."""
    del configs
    return thresholds.unknown("segmentation", config)


def targets(parsed: Tensors, size: tf.Tensor, warp: Warp, config: Config) -> Tensors:
    """Returns `class_bytes` uint8 [S / stride, S / stride]: 255 outside the image and below the class's threshold.

    If pixels are weighted by confidence, also returns `confidence` float32 of the same shape.
    """
    classes, confidence = _stored(parsed, size, config, True)
    classes = geometry.warp_nearest(classes, warp, IGNORE, config.stride)
    confidence = geometry.warp_nearest(confidence, warp, 0, config.stride)
    sure = confidence >= thresholds.of_ids(classes, thresholds.as_bytes(_table(config)))
    warped = {"class_bytes": tf.where(sure, classes, tf.constant(IGNORE, tf.uint8))}
    if config.weighting == "confidence":
        warped["confidence"] = tf.cast(confidence, tf.float32) / 255.0
    return warped
