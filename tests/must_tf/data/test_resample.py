"""Resampling row by row gives TensorFlow's own bits; the rest of a frame is filled; starting needs no second Keras."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from must_tf.data import geometry, resample

HEIGHT, WIDTH, SIZE = 45, 70, 64
IMAGE = np.random.default_rng(0).integers(0, 256, [HEIGHT, WIDTH, 3], dtype=np.uint8)


def one_call(image: np.ndarray, size: tuple[int, int], scale: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """TensorFlow's antialiased resize of a window, rows and columns at once."""
    return tf.raw_ops.ScaleAndTranslate(
        images=tf.cast(image, tf.float32)[None], size=size, scale=scale, translation=-offset, kernel_type="triangle"
    )[0].numpy()


@pytest.mark.parametrize("zoom", [0.13, 0.5, 0.83, 1.0, 1.37, 2.0])
@pytest.mark.parametrize("offset", [(0.0, 0.0), (3.0, 5.0)])
def test_two_passes_over_rows_are_one_call(zoom: float, offset: tuple[float, float]) -> None:
    scale, start = np.array([zoom, 1.1 * zoom], np.float32), np.array(offset, np.float32)
    size = (max(int(HEIGHT * zoom) - 3, 1), max(int(WIDTH * zoom) - 5, 1))
    turned = resample.window_of_scaled(tf.constant(IMAGE), tf.constant(size), tf.constant(scale), tf.constant(start))
    np.testing.assert_array_equal(turned.numpy().transpose(1, 0, 2), one_call(IMAGE, size, scale, start))


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_an_image_is_warped_as_by_one_call(seed: int, flip: bool) -> None:
    """Though only the columns that decide about the window are read."""
    drawn = geometry.random_warp(tf.constant([HEIGHT, WIDTH]), SIZE, geometry.Augmentation(), tf.constant([seed, 1]))
    warp = drawn._replace(flip=tf.constant(flip))
    scale = (warp.scaled / warp.original).numpy().astype(np.float32)
    mirrored = IMAGE[:, ::-1] if flip else IMAGE
    wanted = np.tile(np.array(geometry.OUTSIDE, np.uint8), [SIZE, SIZE, 1])
    height, width = geometry.visible_size(warp).numpy()
    whole = one_call(mirrored, (SIZE, SIZE), scale, warp.offset.numpy().astype(np.float32))
    wanted[:height, :width] = np.rint(whole)[:height, :width]
    np.testing.assert_array_equal(geometry.warp_image(tf.constant(IMAGE), warp), wanted)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(("top", "left"), [(0, 0), (0, 6), (7, 3)])
def test_an_image_that_keeps_its_size_is_cut(top: int, left: int, flip: bool) -> None:
    """As by one call: its pixels do not change."""
    size = tf.constant([HEIGHT, WIDTH])
    warp = geometry.Warp(size, tf.constant(flip), size, tf.constant([top, left]), SIZE)
    shown = (IMAGE[:, ::-1] if flip else IMAGE)[top:, left : left + SIZE]
    found = geometry.warp_image(tf.constant(IMAGE), warp).numpy()
    np.testing.assert_array_equal(found[: len(shown), : shown.shape[1]], shown)
    np.testing.assert_array_equal(
        shown,
        one_call(
            IMAGE[:, ::-1] if flip else IMAGE,
            shown.shape[:2],
            np.ones(2, np.float32),
            np.array([top, left], np.float32),
        ),
    )
    assert (found[len(shown) :] == geometry.OUTSIDE).all() and (found[:, shown.shape[1] :] == geometry.OUTSIDE).all()


@pytest.mark.parametrize("shape", [(2, 3), (4, 4), (0, 0), (4, 1)])
def test_a_frame_is_filled_right_and_below(shape: tuple[int, int]) -> None:
    values = np.arange(shape[0] * shape[1] * 2, dtype=np.float32).reshape(*shape, 2)
    wanted = np.tile(np.array([-1.0, 9.0], np.float32), [4, 4, 1])
    wanted[: shape[0], : shape[1]] = values
    np.testing.assert_array_equal(resample.padded_to_square(tf.constant(values), 4, (-1.0, 9.0)), wanted)


@pytest.mark.parametrize("rows", [[7, 7, 8, 8, 9], [1, 3, 5], [44]])
def test_nearest_is_numpys_indexing_from_either_side(rows: list[int]) -> None:
    columns = [69, 3, 3, 0]
    found = resample.nearest(tf.constant(IMAGE), tf.constant(rows), tf.constant(columns))
    np.testing.assert_array_equal(found, IMAGE[np.ix_(rows, columns)])
