"""Detection's search by operations of TFLite and ONNX, against TensorFlow's combined search."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from must_tf.tasks.detection import portable
from must_tf.tasks.detection.portable import Search

SIDE = 64


def scattered(places: int, per_class: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Boxes [1, N, C or 1, 4] that often overlap, and different scores [1, N, 3], most of them low."""
    rng = np.random.default_rng(places + per_class)
    low = rng.uniform(0, SIDE / 2, [1, places, per_class, 2])
    boxes = np.concatenate([low, low + rng.uniform(4, SIDE / 2, low.shape)], -1)
    scores = rng.permutation(places * 3).reshape([1, places, 3]) / (places * 3)
    return tf.constant(boxes, tf.float32), tf.constant(scores**3, tf.float32)


@pytest.mark.parametrize(("places", "per_class"), [(40, 3), (40, 1), (portable.CANDIDATES + 500, 1)])
def test_the_combined_search_finds_the_same(places: int, per_class: int) -> None:
    """A box for each class, one for all, and more places than take part."""
    boxes, scores = scattered(places, per_class)
    found = portable.detections(boxes, scores, Search(30, 0.5, 0.05, SIDE))
    wanted = tf.image.combined_non_max_suppression(boxes, scores, 30, 30, 0.5, 0.05, clip_boxes=False)
    count = int(wanted.valid_detections[0])
    assert count > 10 and found["num_detections"].numpy().tolist() == [count]
    np.testing.assert_allclose(found["detection_boxes"], wanted.nmsed_boxes, atol=1e-4)
    np.testing.assert_allclose(found["detection_scores"], wanted.nmsed_scores, atol=1e-6)
    classes = found["detection_classes"].numpy()[0]
    assert classes[:count].tolist() == (wanted.nmsed_classes[0, :count] + 1).numpy().tolist()
    assert not classes[count:].any()


def test_nothing_is_above_the_lowest_score() -> None:
    boxes, scores = scattered(5, 1)
    found = portable.detections(boxes, scores * 0.01, Search(4, 0.5, 0.05, SIDE))
    assert found["num_detections"].numpy() == [0]
    assert not any(value.numpy().any() for value in found.values())
