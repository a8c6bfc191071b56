"""Metrics of two parts of a dataset, merged, equal those of the whole to the last bit, with all details."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

from must_tf.data.record import ImageInfo
from tests.support.contract import SPECS, golden, scene

SIZE = (48, 80)
IMAGES = 7  # the parts differ in their number


def _labels(task: str) -> list[Any]:
    return [golden(task).scene_labels(scene("wild", index, SIZE)) for index in range(IMAGES)]


def _guess(labels: Any, rng: np.random.Generator) -> Any:
    """Predictions that are right in part: noise on floats, some wrong ids, and scores of which many are the same."""
    guess = copy.deepcopy(labels)
    for key, values in guess.items():
        if key == "scores":
            guess[key] = rng.integers(1, 4, len(values)).astype(np.float32) / 4
        elif key == "classes":
            wrong = rng.random(values.shape) < 0.3
            guess[key] = np.where(wrong, np.roll(values, 1), values).astype(values.dtype)
        elif key in ("metres", "normals", "probability"):
            noise = rng.normal(1.0, 0.2, values.shape)
            guess[key] = (values * noise + (1.1 * rng.random(values.shape) if key == "probability" else 0)).astype(
                values.dtype
            )
    return guess


@pytest.mark.parametrize("task", SPECS)
@pytest.mark.parametrize("parts", [(3, IMAGES), (0, 5, IMAGES), (1, 2, 4, IMAGES)])
def test_merged_parts_are_the_whole(task: str, parts: tuple[int, ...]) -> None:
    """They travel between processes, and a part may be empty."""
    spec, config, rng = SPECS[task], golden(task).CONFIG, np.random.default_rng(0)
    images = [(labels, _guess(labels, rng), ImageInfo(str(place), *SIZE)) for place, labels in enumerate(_labels(task))]
    whole, merged = spec.Metric(config), spec.Metric(config)
    for image in images:
        whole.add(*image)
    for start, end in zip((0, *parts), parts, strict=False):
        part = spec.Metric(config)
        for image in images[start:end]:
            part.add(*image)
        merged.merge(pickle.loads(pickle.dumps(part)))
    figures = whole.result()
    assert figures and merged.result() == figures
    assert set(figures) <= set(spec.Metric.figures)
    headline = figures[spec.Metric.headline]
    assert 0 < headline != 1  # neither perfect nor nothing, so that all images count
    for details in {"details", "unmeasured"} & set(dir(whole)):
        assert getattr(merged, details)() == getattr(whole, details)()
