"""The confidence of maps by comparison: its formula by hand, and its way from the record to the targets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from must_tf.shared import pixel_confidence
from must_tf.spec import Labels
from must_tf.tasks.depth import labels as depth_labels
from tests.support.contract import SPECS, WINDOWS, golden, parsed, targets

COMPARED = [task for task, spec in SPECS.items() if spec.summary.confidence]


def compared(task: str, labels: Labels, mirrored: Labels) -> np.ndarray:
    """Returns the confidence of these labels by those of the mirrored photo."""
    compare = SPECS[task].summary.confidence
    assert compare is not None
    return compare(labels, mirrored, SPECS[task].Config())


def metres(*row: float) -> Labels:
    """Returns metric depth of one row of pixels."""
    return {"metres": np.array([row], np.float32), "inverse_depth": np.zeros([1, len(row)], np.float32)}


def relative(*row: float) -> Labels:
    """Returns relative depth of one row of pixels."""
    return {"metres": np.zeros([1, len(row)], np.float32), "inverse_depth": np.array([row], np.float32)}


def normals(*row: tuple[float, float, float]) -> Labels:
    """Returns normals of one row of pixels."""
    return {"normals": np.array([row], np.float32)}


def turned(degrees: float) -> tuple[float, float, float]:
    """Returns the normal of a wall that is turned to the right by some degrees."""
    angle = np.radians(degrees)
    return float(np.sin(angle)), 0.0, float(-np.cos(angle))


def test_the_confidence_halves_with_every_tolerance() -> None:
    found = pixel_confidence.of_disagreement(np.array([0.0, 3.0, 6.0, 12.0, np.nan, np.inf]), 3.0)
    np.testing.assert_array_equal(found, [1, 0.5, 0.25, 0.0625, 0, 0])
    assert found.dtype == np.float32


def test_metres_agree_by_their_ratio() -> None:
    """4 and 4, 4 and 5, 6 and 4, unknown and 4, 4 and unknown: the mirrored photo's are in the other order."""
    found = compared("depth", metres(4, 4, 6, 0, 4), metres(0, 4, 4, 5, 4))
    np.testing.assert_allclose(found, [[1, 0.5, 0.25, 0, 0]], rtol=1e-6)
    again = compared("depth", metres(0, 4, 4, 5, 4), metres(4, 4, 6, 0, 4))
    np.testing.assert_array_equal(again, found[:, ::-1])  # neither of the two is the truth


def test_relative_depth_agrees_up_to_scale_and_shift() -> None:
    """3 d + 2 is the same. With near and far swapped, a flat map fits best, whose error is |d - mean| over its mean."""
    np.testing.assert_array_equal(compared("depth", relative(1, 2, 3, 6), relative(20, 11, 8, 5)), [[1, 1, 1, 1]])
    found = compared("depth", relative(1, 2, 3, 6), relative(1, 4, 5, 6))
    np.testing.assert_allclose(
        found, [[2 ** -(2 / 1.5 / 0.25), 2 ** -(1 / 1.5 / 0.25), 1, 2 ** -(3 / 1.5 / 0.25)]], rtol=1e-5
    )
    assert not compared("depth", relative(2, 2, 2), relative(1, 2, 3)).any()  # says nothing up to scale and shift


def test_relative_depth_is_off_where_it_is_off() -> None:
    """Least squares by hand: centred, -1, 1, -1, 1 and -1.5, 0.5, -1.5, 2.5; the scale is 1.5 / 2.75."""
    found = compared("depth", relative(1, 3, 1, 3), relative(5, 1, 3, 1))
    residuals = np.abs(6 / 11 * np.array([-1.5, 0.5, -1.5, 2.5]) - [-1, 1, -1, 1])
    np.testing.assert_allclose(found, [2 ** -(residuals / 0.25)], rtol=1e-5)


def test_normals_agree_by_their_angle() -> None:
    """A wall turned to the right by 20 degrees looks turned to the left in the mirrored photo."""
    labels = normals(turned(20), turned(20), turned(20), (0, 0, 0), turned(0))
    mirrored = normals((0, 0, 0), turned(0), turned(20), turned(-20 + 11.25 / 2), turned(-20))
    angles = np.array([0, 11.25 / 2, 40])
    np.testing.assert_allclose(compared("normals", labels, mirrored), [[*2 ** -(angles / 11.25), 0, 0]], atol=1e-5)


def test_large_maps_of_normals_are_compared_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    first, second = ({"normals": rng.normal(size=[7, 5, 3]).astype(np.float32)} for _ in range(2))
    whole = compared("normals", first, second)
    monkeypatch.setattr("must_tf.tasks.normals.summary.ROWS", 3)
    np.testing.assert_array_equal(compared("normals", first, second), whole)


@pytest.mark.parametrize("kind", ["metres", "inverse_depth"])
def test_large_maps_of_depth_are_compared_in_parts(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scale and shift of relative depth are those of the whole map."""
    rng = np.random.default_rng(0)
    depth = rng.integers(0, 9, [7, 5]).astype(np.float32)
    first, second = {kind: depth}, {kind: depth[:, ::-1] + rng.integers(0, 3, [7, 5]).astype(np.float32)}
    whole = compared("depth", {"metres": np.zeros([7, 5]), **first}, {"metres": np.zeros([7, 5]), **second})
    assert 0 < np.count_nonzero(whole) < whole.size
    monkeypatch.setattr("must_tf.tasks.depth.summary.AT_ONCE", 15)
    again = compared("depth", {"metres": np.zeros([7, 5]), **first}, {"metres": np.zeros([7, 5]), **second})
    np.testing.assert_allclose(again, whole, rtol=1e-6)


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("task", COMPARED)
def test_the_confidence_is_mirrored_and_cut_with_its_map(task: str, window: str) -> None:
    """Labels that are mirrored by NumPy, in a view that is not, are those in the mirrored view."""
    view = WINDOWS[window]
    labels = golden(task).example(*view.original)
    bytes_of = np.random.default_rng(0).integers(0, 256, view.original)
    labels["confidence"] = (bytes_of / 255).astype(np.float32)
    mirror = {key: value[:, ::-1] for key, value in labels.items()}
    config = golden(task).CONFIG.replace(confidence_threshold=0.5, weighting="confidence")
    got, expected = targets(task, labels, view.warp(flip=True), config), targets(task, mirror, view.warp(), config)
    assert got.pop("mirrored", True) and not expected.pop("mirrored", False)
    assert 0 < np.mean(got["confidence"] >= 0.5) < 1
    for key, value in got.items():
        np.testing.assert_array_equal(value, expected[key])


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("task", COMPARED)
def test_stats_and_training_believe_the_same_pixels(task: str, threshold: float) -> None:
    """All 256 confidences that a record can hold, at thresholds that are one of them, too."""
    labels = {key: value for key, value in golden(task).example(16, 16).items() if value.any()}
    for key in labels:
        labels[key] = (
            np.ones_like(labels[key]) if key != "normals" else 0 * labels[key] + np.array([0, 0, -1], np.float32)
        )
    labels["confidence"] = (np.arange(256, dtype=np.float32) / np.float32(255)).reshape(16, 16)
    config = golden(task).CONFIG.replace(confidence_threshold=threshold, stride=1)
    warp = WINDOWS["fitted"].warp()._replace(original=tf.constant([16, 16]), scaled=tf.constant([16, 16]))
    (kept, *_) = targets(task, labels, warp, config).values()
    known = kept[:16, :16].reshape(16, 16, -1).any(-1)
    np.testing.assert_array_equal(known, SPECS[task].believed(labels, config))
    assert known.sum() == 256 - np.ceil(np.float32(threshold * 255))


@pytest.mark.parametrize("task", COMPARED)
def test_labels_without_a_confidence_are_certain(task: str) -> None:
    """As real ones are: at every threshold, with the weight 1."""
    labels = {key: value for key, value in golden(task).example(96, 160).items() if key != "confidence"}
    config = golden(task).CONFIG.replace(confidence_threshold=1.0, weighting="confidence")
    view = WINDOWS["fitted"]
    got, plain = (targets(task, labels, view.warp(), each) for each in (config, golden(task).CONFIG))
    np.testing.assert_array_equal(np.unique(got.pop("confidence")), [0, 1])  # 0 outside of the image
    for key, value in got.items():
        np.testing.assert_array_equal(value, plain[key])
    assert SPECS[task].believed(labels, config)


@pytest.mark.parametrize("task", COMPARED)
def test_by_default_the_confidence_is_not_even_decoded(task: str) -> None:
    config: Any = golden(task).CONFIG
    stored = parsed(task, golden(task).example(96, 160), (96, 160), config)
    stored[f"image/{task}/confidence/encoded"] = tf.constant(b"no PNG")
    warp = WINDOWS["fitted"].warp()
    found = SPECS[task].targets(stored, tf.constant([96, 160]), warp, config)
    assert "confidence" not in found
    with pytest.raises(tf.errors.InvalidArgumentError):
        SPECS[task].targets(stored, tf.constant([96, 160]), warp, config.replace(weighting="confidence"))


def test_an_uncertain_map_lets_the_photo_through() -> None:
    """One quarter of the colour and three of the photo; unknown pixels stay grey."""
    photo = np.full([40, 60, 3], 200, np.uint8)
    labels = metres(*np.linspace(1, 9, 60))
    labels = {key: value.repeat(40, 0) for key, value in labels.items()}
    labels["metres"][:, :5] = 0
    certain = SPECS["depth"].draw(photo, labels, SPECS["depth"].Config())
    doubtful = SPECS["depth"].draw(photo, labels | {"confidence": np.full([40, 60], 0.25, np.float32)}, None)
    expected = 0.25 * certain[:10].astype(float) + 0.75 * 200
    np.testing.assert_allclose(doubtful[:10, 5:], expected[:, 5:], atol=1)
    np.testing.assert_array_equal(doubtful[:10, :5], certain[:10, :5])


def test_nothing_outside_of_its_range_is_stored() -> None:
    wild = np.array([[-1, np.nan, 2, 0.5]], np.float32)
    written = pixel_confidence.write({"confidence": wild}, depth_labels.CONFIDENCE)[depth_labels.CONFIDENCE]
    stored = tf.io.decode_png(written.bytes_list.value[0]).numpy()[..., 0]
    np.testing.assert_array_equal(stored, [[0, 0, 255, 128]])
