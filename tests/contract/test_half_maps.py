"""Maps that are stored with half of the image's height and width: each pixel stands for 2 x 2 pixels of the image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from must_tf.data import geometry, opening
from must_tf.data.geometry import Frame
from must_tf.spec import ImageInfo, Labels
from tests.support.contract import SIZE, SPECS, WINDOWS, Window, golden, targets, tensors, variants
from tfrecords_tools.label import arguments

MAPS = arguments.with_maps(SPECS)
CELLS = SIZE // 4
ODD = {"odd": Window((97, 161), (154, 256), (20, 70)), "thin": Window((1, 33), (4, 128), (0, 0))}
SIZES = [(96, 160), (97, 161), (200, 151), (63, 64), (31, 17), (427, 640), (99, 640), (31, 333)]
MAP_VARIANTS = [one for one in variants() if one.values[0] in MAPS]


def halved_and_whole(task: str, size: tuple[int, int]) -> tuple[Labels, Labels]:
    """Returns labels of half the size, and the same labels pixel by pixel."""
    half = golden(task).example(-(-size[0] // 2), -(-size[1] // 2))
    return half, {key: np.kron(value, _block(value))[: size[0], : size[1]] for key, value in half.items()}


def _block(value: np.ndarray) -> np.ndarray:
    return np.ones([2, 2, *[1] * (value.ndim - 2)], value.dtype)


def test_maps_are_those_of_pixels() -> None:
    assert set(MAPS) == {"segmentation", "depth", "normals"}


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("window", WINDOWS | ODD)
@pytest.mark.parametrize("task,config", MAP_VARIANTS)
def test_targets_are_those_of_the_enlarged_map(task: str, config: Any, window: str, flip: bool) -> None:
    """Bit for bit."""
    view = (WINDOWS | ODD)[window]
    half, whole = halved_and_whole(task, view.original)
    found, expected = (targets(task, labels, view.warp(flip), config) for labels in (half, whole))
    assert set(found) == set(expected)
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value)


@pytest.mark.parametrize("size", [(96, 160), (97, 161), (1, 33), (1, 1), (2, 2)])
@pytest.mark.parametrize("task", MAPS)
def test_labels_are_read_in_the_size_of_the_image(task: str, size: tuple[int, int]) -> None:
    half, whole = halved_and_whole(task, size)
    found, expected = (tensors(task, labels, size) for labels in (half, whole))
    for key, value in expected.items():
        assert found[key].shape[:2] == size
        np.testing.assert_array_equal(found[key], value)


@pytest.mark.parametrize("size", [(48, 79), (47, 80), (95, 160), (32, 54), (192, 320)])
@pytest.mark.parametrize("task", MAPS)
def test_a_map_of_another_size_is_a_fault(task: str, size: tuple[int, int]) -> None:
    """The image has 96 x 160 pixels."""
    info = ImageInfo("image", 96, 160)
    written = SPECS[task].write(golden(task).example(*size), info)
    example = tf.train.Example(features=tf.train.Features(feature=written))
    keys = [key for key in written if key.endswith("encoded")]
    assert keys
    for key in keys:
        assert dict(opening._map_size(example.features.feature, key, info))["map and image differ in size"]
    with pytest.raises(tf.errors.InvalidArgumentError, match="map and image differ in size"):
        targets_of = SPECS[task].targets
        parsed = tf.io.parse_single_example(example.SerializeToString(), SPECS[task].features(golden(task).CONFIG))
        targets_of(parsed, tf.constant((96, 160)), WINDOWS["fitted"].warp(), golden(task).CONFIG)


def test_half_a_map_is_no_fault() -> None:
    """By the header, for all keys of a record at once."""
    info = ImageInfo("image", 97, 161)
    for task in MAPS:
        written = SPECS[task].write(golden(task).example(49, 81), info)
        example = tf.train.Example(features=tf.train.Features(feature=written))
        for key in written:
            if key.endswith("encoded"):
                assert not list(opening._map_size(example.features.feature, key, info))


def wild_outside(cells: np.ndarray, scaled: tf.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Returns cells [CELLS, CELLS, K] as a network predicts them, 1e6 beyond the image, and those that show it."""
    rows, columns = (-(-side // 4) for side in scaled.numpy().tolist())
    wild = np.full_like(cells, 1e6)
    wild[:rows, :columns] = cells[:rows, :columns]
    return wild, cells[:rows, :columns]


def in_the_middle(cells: np.ndarray, size: tuple[int, int], scaled: tf.Tensor) -> np.ndarray:
    """Interpolates cells [R, C, K] by hand at the middle of each 2 x 2 pixels of an image; the border continues."""
    found = np.asarray(cells, np.float64)
    for axis in (0, 1):
        middles = 2 * np.arange(-(-size[axis] // 2)) + 1
        place = middles * (int(scaled[axis]) / size[axis] / 4) - 0.5
        place = np.clip(place, 0, found.shape[axis] - 1)
        low = np.floor(place).astype(int)
        high = np.minimum(low + 1, found.shape[axis] - 1)
        share = (place - low).reshape([-1, 1, 1] if axis == 0 else [1, -1, 1])
        found = np.take(found, low, axis) * (1 - share) + np.take(found, high, axis) * share
    return found


@pytest.mark.parametrize("size", SIZES)
def test_depth_of_half_a_map_is_that_in_the_middle_of_its_pixels(size: tuple[int, int]) -> None:
    scaled = geometry.fitted_size(tf.constant(size), SIZE)
    wild, cells = wild_outside(np.random.default_rng(0).uniform(1, 9, [CELLS, CELLS, 1]).astype(np.float32), scaled)
    found = SPECS["depth"].restore({"metres": tf.constant(wild[..., 0])}, Frame(tf.constant(size), scaled, SIZE, 2))
    np.testing.assert_allclose(found["metres"], in_the_middle(cells, size, scaled)[..., 0], rtol=1e-4)


@pytest.mark.parametrize("size", SIZES)
def test_normals_of_half_a_map_are_those_in_the_middle_of_its_pixels(size: tuple[int, int]) -> None:
    scaled = geometry.fitted_size(tf.constant(size), SIZE)
    drawn = np.random.default_rng(0).uniform(-1, 1, [CELLS, CELLS, 3]).astype(np.float32) - np.array(
        [0, 0, 2], np.float32
    )
    wild, cells = wild_outside(drawn, scaled)
    found = SPECS["normals"].restore({"normals": tf.constant(wild)}, Frame(tf.constant(size), scaled, SIZE, 2))
    expected = in_the_middle(cells, size, scaled)
    expected /= np.linalg.norm(expected, axis=-1, keepdims=True)
    np.testing.assert_allclose(found["normals"], expected, atol=1e-4)


@pytest.mark.parametrize("size", SIZES)
def test_classes_of_half_a_map_are_those_in_the_middle_of_its_pixels(size: tuple[int, int]) -> None:
    scaled = geometry.fitted_size(tf.constant(size), SIZE)
    wild, cells = wild_outside(
        np.random.default_rng(0).dirichlet(np.ones(5), [CELLS, CELLS]).astype(np.float32), scaled
    )
    frame = Frame(tf.constant(size), scaled, SIZE, 2)
    found = SPECS["segmentation"].restore({"probability": tf.constant(wild)}, frame)
    expected = in_the_middle(cells, size, scaled)
    best, second = np.sort(expected, axis=-1)[..., ::-1].transpose(2, 0, 1)[:2]
    sure = best - second > 1e-4
    assert found["classes"].shape == sure.shape and sure.mean() > 0.99
    np.testing.assert_array_equal(found["classes"].numpy()[sure], expected.argmax(-1)[sure])
    np.testing.assert_allclose(found["confidence"], best, atol=1e-4)
