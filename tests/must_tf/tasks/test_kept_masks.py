"""Masks of predictions: their pixels and scores to the last bit, and no more memory than they take."""

from __future__ import annotations

import tracemalloc

import numpy as np

from must_tf.spec import ImageInfo
from must_tf.tasks.masks import pseudo
from tests.support.box_labels import predictions
from tests.support.contract import golden

CONFIG = golden("masks").CONFIG
UNSURE = np.nextafter(np.float32(0.5), np.float32(0.0))


def test_pixels_and_score_are_those_of_numpy_to_the_last_bit() -> None:
    """A cell is a pixel, so nothing is interpolated; a half is a pixel, the float32 below is none."""
    rng = np.random.default_rng(5)
    probability = rng.random([28, 28], np.float32)
    probability[3, :9], probability[4, :9] = 0.5, UNSURE
    kept = pseudo.keep(predictions(probability), ImageInfo("a", 56, 56), CONFIG)
    expected = probability >= 0.5
    assert expected[3, :9].all() and not expected[4, :9].any()
    np.testing.assert_array_equal(kept["crops"][0], expected)
    assert kept["crops"][0].dtype == np.uint8 and kept["area"][0] == expected.sum()
    assert kept["mask_scores"][0] == np.float32(np.mean(probability[expected], dtype=np.float64))


def test_one_map_at_a_time_is_at_full_resolution() -> None:
    """Of 40 masks over 500 x 500 pixels, a byte a pixel; all maps together would be four times as much besides."""
    found = predictions(*np.random.default_rng(0).random([40, 28, 28]))
    info = ImageInfo("a", 1000, 1000)
    tracemalloc.start()
    try:
        kept = pseudo.keep(found, info, CONFIG)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    taken = sum(crop.nbytes for crop in kept["crops"])
    assert taken == 40 * 500 * 500
    assert peak < 1.5 * taken
