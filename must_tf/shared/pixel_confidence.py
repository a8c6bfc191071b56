"""The confidence of pseudo labels that have none of their own: how far a map agrees with that of the mirrored photo.

    c = 2 ** (-d / t)

d is the disagreement of the two maps in a pixel, and t the one at which c is 1/2. Each task measures d in a unit of its
own. A pixel that is unknown in one of the maps has c = 0.

Source: Poggi et al., On the uncertainty of self-supervised monocular depth estimation,
https://arxiv.org/abs/2005.06209, where d itself is the uncertainty of a pixel ("Post", by flipping the image).

`image/<task>/confidence/encoded`  PNG [h, w], 8-bit, 255 * c; missing if the labels have none. Precision 1/510.

Labels have the key `confidence`, float32 [h, w] in 0..1, or not at all. Pixels without a confidence count as certain.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from must_tf.data import geometry, map_png, record
from must_tf.data.geometry import Warp
from must_tf.data.manifest import Manifest
from must_tf.shared import drawing, thresholds
from must_tf.spec import Labels, Tensors

CONFIDENCE = "confidence"  # the key in labels and targets
CERTAIN = 255  # as stored


class HasConfidence(Protocol):
    """A task's config, as far as the confidence of pixels needs it."""

    @property
    def confidence_threshold(self) -> float:
        """Pseudo-labelled pixels below it are unknown."""
        ...

    @property
    def weighting(self) -> str:
        """Weight of pseudo-labelled pixels, "equal" or by "confidence"."""
        ...

    @property
    def stride(self) -> int:
        """Input pixels per cell of the targets."""
        ...


def of_disagreement(disagreement: np.ndarray, tolerance: float) -> np.ndarray:
    """Returns the confidence, float32 of the same shape.

    Args:
      disagreement: of any unit, 0 or more; NaN where only one of the maps is known.
      tolerance: the disagreement at which the confidence is 1/2.
    """
    known = np.isfinite(disagreement)
    return np.where(known, np.exp2(-np.where(known, disagreement, 0.0) / tolerance), 0.0).astype(np.float32)


def read(encoded: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Returns float32 [h, w], or [0, 0] without a PNG: labels without a confidence need no memory for it."""

    def decoded() -> tf.Tensor:
        return _share(_stored(encoded, size, False))

    shares = tf.cond(tf.equal(tf.strings.length(encoded), 0), lambda: tf.zeros([0, 0]), decoded)
    return tf.ensure_shape(shares, [None, None])


def _share(stored: tf.Tensor) -> tf.Tensor:
    # Graphs replace division by a constant with multiplication by its inverse, which does not give exactly 0.8.
    return tf.math.divide_no_nan(tf.cast(stored, tf.float32), float(CERTAIN))


def _stored(encoded: tf.Tensor, size: tf.Tensor, as_stored: bool) -> tf.Tensor:
    return record.decode_map(encoded, size, 1, tf.uint8, CERTAIN, as_stored)[..., 0]


def write(labels: Labels, key: str) -> dict[str, tf.train.Feature]:
    """Returns the feature of the confidence under this key; nothing if the labels have none."""
    if CONFIDENCE not in labels:
        return {}
    shares = np.nan_to_num(labels[CONFIDENCE])  # a copy, changed in place: each more of a large map takes its memory
    np.clip(shares, 0.0, 1.0, out=shares)
    shares *= CERTAIN
    return {key: record.bytes_feature([map_png.encode(np.rint(shares, out=shares).astype(np.uint8))])}


def believed(labels: Mapping[str, Any], config: HasConfidence) -> Any:
    """Tests which pixels reach the threshold: bool [h, w], NumPy or tensors; True if the labels have no confidence."""
    return labels[CONFIDENCE] >= config.confidence_threshold if CONFIDENCE in labels else np.True_


def targets(encoded: tf.Tensor, size: tf.Tensor, warp: Warp, config: HasConfidence) -> tuple[tf.Tensor | None, Tensors]:
    """Warps the confidence as the map itself. By default, nothing is decoded.

    Returns:
      Bool [S / stride, S / stride], the cells that reach the threshold; None if all do. And `confidence` float32 of the
      same shape if the loss is weighted by it.
    """
    (least,) = thresholds.as_bytes(np.array([config.confidence_threshold], np.float32))
    is_weighted = config.weighting == CONFIDENCE
    if not least and not is_weighted:
        return None, {}
    warped = geometry.warp_nearest(_stored(encoded, size, True), warp, 0, config.stride)
    weights = {CONFIDENCE: _share(warped)} if is_weighted else {}
    return (warped >= least if least else None), weights


def unused(task: str, config: Any, manifests: Mapping[str, Manifest]) -> str:
    """Returns a note if the config uses the confidence of a task's pseudo labels, and none of them has one; else ""."""
    is_used = config.confidence_threshold or config.weighting == CONFIDENCE
    origins = [origin for one in manifests.values() for origin, count in one.origins.get(task, {}).items() if count]
    teachers = [teacher for one in manifests.values() for teacher in one.teachers.values()]
    has_one = any(task in teacher.get(CONFIDENCE, ()) for teacher in teachers)
    if has_one or not is_used or not any(map(record.is_pseudo, origins)):
        return ""
    return (
        f"task.tasks.{task}: confidence_threshold and weighting change nothing, because no pseudo label has a "
        "confidence. Label with must label --confidence."
    )


def only(values: tf.Tensor, sure: tf.Tensor | None) -> tf.Tensor:
    """Returns the map [T, T, ...] with 0, which is unknown, in the cells that are not sure."""
    if sure is None:
        return values
    return tf.where(tf.reshape(sure, [*sure.shape, *[1] * (values.shape.rank - 2)]), values, tf.zeros_like(values))


def shown(image: np.ndarray, picture: np.ndarray, labels: Labels, known: np.ndarray) -> np.ndarray:
    """Returns a map's picture [h, w, 3], through which the photo shows where known pixels [h, w] are uncertain."""
    if CONFIDENCE not in labels:
        return picture
    doubt = 1.0 - np.clip(drawing.resize_nearest(labels[CONFIDENCE], *image.shape[:2]), 0.0, 1.0)
    mixed = picture.copy()
    drawing.blend(mixed, known, image, doubt)
    return mixed
