"""Ignore regions: there may be objects or not, so nothing there is trained to be background. Objects are, as ever.

For boxes b (anchors, proposals) and regions r, with |.| the area, b is not called background where

    max_r |b n r| / |b| >= high,   as much of it lies inside of one region as would make it an object; or
    max_r IoU(b, r) >= low,        it would not be background if the region were an object; or
    IoU(b, r) is the highest of a region r, by which small objects find an anchor.

The first is the overlap by which COCO's evaluation forgives what was found in a crowd, and by which Detectron leaves
proposals out (TRAIN.CROWD_FILTER_THRESH) and MMDetection's MaxIoUAssigner anchors (ignore_iof_thr); the two others are
Faster R-CNN's rule for objects (https://arxiv.org/abs/1506.01497): a box that is doubted must cost its own anchors no
more than one that is believed.
"""

from __future__ import annotations

import tensorflow as tf


def spared_anchors(anchors: tf.Tensor, regions: tf.Tensor, low: float, high: float) -> tf.Tensor:
    """Anchors that must not be negative.

    Args:
      anchors: [A, 4] pixels.
      regions: [B, M, 4] pixels; what has no extent, like padding, is none.
      low, high: IoU of the task's matching.

    Returns:
      bool [B, A]
    """
    from official.vision.ops import iou_similarity

    boxes = tf.tile(anchors[None], [tf.shape(regions)[0], 1, 1])
    shared = iou_similarity.intersection(boxes, regions)  # [B, A, M]
    own, theirs = iou_similarity.area(boxes)[..., None], iou_similarity.area(regions)[:, None]
    overlap = tf.math.divide_no_nan(shared, own + theirs - shared)  # [B, A, M]
    best_of_region = tf.reduce_max(overlap, axis=1, keepdims=True)
    claimed = (overlap >= best_of_region) & (best_of_region > 0.0)
    return tf.reduce_any((overlap >= low) | claimed | _inside(shared, own, high), axis=-1)


def spared_proposals(proposals: tf.Tensor, regions: tf.Tensor, high: float) -> tf.Tensor:
    """Proposals that must not be sampled as background: [B, N, 4] and [B, M, 4] -> bool [B, N].

    IoU >= high follows from the share inside; nothing claims the best proposal.
    """
    from official.vision.ops import iou_similarity

    shared = iou_similarity.intersection(proposals, regions)
    return tf.reduce_any(_inside(shared, iou_similarity.area(proposals)[..., None], high), axis=-1)


def _inside(shared: tf.Tensor, own: tf.Tensor, share: float) -> tf.Tensor:
    return (shared > 0.0) & (shared >= share * own)
