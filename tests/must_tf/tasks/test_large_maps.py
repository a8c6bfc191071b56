"""Metrics of large maps are computed in bands of rows: the figures of all pixels at once, in bounded memory."""

from __future__ import annotations

import itertools
import tracemalloc
from typing import Any

import numpy as np
import pytest

from must_tf.data import geometry
from must_tf.tasks.depth import metric as depth
from must_tf.tasks.normals import metric as normals
from must_tf.tasks.segmentation import metric as segmentation
from tests.support.measuring import Labels, details, evaluate

Pair = tuple[Labels, Labels]
# Bytes per pixel that a metric may take beside the two maps. Depth: the known and the valid pixels, a median's float32.
MOST_BYTES = 8
SETTINGS: list[tuple[Any, dict[str, Any]]] = [
    (segmentation, {"unmeasured": ("b",)}),
    (normals, {}),
    *[(depth, {"alignment": name}) for name in ("none", "median", "scale_and_shift")],
    (depth, {"alignment": "median", "crop": "garg", "min_metres": 0.5, "max_metres": 9.0}),
]


def _maps(module: Any, height: int, width: int) -> Pair:
    """Returns labels and predictions with unknown pixels, the last rows among them, and missing predictions."""
    rng = np.random.default_rng(3)
    if module is segmentation:
        classes = rng.choice([0, 1, 2, 255], size=[2, height, width]).astype(np.uint8)
        return {"classes": classes[0]}, {"classes": classes[1]}
    if module is normals:
        drawn = rng.normal(size=[2, height, width, 3]).astype(np.float32)
        truth, guess = drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)
        truth[height - 2 :], truth[0, 1], guess[1, 2] = 0.0, 0.0, np.nan
        return {"normals": truth}, {"normals": guess}
    metres = np.exp(rng.normal(size=[2, height, width])).astype(np.float32)
    metres[0, height - 2 :], metres[0, 0, 1], metres[1, 1, 2], metres[1, 2, 1] = 0.0, 0.0, np.nan, 0.0
    return {"metres": metres[0]}, {"metres": metres[1]}


def _relative(pair: Pair) -> Pair:
    """Makes the prediction of metres one of relative depth."""
    inverse = np.nan_to_num(pair[1]["metres"]) + 0.25
    return pair[0], {"inverse_depth": inverse, "metres": np.zeros_like(inverse)}


@pytest.mark.parametrize(("module", "settings"), SETTINGS)
@pytest.mark.parametrize("band", [1, 30])
def test_the_figures_are_those_of_all_pixels(
    module: Any, settings: dict[str, Any], band: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = _maps(module, 11, 7)
    pairs = [pair, _relative(pair)] if module is depth else [pair]
    whole = [evaluate(module, [each], "a", "b", "c", **settings) for each in pairs]
    monkeypatch.setattr(geometry, "BAND", band)
    in_bands = [evaluate(module, [each], "a", "b", "c", **settings) for each in pairs]
    for found, expected in zip(in_bands, whole, strict=True):
        assert expected and found == pytest.approx(expected, rel=1e-12)


def test_a_band_is_whole_rows_and_a_small_image_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert geometry.bands(2000, 2000) == [slice(0, 2000)]  # 4 million pixels
    monkeypatch.setattr(geometry, "BAND", 30)
    assert geometry.bands(11, 7) == [slice(0, 4), slice(4, 8), slice(8, 12)]
    assert geometry.bands(2, 50) == [slice(0, 1), slice(1, 2)]


@pytest.mark.parametrize(("module", "settings"), SETTINGS)
def test_the_memory_is_bounded(module: Any, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """In double precision, the known pixels alone would take 16 bytes each."""
    height, width = 1000, 500
    pair = _maps(module, height, width)
    monkeypatch.setattr(geometry, "BAND", 5000)
    metric = module.Metric(module.Config(classes=("a", "b", "c"), **settings))
    metric.add(*_maps(module, 3, 3), None)  # what is allocated once
    tracemalloc.start()
    try:
        metric.add(*pair, None)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak / (height * width) < MOST_BYTES


def test_the_reason_for_a_delta_of_0_counts_all_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Predictions are 2, 3 and 8 times the truth, in as many rows, and the median of them all is 3."""
    truth = np.ones([3, 4], np.float32)
    guess = truth * np.array([[2], [3], [8]], np.float32)
    monkeypatch.setattr(geometry, "BAND", 4)
    reason = details(depth, [({"metres": truth}, {"metres": guess})]).reason
    assert reason == "no pixel is within 25 %; predictions are 3 times the truth in the median"


@pytest.mark.parametrize("values", list(itertools.product([1.0, 2.0, 5.0], repeat=3)) + [(1.0, 4.0), (7.0,)])
def test_the_median_is_numpy_s(values: tuple[float, ...]) -> None:
    assert depth._median(np.array(values, np.float32)) == np.median(np.array(values, np.float64))
