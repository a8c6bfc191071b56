"""Ignore regions, which may contain objects: nothing there is trained as background.

A box b (an anchor or a proposal) is not trained as background if for a region r, with |.| the area,

    max_r |b n r| / |b| >= high,   b lies inside one region as far as a box must overlap an object to match it; or
    max_r IoU(b, r) >= low,        b would not be background if the region were an object; or
    IoU(b, r) is the highest for a region r, the rule by which small objects get an anchor.

The first is the overlap that COCO's evaluation uses for detections in crowds, Detectron for proposals
(TRAIN.CROWD_FILTER_THRESH) and MMDetection's MaxIoUAssigner for anchors (ignore_iof_thr). The other two are Faster
R-CNN's rules for objects (https://arxiv.org/abs/1506.01497): an ignore region spares all anchors that an object would
claim.
"""

from __future__ import annotations

import tensorflow as tf


def spared_anchors(anchors: tf.Tensor, regions: tf.Tensor, low: float, high: float) -> tf.Tensor:
    """Finds anchors that must not be negative. A batch without regions takes no time.

    Args:
      anchors: [A, 4] pixels.
      regions: [B, M, 4] pixels; boxes without an extent, like padding, are skipped.
      low, high: IoU of the task's matching.

    Returns:
      bool [B, A]
    """
    from official.vision.ops import iou_similarity

    sizes = iou_similarity.area(regions)[..., None]  # [B, M, 1]
    count = regions.shape[0] or tf.shape(regions)[0]  # the result keeps a static shape

    def spared() -> tf.Tensor:
        boxes = tf.tile(anchors[None], [count, 1, 1])
        shared = iou_similarity.intersection(regions, boxes)  # [B, M, A]
        own = iou_similarity.area(boxes)[:, None]
        overlap = tf.math.divide_no_nan(shared, own + sizes - shared)  # [B, M, A]
        best_of_region = tf.reduce_max(overlap, axis=-1, keepdims=True)
        claimed = (overlap >= best_of_region) & (best_of_region > 0.0)
        return tf.reduce_any((overlap >= low) | claimed | _inside(shared, own, high), axis=1)

    return tf.cond(tf.reduce_any(sizes > 0.0), spared, lambda: tf.zeros([count, anchors.shape[0]], tf.bool))


def spared_proposals(proposals: tf.Tensor, regions: tf.Tensor, high: float) -> tf.Tensor:
    """Finds proposals that must not be sampled as background: [B, N, 4] and [B, M, 4] -> bool [B, N].

    Only the first rule applies: IoU >= high implies it, and no region claims its best proposal.
    """
    from official.vision.ops import iou_similarity

    shared = iou_similarity.intersection(proposals, regions)
    return tf.reduce_any(_inside(shared, iou_similarity.area(proposals)[..., None], high), axis=-1)


def _inside(shared: tf.Tensor, own: tf.Tensor, share: float) -> tf.Tensor:
    return (shared > 0.0) & (shared >= share * own)
