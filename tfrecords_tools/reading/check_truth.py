"""Tests labels with the tasks' own metrics: the ground truth as prediction must have perfect scores.

A lower score has one of two reasons: labels that the published protocol does not score (`causes`), or a fault of the
labels or the metric.
"""

from __future__ import annotations

import collections
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from must_tf.data.record import Labelled
from must_tf.spec import ImageInfo, Labels, TaskSpec
from tfrecords_tools.writing.reasons import reason_of

BAND = 4_000_000  # pixels of maps that are measured at once: metrics take some 100 bytes for each
EXACT = 1e-9  # COCOeval adds 2e-16 to a denominator


class HeadlineScore(NamedTuple):
    """One task's headline over a shard or an image; None if nothing was measured."""

    value: float | None
    images: int


def as_prediction(labels: Labels) -> Labels:
    """Returns the predictions of a perfect model: the labels without crowds, which no model has to detect."""
    if "is_crowd" not in labels:
        return labels
    return chosen(labels, ~np.asarray(labels["is_crowd"], bool))


def perfect(spec: TaskSpec) -> float:
    """Returns the best value of the task's headline: 1, or an error of 0."""
    return 1.0 if spec.Metric.higher_is_better else 0.0


def is_perfect(value: float | None, spec: TaskSpec) -> bool:
    """Tests if a headline is perfect. True if nothing was measured."""
    return value is None or abs(value - perfect(spec)) <= EXACT


def bands(labels: Labels, info: ImageInfo) -> Iterator[tuple[Labels, ImageInfo]]:
    """Yields the labels of an image, in bands of rows if they are large maps: a perfect prediction stays perfect."""
    rows = max(1, BAND // info.width)
    are_maps = all(np.shape(value)[:2] == (info.height, info.width) for value in labels.values())
    is_relative = bool(np.any(labels.get("inverse_depth", False)))  # its metric counts labels and measures none
    if info.height <= rows or not are_maps or is_relative:
        yield labels, info
        return
    for top in range(0, info.height, rows):
        part = {key: value[top : top + rows] for key, value in labels.items()}
        yield part, info._replace(height=min(rows, info.height - top))


class TruthAsPrediction:
    """Measures labels as predictions, with the metrics of their tasks."""

    def __init__(self, specs: Mapping[str, TaskSpec], configs: Mapping[str, Any]):
        self._specs, self._configs = specs, configs
        self._metrics: dict[str, Any] = {}
        self._images: collections.Counter = collections.Counter()

    def add(self, labelled: Mapping[str, Labelled], info: ImageInfo) -> Iterator[tuple[str, str]]:
        """Adds one image; yields (task, error) for each metric that fails on it."""
        for task, (labels, _, _) in labelled.items():
            metric = self._metrics.setdefault(task, self._specs[task].Metric(self._configs[task]))
            try:
                for part, size in bands(labels, info):
                    metric.add(part, as_prediction(part), size)
            except Exception as error:  # broken labels make metrics raise all kinds of errors
                yield task, reason_of(error)
                continue
            self._images[task] += 1

    def unmeasured(self) -> dict[str, collections.Counter[str]]:
        """Returns {task: {what its metric leaves out: number of images}}; only tasks whose metric left out any."""
        counts = {task: metric.unmeasured() for task, metric in self._metrics.items() if hasattr(metric, "unmeasured")}
        return {task: collections.Counter(left_out) for task, left_out in counts.items() if left_out}

    def scores(self) -> dict[str, HeadlineScore]:
        """Returns {task: headline over all images}."""
        scores = {}
        for task, metric in self._metrics.items():
            value = metric.result().get(self._specs[task].Metric.headline)
            scores[task] = HeadlineScore(None if value is None else float(value), self._images[task])
        return scores


def causes(spec: TaskSpec, labels: Labels) -> dict[str, int]:
    """Returns {reason: number of things} that a perfect prediction is not scored for; empty if there are none."""
    counts = {reason: int(things.sum()) for reason, things in spec.summary.unscored(labels).items()}
    return {reason: count for reason, count in counts.items() if count}


def scored(spec: TaskSpec, labels: Labels) -> Labels:
    """Returns the labels without the objects that `causes` counts: a prediction equal to these must be perfect."""
    unscored = list(spec.summary.unscored(labels).values())
    if "boxes" not in labels or not unscored:
        return labels
    return chosen(labels, ~np.logical_or.reduce(unscored))


def chosen(labels: Labels, wanted: np.ndarray) -> Labels:
    """Returns the `wanted` objects, bool [N]."""
    return {
        key: [item for item, keep in zip(value, wanted, strict=True) if keep]
        if isinstance(value, list)
        else value[wanted]
        for key, value in labels.items()
    }
