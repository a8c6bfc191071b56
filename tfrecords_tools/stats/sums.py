"""Sums over one task's labels, of any task: counts and histograms, so that memory does not grow with the dataset."""

from __future__ import annotations

import collections
import dataclasses
from typing import Any

import numpy as np

from must_tf.common.finite import is_finite
from must_tf.label_content import IMAGES, OBJECTS, PIXELS, ImageInfo, LabelContent, Labels
from must_tf.spec import TaskSpec

BINS = 100  # of scores from 0 to 1: thresholds are suggested in hundredths


def _zeros(*shape: int) -> np.ndarray:
    return dataclasses.field(default_factory=lambda: np.zeros(shape, np.int64))


@dataclasses.dataclass
class Sums:
    """Sums over images. C classes by their place in the names.

    Attributes:
      kind: of the labels, see `Summary`; empty before the first.
      unit: what is counted, see `LabelContent`.
      has_classes: whether the labels have classes and scores.
      images: labelled images. The next three count some of them.
      empty: nothing is there, not even at the floor.
      unsure: something is there, but nothing above the reading thresholds.
      not_finite: NaN or infinity.
      pixels, valid: of maps, all pixels and those that are known and above the thresholds.
      sure: sum of the likeliest classes' probabilities, of labels of the whole image.
      scores: [C, BINS] labels by class and score, except those that no threshold of their class would let through.
      believed: [C] labels at the reading thresholds.
      counts: number of believed objects in an image -> images.
      own: {name: sum} of what the task adds, see `Summary.add`.
    """

    kind: str = ""
    unit: str = ""
    has_classes: bool = False
    images: int = 0
    empty: int = 0
    unsure: int = 0
    not_finite: int = 0
    pixels: int = 0
    valid: int = 0
    sure: float = 0.0
    scores: np.ndarray = _zeros(0, BINS)
    believed: np.ndarray = _zeros(0)
    counts: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    own: dict[str, Any] = dataclasses.field(default_factory=dict)

    def merge(self, other: Sums) -> None:
        """Adds the sums over other images."""
        self.kind, self.unit = self.kind or other.kind, self.unit or other.unit
        self.has_classes |= other.has_classes
        for name in ("images", "empty", "unsure", "not_finite", "pixels", "valid", "sure", "counts"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        if other.scores.size:
            # Nothing was counted on one side as long as it is empty.
            self.scores = self.scores + other.scores if self.scores.size else other.scores
            self.believed = self.believed + other.believed if self.believed.size else other.believed
        self.add_own(other.own)

    def add_own(self, values: dict[str, Any]) -> None:
        """Adds numbers and arrays by name."""
        for name, value in values.items():
            self.own[name] = self.own[name] + value if name in self.own else value


def add(sums: Sums, task: TaskSpec, labels: Labels, info: ImageInfo, config: Any) -> None:
    """Adds one image.

    Args:
      sums: of this task.
      task: its spec.
      labels: in the original image's frame.
      info: the image.
      config: the task's, with the reading thresholds and the class names.
    """
    content = task.summary.content(labels, info, config)
    present = content.present
    if content.scores is not None:
        present = present & np.isfinite(content.scores)
    believed = present & np.asarray(task.believed(labels, config))
    sums.kind, sums.unit = task.summary.kind, content.unit
    sums.images += 1
    sums.not_finite += not is_finite(labels)
    sums.empty += not present.any()
    sums.unsure += bool(present.any()) and not believed.any()
    if content.unit == OBJECTS:
        sums.counts[int(believed.sum())] += 1
    if content.unit == PIXELS:
        sums.pixels += present.size
        sums.valid += int(believed.sum())
    if content.unit == IMAGES and content.scores is not None:
        sums.sure += float(content.scores[present].sum())
    _add_classes(sums, content, (present, believed), len(config.classes))
    sums.add_own(dict(task.summary.add(labels, config)))


def _add_classes(
    sums: Sums, content: LabelContent, present_and_believed: tuple[np.ndarray, np.ndarray], count: int
) -> None:
    if content.classes is None or content.scores is None:
        return
    if not sums.scores.size:
        sums.has_classes = True
        sums.scores, sums.believed = np.zeros([count, BINS], np.int64), np.zeros(count, np.int64)
    present, believed = present_and_believed
    counted = present if content.eligible is None else present & content.eligible
    sums.scores += binned(content.classes[counted], content.scores[counted], count)
    sums.believed += np.bincount(content.classes[believed], minlength=count)


def binned(places: np.ndarray, scores: np.ndarray, classes: int) -> np.ndarray:
    """Counts [classes, BINS] of labels [N] by class and score; a score of 1.0 is in the last bin."""
    bins = np.clip((scores.astype(np.float64) * BINS + 1e-6).astype(np.int64), 0, BINS - 1)
    return np.bincount(places * BINS + bins, minlength=classes * BINS).reshape(classes, BINS)
