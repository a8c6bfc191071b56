"""Non-maximum suppression of a single image by operations that TFLite and ONNX have, for exports to these formats.

Neither has TensorFlow's combined search over classes. Here the boxes of each class are moved to a place of their own,
so that one search over all of them suppresses only within a class. It finds what the combined search finds, up to the
rounding of moved coordinates: float32 resolves 0.008 pixels at 80 classes and an input of 640 pixels.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

CANDIDATES = 2000  # places that take part, those with the highest scores: many more than an image's objects


class Found(NamedTuple):
    """The best of N boxes, highest scores first; R is the largest number."""

    places: tf.Tensor  # [R] int32 among the N; 0 after the last
    is_found: tf.Tensor  # [R] bool


class Search(NamedTuple):
    """Attributes:
    most: R, largest number of boxes.
    overlap: IoU above which the better of two boxes of a group suppresses the other.
    lowest: boxes need a higher score.
    side: above all coordinates, pixels.
    """

    most: int
    overlap: float
    lowest: float
    side: int

    def run(self, boxes: tf.Tensor, scores: tf.Tensor, groups: tf.Tensor) -> Found:
        """Searches boxes [N, 4] (pixels, from 0 to `side`) with scores [N] in groups [N] int32."""
        moved = boxes + tf.cast(groups, tf.float32)[:, None] * (2.0 * self.side)
        places, count = tf.raw_ops.NonMaxSuppressionV4(
            boxes=moved,
            scores=scores,
            max_output_size=self.most,
            iou_threshold=self.overlap,
            score_threshold=self.lowest,
            pad_to_max_output_size=True,
        )
        is_found = tf.range(self.most) < count
        return Found(tf.where(is_found, places, 0), is_found)


def detections(boxes: tf.Tensor, scores: tf.Tensor, search: Search) -> dict[str, tf.Tensor]:
    """Finds the objects of one image.

    Args:
      boxes: [1, N, C, 4] a box for each class, or [1, N, 1, 4] one for all, pixels.
      scores: [1, N, C] without the background.
      search: its limits.

    Returns:
      The keys of Model Garden's generators, with a batch axis of 1.
    """
    boxes, scores = boxes[0], scores[0]
    count, classes = scores.shape
    if count > CANDIDATES:
        best = tf.nn.top_k(tf.reduce_max(scores, axis=-1), CANDIDATES).indices
        boxes, scores, count = tf.gather(boxes, best), tf.gather(scores, best), CANDIDATES
    boxes = tf.reshape(tf.broadcast_to(boxes, [count, classes, 4]), [-1, 4])  # [N * C, 4]
    scores = tf.reshape(scores, [-1])
    groups = tf.tile(tf.range(classes), [count])
    found = search.run(boxes, scores, groups)
    is_found = tf.cast(found.is_found, tf.float32)
    return {
        "detection_boxes": (tf.gather(boxes, found.places) * is_found[:, None])[None],
        "detection_scores": (tf.gather(scores, found.places) * is_found)[None],
        "detection_classes": tf.where(found.is_found, tf.math.floormod(found.places, classes) + 1, 0)[None],
        "num_detections": tf.math.count_nonzero(found.is_found, dtype=tf.int32)[None],
    }
