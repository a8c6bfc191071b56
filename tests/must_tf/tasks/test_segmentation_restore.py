"""Probabilities are interpolated, then the best is taken: by OpenCV for all classes, here where it matters."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import tensorflow as tf

from must_tf.data import geometry
from must_tf.data.geometry import Frame
from must_tf.tasks.segmentation import model

CELLS, STRIDE = 24, 4


@pytest.fixture(params=["host", "graph"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def restored(
    probability: np.ndarray, original: tuple[int, int], scaled: tuple[int, int], way: str
) -> dict[str, np.ndarray]:
    """By the code under test, on the host as in labelling or in a graph as in serving."""
    frame = tf.constant(original), tf.constant(scaled)
    if way == "host":
        return model.restore({"probability": probability}, Frame(*frame, CELLS * STRIDE))
    found = tf.function(lambda p, o, s: model.restore({"probability": p}, Frame(o, s, CELLS * STRIDE)))(
        tf.constant(probability), *frame
    )
    return {key: value.numpy() for key, value in found.items()}


@pytest.mark.parametrize("grain", [3, 24])  # cells that a region is wide, or none at all
@pytest.mark.parametrize(("original", "scaled"), [((128, 192), (64, 96)), ((192, 48), (96, 24)), ((37, 37), (96, 96))])
def test_as_opencv_does_it(grain: int, original: tuple[int, int], scaled: tuple[int, int], way: str) -> None:
    """Enlarged and shrunk, wide and tall; cells that show nothing of the image are wild."""
    rng = np.random.default_rng(grain)
    logits = cv2.resize(rng.normal(0, 3, [grain, grain, 21]), (CELLS, CELLS))
    probability = (np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)).astype(np.float32)
    rows, columns = scaled[0] // STRIDE, scaled[1] // STRIDE
    probability[rows:], probability[:, columns:] = 1.0, 1.0
    expected = cv2.resize(probability[:rows, :columns], original[::-1], interpolation=cv2.INTER_LINEAR)
    found = restored(probability, original, scaled, way)
    np.testing.assert_allclose(found["confidence"], expected.max(-1), atol=1e-5)
    first, second = np.sort(expected, axis=-1)[..., -2:].transpose(2, 0, 1)[::-1]
    sure = first - second > 1e-5
    assert sure.mean() > 0.99
    np.testing.assert_array_equal(found["classes"][sure], expected.argmax(-1)[sure])


def test_large_maps_are_restored_in_bands(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """Seven rows at a time, the last band lower, as all at once."""
    logits = np.random.default_rng(0).normal(0, 2, [CELLS, CELLS, 5])
    probability = (np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)).astype(np.float32)
    whole = restored(probability, (150, 100), (96, 64), way)
    monkeypatch.setattr(geometry, "BAND", 799)
    bands = restored(probability, (150, 100), (96, 64), way)
    np.testing.assert_array_equal(bands["classes"], whole["classes"])
    np.testing.assert_allclose(bands["confidence"], whole["confidence"], rtol=1e-6)


def test_a_class_that_is_best_in_no_cell_may_be_best_between_them(way: str) -> None:
    """0.6 and 0 on one side, 0 and 0.6 on the other, 0.4 on both: halfway that is more than 0.3."""
    probability = np.zeros([CELLS, CELLS, 3], np.float32)
    probability[:, : CELLS // 2], probability[:, CELLS // 2 :] = (0.6, 0.0, 0.4), (0.0, 0.6, 0.4)
    found = restored(probability, (96, 96), (96, 96), way)
    assert set(found["classes"][:, 47]) == {2} and set(found["classes"][:, 48]) == {2}
    assert set(found["classes"][:, :45].ravel()) == {0} and set(found["classes"][:, 52:].ravel()) == {1}


def test_nan_stays(way: str) -> None:
    """A diverged network predicts NaN everywhere; evaluation counts it as wrong, and labelling refuses it."""
    found = restored(np.full([CELLS, CELLS, 3], np.nan, np.float32), (96, 96), (96, 96), way)
    assert np.isnan(found["confidence"]).all() and (found["classes"] >= 0).all() and (found["classes"] < 3).all()
