"""Predictions as arrays are restored without a graph: bit by bit as in one, which an export runs."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
import tensorflow as tf

from must_tf.data import geometry
from must_tf.data.geometry import Frame
from must_tf.evaluation.predictions import Restorer
from tests.support.contract import SIZE, SPECS, golden, scene, targets

CELLS = SIZE // 4
SIZES = [(96, 160), (97, 161), (200, 151), (128, 128), (1, 33), (31, 333)]


def ideal(task: str, size: tuple[int, int]) -> dict[str, np.ndarray]:
    """The predictions of a perfect network, for one image."""
    own, warp = golden(task), geometry.fit(tf.constant(size), SIZE)
    made = targets(task, own.scene_labels(scene("geometry", 6, size)), warp, own.CONFIG)
    predictions = SPECS[task].ideal({key: value[None] for key, value in made.items()}, own.CONFIG).predictions
    return {key: np.asarray(value)[0] for key, value in predictions.items()}


def drawn(task: str, grain: int) -> dict[str, np.ndarray]:
    """Predictions of maps in regions of a few cells, with noise."""
    rng = np.random.default_rng(grain)
    if task == "segmentation":
        logits = cv2.resize(rng.normal(0, 3, [grain, grain, 21]), (CELLS, CELLS)) + rng.normal(
            0, 0.3, [CELLS, CELLS, 1]
        )
        return {"probability": tf.nn.softmax(logits.astype(np.float32)).numpy()}
    if task == "normals":
        return {"normals": rng.normal(0, 1, [CELLS, CELLS, 3]).astype(np.float32)}
    return {"metres": rng.uniform(0.1, 9.0, [CELLS, CELLS]).astype(np.float32)}


def in_graph(task: str, predictions: dict[str, np.ndarray], info: np.ndarray, step: int) -> dict[str, Any]:
    """As an export does it."""

    @tf.function
    def restored(values: Any, about: tf.Tensor) -> Any:
        return SPECS[task].restore(values, Frame(about[:2], about[2:], SIZE, step))

    found = restored({key: tf.constant(value) for key, value in predictions.items()}, tf.constant(info))
    return {key: value.numpy() for key, value in found.items()}


def assert_same(task: str, predictions: dict[str, np.ndarray], size: tuple[int, int], step: int) -> None:
    info = np.concatenate([size, geometry.fitted_size(tf.constant(size), SIZE).numpy()]).astype(np.int32)
    restorer = Restorer(SPECS, {task: golden(task).CONFIG}, SIZE)
    found, expected = restorer.restored({task: predictions}, info, step)[task], in_graph(task, predictions, info, step)
    assert set(found) == set(expected)
    for key, value in expected.items():
        assert found[key].dtype == value.dtype
        np.testing.assert_array_equal(found[key], value)


@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize("task", SPECS)
def test_predictions_are_restored_alike(task: str, step: int) -> None:
    assert_same(task, ideal(task, (96, 160)), (96, 160), step)


@pytest.mark.parametrize("size", SIZES)
def test_boxes_are_restored_alike(size: tuple[int, int]) -> None:
    """Also those that reach into the padding or beyond the input, which are cut at the image's border."""
    boxes = np.random.default_rng(1).uniform(-0.3 * SIZE, 1.3 * SIZE, [50, 4]).astype(np.float32)
    assert_same("detection", {"boxes": boxes}, size, 1)


@pytest.mark.parametrize("task", ["segmentation", "depth", "normals"])
def test_a_graph_only_restore_gets_arrays_in_its_frame_too(task: str) -> None:
    """A task without NumPy code of its own: TensorFlow's operations take the frame's arrays."""
    predictions = drawn(task, 5)
    info = np.array([150, 100, 128, 85], np.int32)
    as_tensors = {key: tf.constant(value) for key, value in predictions.items()}
    found = SPECS[task].restore(as_tensors, Frame(info[:2], info[2:], SIZE, 2))
    for key, value in in_graph(task, predictions, info, 2).items():
        np.testing.assert_array_equal(found[key], value)


@pytest.mark.parametrize("grain", [3, CELLS])
@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("task", ["segmentation", "depth", "normals"])
def test_maps_are_restored_alike(task: str, size: tuple[int, int], step: int, grain: int) -> None:
    """Enlarged and shrunk, wide and tall, with large regions and without any."""
    assert_same(task, drawn(task, grain), size, step)


@pytest.mark.parametrize("task", ["segmentation", "depth", "normals"])
def test_large_maps_are_restored_in_bands(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven rows at a time, the last band lower, as all at once."""
    info, restorer = np.array([150, 100, 128, 85]), Restorer(SPECS, {task: golden(task).CONFIG}, SIZE)
    whole = restorer.restored({task: drawn(task, 5)}, info)[task]
    monkeypatch.setattr(geometry, "BAND", 799)
    bands = restorer.restored({task: drawn(task, 5)}, info)[task]
    for key, value in whole.items():
        np.testing.assert_allclose(bands[key], value, rtol=1e-5, atol=1e-6)
