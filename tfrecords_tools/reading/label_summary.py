"""Numbers about one label of any task: classes, objects, share of the image, confidence."""

from __future__ import annotations

import collections
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from must_tf.label_content import OBJECTS, PIXELS, ImageInfo, Labels
from must_tf.spec import TaskSpec

BINS = 10  # of confidence, 0 to 1
PART = 4_000_000  # values that are counted at once: in float64 and int64, those of a large map would take gigabytes


class LabelSummary(NamedTuple):
    """Numbers about one task's label of one image.

    Attributes:
      unit: what is counted, see `LabelContent`.
      classes: {place in the class names: number of `unit`}.
      objects: number of objects; None if the unit is another one.
      known: share of the image's pixels that are known; None if the unit is another one.
      confidence: the mean; None if the label has none.
      bins: int64 [BINS], number of `unit` by confidence.
    """

    unit: str
    classes: dict[int, int]
    objects: int | None = None
    known: float | None = None
    confidence: float | None = None
    bins: np.ndarray = np.zeros(BINS, np.int64)  # never written to


def of(task: TaskSpec, labels: Labels, info: ImageInfo, config: Any) -> LabelSummary:
    """Summarises one label in the original image's frame."""
    content = task.summary.content(labels, info, config)
    there = content.there()
    summary = LabelSummary(content.unit, {})
    if content.unit == OBJECTS:
        summary = summary._replace(objects=int(there.sum()))
    if content.unit == PIXELS:
        summary = summary._replace(known=float(there.mean()))
    if content.classes is not None:
        summary = summary._replace(classes=_counted(_chosen(content.classes, there)))
    if content.scores is not None and there.any():
        scores = _chosen(content.scores, there)
        summary = summary._replace(confidence=float(scores.mean()), bins=_binned(scores))
    return summary


def _chosen(values: np.ndarray, there: np.ndarray) -> np.ndarray:
    return values[there] if values.shape == there.shape else values  # the lists of a damaged label may differ


def _counted(ids: np.ndarray) -> dict[int, int]:
    total: collections.Counter[int] = collections.Counter()
    for part in _parts(ids):
        places, counts = np.unique(part, return_counts=True)
        total.update(dict(zip(places.tolist(), counts.tolist(), strict=True)))
    return dict(sorted(total.items()))


def _parts(values: np.ndarray) -> Iterator[np.ndarray]:
    flat = values.ravel()
    for start in range(0, flat.size, PART):
        yield flat[start : start + PART]


def _binned(values: np.ndarray) -> np.ndarray:
    """Counts [BINS] of values in 0..1; 1.0 is in the last bin."""
    counts = np.zeros(BINS, np.int64)
    for part in _parts(values):
        places = np.clip((part.astype(np.float64) * BINS + 1e-6).astype(np.int64), 0, BINS - 1)
        counts += np.bincount(places, minlength=BINS)
    return counts
