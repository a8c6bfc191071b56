"""What detection and masks sample: shares, validity, and that a draw depends on the image's seed alone."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from must_tf.tasks.detection import sampling

SEEDS = tf.constant([[7, 0], [7, 1], [7, 2]], tf.int64)


def noise(rows: int, count: int) -> tf.Tensor:
    return tf.constant(np.random.default_rng(0).random([rows, count]), tf.float32)


def masks(positives: int, negatives: int, count: int) -> tuple[tf.Tensor, tf.Tensor]:
    """One image: the last are positive, the first negative."""
    positive = np.zeros([1, count], bool)
    positive[:, count - positives :] = True
    negative = np.zeros([1, count], bool)
    negative[:, :negatives] = True
    return tf.constant(positive), tf.constant(negative)


def test_a_draw_is_a_function_of_the_image_and_not_of_its_batch() -> None:
    together = sampling.uniform(SEEDS, sampling.RPN, 50).numpy()
    alone = sampling.uniform(SEEDS[1:2], sampling.RPN, 50).numpy()
    np.testing.assert_array_equal(together[1:2], alone)
    assert len(np.unique(together)) > 140


@pytest.mark.parametrize("count", [7, 1100])
def test_a_draw_is_the_same_when_it_is_compiled(count: int) -> None:
    """By XLA as by TensorFlow's kernels, and these are the numbers of TensorFlow's own floats on a CPU."""
    plain = sampling.uniform(SEEDS, sampling.ROIS, count).numpy()
    compiled = tf.function(lambda seeds: sampling.uniform(seeds, sampling.ROIS, count), jit_compile=True)
    np.testing.assert_array_equal(compiled(SEEDS).numpy(), plain)
    shifted = [[7 + 2 * sampling.STREAM_STRIDE, image] for image in range(3)]
    floats = [tf.random.stateless_uniform([count], seed, alg="philox").numpy() for seed in shifted]
    np.testing.assert_array_equal(plain, floats)
    assert plain.min() >= 0.0 and plain.max() < 1.0


def test_streams_and_seeds_do_not_repeat_each_other() -> None:
    draws = [sampling.uniform(SEEDS, stream, 50).numpy() for stream in (sampling.RPN, sampling.ROIS, sampling.MASKS)]
    augmentation = tf.random.stateless_uniform([50], SEEDS[0], alg="philox").numpy()
    assert len(np.unique(np.concatenate([*(each.ravel() for each in draws), augmentation]))) > 480


@pytest.mark.parametrize(
    ("positives", "negatives", "expected"),  # of 8 samples, a quarter positive
    [(0, 20, (0, 8)), (1, 20, (1, 7)), (10, 20, (2, 6)), (10, 3, (2, 3)), (0, 0, (0, 0))],
)
def test_shares(positives: int, negatives: int, expected: tuple[int, int]) -> None:
    positive, negative = masks(positives, negatives, 30)
    indices, used = sampling.balanced(positive, negative, noise(1, 30), 8, 0.25)
    chosen = indices.numpy()[used.numpy()]
    assert len(set(chosen)) == len(chosen)
    assert (positive.numpy()[0, chosen].sum(), negative.numpy()[0, chosen].sum()) == expected


def test_every_candidate_is_as_likely() -> None:
    rows = 4000
    positive, negative = (tf.repeat(each, rows, axis=0) for each in masks(5, 10, 20))
    indices, used = sampling.balanced(positive, negative, noise(rows, 20), 8, 0.25)
    counts = np.bincount(indices.numpy()[used.numpy()], minlength=20) / rows
    # 2 of 5 positives and 6 of 10 negatives; 0.04 is five standard deviations of a share of 4000
    np.testing.assert_allclose(counts[:10], 0.6, atol=0.04)
    np.testing.assert_allclose(counts[10:15], 0.0, atol=0)
    np.testing.assert_allclose(counts[15:], 0.4, atol=0.04)


def test_proposals_are_matched_to_the_object_they_overlap() -> None:
    rois = tf.constant([[[0, 0, 10, 10], [0, 0, 9, 10], [20, 20, 30, 30], [0, 0, 0, 0]]], tf.float32)
    targets = {
        "boxes": tf.constant([[[0, 0, 10, 10], [40, 40, 50, 50], [-1, -1, -1, -1]]], tf.float32),
        "classes": tf.constant([[3, 5, -1]]),
    }
    found = sampling.proposals(rois, targets, noise(1, 7), 5, 0.75)
    by_box = {tuple(box): int(label) for box, label in zip(found["rois"][0].numpy(), found["classes"][0], strict=True)}
    # Three of the positives (IoU 1, 0.9, and the two objects themselves), the one background box, and one to fill up.
    assert by_box[(20.0, 20.0, 30.0, 30.0)] == 0
    for box, label in by_box.items():
        assert label == {(0, 0, 10, 10): 3, (0, 0, 9, 10): 3, (40, 40, 50, 50): 5}.get(box, 0)
    assert sum(label > 0 for label in found["classes"][0].numpy()) >= 3
    np.testing.assert_array_equal(found["objects"][0].numpy() >= 0, found["classes"][0].numpy() > 0)
