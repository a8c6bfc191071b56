"""The search for proposals: the best anchors of each level, without those that overlap a better one.

Model Garden's search is padded: it compares all candidates with each other in tiles of 512 x 512, which TPUs and XLA
need. On two CPU cores it took half of a small student's training step. `batched` finds the same proposals with
TensorFlow's own NMS, which XLA cannot compile. Model Garden's `use_batched_nms` finds others: it leaves the order of
equal scores open, of which bfloat16 has many, lets empty boxes take places, and has no limit on candidates per level.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from must_tf.spec import Tensors
from must_tf.tasks.detection.portable import Search

UNCHOSEN = -1.0  # below all scores and votes


class Limits(NamedTuple):
    """Attributes:
    candidates: best anchors of each level that take part.
    proposals: largest number of proposals per level, and in all.
    overlap: IoU from which the better of two candidates of a level suppresses the other.
    """

    candidates: int
    proposals: int
    overlap: float


def limits(generator: dict[str, Any], training: bool) -> Limits:
    """Returns the limits in the config of Model Garden's generator, which has two sets of them."""
    keys = ("pre_nms_top_k", "num_proposals", "nms_iou_threshold")
    return Limits(*(generator[key if training else f"test_{key}"] for key in keys))


def batched(raw: Tensors, sizes: Sequence[int], image_shape: tf.Tensor, limits: Limits) -> tf.Tensor:
    """Returns the proposals of `MultilevelROIGenerator(use_batched_nms=False)`, all levels searched by one op.

    Args:
      raw: rpn_scores [B, A, 1] (logits), rpn_deltas [B, A, 4] and anchors [A, 4] (pixels), levels in ascending order.
      sizes: number of anchors of each level; their sum is A.
      image_shape: [B, 2] height and width to which boxes are clipped, pixels.
      limits: of this search.

    Returns:
      boxes [B, R, 4] in pixels, best first, padded with zeros. R depends on sizes and limits only.
    """
    places = _candidates(raw, sizes, image_shape, limits)
    # Levels are the op's classes: they do not meet.
    own = places.levels[..., None] == tf.range(len(sizes))  # [B, C, L]
    real = places.is_real[..., None]
    found = tf.image.combined_non_max_suppression(
        places.boxes[:, :, None],
        tf.where(own & real, places.votes[:, None], UNCHOSEN),
        max_output_size_per_class=limits.proposals,
        max_total_size=_most(sizes, limits),
        iou_threshold=_above(limits),
        score_threshold=0.0,
        clip_boxes=False,
    )
    return found.nmsed_boxes


def portable(raw: Tensors, sizes: Sequence[int], image_shape: tf.Tensor, limits: Limits, side: int) -> tf.Tensor:
    """Returns what `batched` does for a batch of one image, by operations that TFLite and ONNX have.

    The arguments are those of `batched`; `side` is that of the network's input in pixels.
    """
    places = _candidates(raw, sizes, image_shape, limits)
    boxes = places.boxes[0]
    scores = tf.where(places.is_real[0], places.votes, UNCHOSEN)
    search = Search(_most(sizes, limits), _above(limits), 0.0, side)
    found = search.run(boxes, scores, places.levels[0])
    return (tf.gather(boxes, found.places) * tf.cast(found.is_found, tf.float32)[:, None])[None]


def _most(sizes: Sequence[int], limits: Limits) -> int:
    """Returns the number of rows of the result."""
    return min(limits.proposals, sum(min(size, limits.proposals) for size in sizes))


def _above(limits: Limits) -> float:
    """Returns the ops' threshold: they suppress above it, Model Garden's search from its threshold on."""
    return float(np.nextafter(np.float32(limits.overlap), np.float32(0.0)))


class _Candidates(NamedTuple):
    """The anchors that take part, best first."""

    boxes: tf.Tensor  # [B, C, 4] pixels
    is_real: tf.Tensor  # [B, C] bool; false: an empty box at the origin, which is padding, or NaN
    levels: tf.Tensor  # [B, C] int32, from 0
    votes: tf.Tensor  # [C] their rank in the image, because the ops leave the order of equal scores open


def _candidates(raw: Tensors, sizes: Sequence[int], image_shape: tf.Tensor, limits: Limits) -> _Candidates:
    """Returns the candidates of all levels; the arguments are those of `batched`."""
    from official.vision.ops import box_ops

    places, levels = _best(raw["rpn_scores"][..., 0], sizes, limits.candidates)  # [B, C]
    boxes = box_ops.clip_boxes(box_ops.decode_boxes(raw["rpn_deltas"], raw["anchors"]), image_shape[:, None])
    boxes = tf.gather(boxes, places, batch_dims=1)  # [B, C, 4]
    votes = tf.range(places.shape[1], 0, -1, dtype=tf.float32)
    return _Candidates(boxes, tf.reduce_max(boxes, axis=-1) > 0.0, levels, votes)


def _best(logits: tf.Tensor, sizes: Sequence[int], most: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the places [B, C] of the `most` best anchors of each level among all A, best first, and their levels.

    Of equal scores the one of the lower level comes first, and on the same level the first.

    Args:
      logits: [B, A].
      sizes: number of anchors of each level.
      most: candidates per level.
    """
    # Level by level as in Model Garden: otherwise the last bits differ, and with them the order of nearly equal scores.
    scores = [tf.sigmoid(part) for part in tf.split(logits, sizes, axis=1)]
    scores = [tf.where(tf.math.is_nan(part), UNCHOSEN, part) for part in scores]  # NaN cannot be sorted
    kept = [min(size, most) for size in sizes]
    best = [tf.nn.top_k(part, count) for part, count in zip(scores, kept, strict=True)]
    firsts = np.cumsum([0, *sizes[:-1]]).tolist()
    places = tf.concat([found.indices + first for found, first in zip(best, firsts, strict=True)], axis=1)
    order = tf.nn.top_k(tf.concat([found.values for found in best], axis=1), sum(kept)).indices
    levels = tf.constant(np.repeat(np.arange(len(sizes), dtype=np.int32), kept))
    return tf.gather(places, order, batch_dims=1), tf.gather(levels, order)
