"""Anchors and their matching to objects, on the device and for the whole batch.

Model Garden matches anchors per image on the host. Its matcher cannot be used on padded batches: with
`force_match_for_each_col` every row of padding claims the first anchor as an object.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from must_tf.spec import HeadSettings
from must_tf.tasks.detection.config import Config


class Match(NamedTuple):
    """The object that each anchor is matched to."""

    positive: tf.Tensor  # [B, A] bool
    negative: tf.Tensor  # [B, A] bool; neither: ignored
    boxes: tf.Tensor  # [B, A, 4] the object's box; undefined if not positive
    classes: tf.Tensor  # [B, A] the object's class; undefined if not positive


def multilevel(config: Config, settings: HeadSettings, image_size: int) -> dict[str, tf.Tensor]:
    """Returns anchor boxes in pixels: level -> [H_l, W_l, anchors * 4]."""
    from official.vision.ops import anchor

    return anchor.Anchor(
        min_level=settings.min_level,
        max_level=settings.max_level,
        num_scales=config.anchor_scales,
        aspect_ratios=list(config.aspect_ratios),
        anchor_size=config.anchor_size,
        image_size=(image_size, image_size),
    ).multilevel_boxes


def per_location(config: Config) -> int:
    """Returns the number of anchors per cell of the pyramid."""
    return config.anchor_scales * len(config.aspect_ratios)


def flatten(levels: dict[str, tf.Tensor], channels: int) -> tf.Tensor:
    """Flattens level -> [B, H_l, W_l, anchors * channels] to one [B, A, channels], levels in ascending order."""
    ordered = [levels[level] for level in sorted(levels, key=int)]
    return tf.concat([tf.reshape(x, [x.shape[0] or tf.shape(x)[0], -1, channels]) for x in ordered], axis=1)


def flat_boxes(levels: dict[str, tf.Tensor]) -> tf.Tensor:
    """Returns the anchors of all levels [A, 4], in the order of `flatten`."""
    return flatten({level: boxes[None] for level, boxes in levels.items()}, 4)[0]


def match(anchors: tf.Tensor, boxes: tf.Tensor, classes: tf.Tensor, low: float, high: float) -> Match:
    """Matches anchors to objects by Faster R-CNN's rule, https://arxiv.org/abs/1506.01497.

    Positive are anchors with IoU >= high, and the best anchors of each object. Each is matched to the object that it
    overlaps most, so only an object whose best anchors all overlap others more has none. Negative are anchors below
    `low`.

    Args:
      anchors: [A, 4] pixels.
      boxes, classes: [B, M, 4] pixels and [B, M]; padding has class -1.
      low, high: IoU.
    """
    from official.vision.ops import iou_similarity

    padding = classes[..., None] < 0  # [B, M, 1]
    anchors = tf.tile(anchors[None], [tf.shape(boxes)[0], 1, 1])
    all_real = tf.zeros_like(anchors[..., :1], tf.bool)
    # [B, M, A], -1 at padding. With 20 objects a CPU takes a third less time than with objects as the last axis.
    overlap = iou_similarity.IouSimilarity()(boxes, anchors, padding, all_real)
    best = tf.reduce_max(overlap, axis=1)  # [B, A]
    best_of_object = tf.reduce_max(overlap, axis=-1, keepdims=True)  # [B, M, 1]
    claimed = tf.reduce_any((overlap >= best_of_object) & (best_of_object > 0.0), axis=1)
    positive = (best >= high) | claimed
    chosen = tf.argmax(overlap, axis=1, output_type=tf.int32)
    return Match(
        positive=positive,
        negative=(best < low) & ~positive,
        boxes=tf.gather(boxes, chosen, batch_dims=1),
        classes=tf.gather(classes, chosen, batch_dims=1),
    )


def offsets(boxes: tf.Tensor, anchors: tf.Tensor, valid: tf.Tensor, weights: list[float] | None = None) -> tf.Tensor:
    """Returns regression targets [B, A, 4] of `boxes` relative to `anchors`; 0 if not `valid` [B, A]."""
    from official.vision.ops import box_ops

    anchors = tf.broadcast_to(anchors, tf.shape(boxes))
    # Boxes without an extent have an infinite logarithm, and 0 * inf is NaN, so they are replaced beforehand.
    boxes = tf.where(valid[..., None], boxes, anchors)
    return box_ops.encode_boxes(boxes, anchors, weights=weights)
