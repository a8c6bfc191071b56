"""The strongest test of labels: the ground truth, given as prediction to the tasks' own metrics, must be perfect.

What keeps a figure below perfect is told apart: facts of the data that the published protocol does not score
(`causes`), and all else, which is a fault of the labels or of the metric.
"""

from __future__ import annotations

import collections
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from must_tf.data.record import Labelled
from must_tf.spec import ImageInfo, Labels, TaskSpec
from tfrecords_tools.reading import label_summary

EXACT = 1e-9  # COCOeval adds 2e-16 to a denominator
SCORED = 100  # objects of a class that COCO's protocol looks at in one image
BEYOND = f"objects beyond {SCORED} of a class in one image: COCO's protocol looks at no more"
EMPTY = "masks without a pixel: nothing can overlap them"
RELATIVE = "images with relative depth: not measured, the metric is one of metres"
TIED = "images whose likeliest classes are equally likely: neither comes first"


class Verdict(NamedTuple):
    """One task's headline in one shard, or in one image; None where there was nothing to measure."""

    figure: float | None
    images: int


def as_prediction(labels: Labels) -> Labels:
    """The labels as a perfect model would answer: crowds are regions that no model has to name, so it does not."""
    if "is_crowd" not in labels:
        return labels
    return chosen(labels, ~np.asarray(labels["is_crowd"], bool))


def perfect(spec: TaskSpec) -> float:
    """The best value that the task's headline can have: a share of 1, or no error."""
    return 1.0 if spec.Metric.higher_is_better else 0.0


def is_perfect(figure: float | None, spec: TaskSpec) -> bool:
    """Also where there was nothing to measure."""
    return figure is None or abs(figure - perfect(spec)) <= EXACT


class Truth:
    """Feeds labels to the metrics of all tasks that they have."""

    def __init__(self, specs: Mapping[str, TaskSpec], configs: Mapping[str, Any]):
        self._specs, self._configs = specs, configs
        self._metrics: dict[str, Any] = {}
        self._images: collections.Counter = collections.Counter()
        self.unmeasured: dict[str, collections.Counter] = {}  # task -> what its metric leaves out: how often

    def add(self, labelled: Mapping[str, Labelled], info: ImageInfo) -> Iterator[tuple[str, str]]:
        """One more image; yields (task, why) where a metric cannot take it."""
        for task, (labels, _, _) in labelled.items():
            metric = self._metrics.setdefault(task, self._specs[task].Metric(self._configs[task]))
            try:
                metric.add(labels, as_prediction(labels), info)
            except Exception as error:  # a broken label leads the metrics to anything
                yield task, f"{type(error).__name__}: {error}"
                continue
            self._images[task] += 1
            if np.any(labels.get("inverse_depth", 0)):
                self.unmeasured.setdefault(task, collections.Counter())[RELATIVE] += 1

    def verdicts(self) -> dict[str, Verdict]:
        """{task: its headline over all images}."""
        found = {}
        for task, metric in self._metrics.items():
            figure = metric.result().get(self._specs[task].Metric.headline)
            found[task] = Verdict(None if figure is None else float(figure), self._images[task])
        return found


def causes(labels: Labels) -> dict[str, int]:
    """{what in these labels a perfect answer is not scored for: how often}; empty where a low figure has no excuse."""
    found: dict[str, int] = {}
    if "boxes" in labels:
        found = {BEYOND: int(_beyond(labels).sum()), EMPTY: int(_empty(labels).sum())}
    elif label_summary.is_distribution(labels):
        probability = np.asarray(labels["probability"])
        found = {TIED: int((probability == probability.max(initial=0)).sum() > 1)}
    return {what: number for what, number in found.items() if number}


def scored(labels: Labels) -> Labels:
    """The labels without the objects that `causes` counts: the answer to these must be perfect."""
    return chosen(labels, ~(_beyond(labels) | _empty(labels))) if "boxes" in labels else labels


def chosen(labels: Labels, wanted: np.ndarray) -> Labels:
    """Some of the objects; `wanted` is bool [N]."""
    return {
        key: [one for one, keep in zip(value, wanted, strict=True) if keep]
        if isinstance(value, list)
        else value[wanted]
        for key, value in labels.items()
    }


def _beyond(labels: Labels) -> np.ndarray:
    """bool [N]: objects after the first `SCORED` of their class, crowds not counted."""
    seen: collections.Counter = collections.Counter()
    beyond = np.zeros(len(labels["boxes"]), bool)
    for place in np.flatnonzero(~np.asarray(labels["is_crowd"], bool)):
        seen[int(labels["classes"][place])] += 1
        beyond[place] = seen[int(labels["classes"][place])] > SCORED
    return beyond


def _empty(labels: Labels) -> np.ndarray:
    """bool [N]: masks without a pixel."""
    crops = labels.get("crops")
    return np.zeros(len(labels["boxes"]), bool) if crops is None else np.array([not crop.any() for crop in crops], bool)
