"""Thresholds per class: from a truth by precision, without one by how many labels the training records have."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tfrecords_tools.stats.sums import BINS

FEWEST_LABELS = 10  # above a threshold: the precision of fewer is chance


class Suggestion(NamedTuple):
    """`thresholds`: {class name: score}. `why`: how they were chosen; `left_out`: {class name: why it has none}."""

    thresholds: dict[str, float]
    why: str
    left_out: dict[str, str]

    def config(self, task: str) -> str:
        """The setting as a line of YAML, for a --config_file or --params_override."""
        listed = json.dumps([f"{name}={value:g}" for name, value in self.thresholds.items()], ensure_ascii=False)
        return f"task: {{tasks: {{{task}: {{class_thresholds: {listed}}}}}}}"


def from_above(counts: np.ndarray) -> np.ndarray:
    """Counts [..., BINS] -> how many there are from each bin on."""
    return np.flip(np.cumsum(np.flip(counts, -1), -1), -1)


def by_precision(right: np.ndarray, judged: np.ndarray, names: Sequence[str], target: float) -> Suggestion:
    """The lowest threshold of each class from which on its labels are right often enough.

    Args:
      right, judged: [C, BINS] labels by class and score that are right, and that could be judged at all.
      names: C.
      target: the precision to reach.
    """
    above, total = from_above(right), from_above(judged)
    precision = above / np.maximum(total, 1)
    thresholds, left_out = {}, {}
    for place, name in enumerate(names):
        enough = total[place] >= FEWEST_LABELS
        fits = np.flatnonzero(enough & (precision[place] >= target))
        if fits.size:
            thresholds[name] = _at_label(judged[place], int(fits[0]))
        elif enough.any():
            best = int(np.argmax(np.where(enough, precision[place], -1.0)))
            left_out[name] = f"at best {precision[place][best]:.2f}, from {_at_label(judged[place], best):g} on"
        else:
            left_out[name] = f"fewer than {FEWEST_LABELS} labels could be judged"
    return Suggestion(thresholds, f"lowest with a precision of {target:g} on the truth", left_out)


def _at_label(counts: np.ndarray, place: int) -> float:
    """The threshold, moved up to the first bin that holds a label: below it nothing changes."""
    return (place + int(np.flatnonzero(counts[place:])[0])) / BINS


def by_density(scores: np.ndarray, images: int, names: Sequence[str], training: Mapping[str, Any]) -> Suggestion:
    """The threshold of each class that gives as many labels an image as the training records have.

    Args:
      scores: [C, BINS] labels by class and score.
      images: that were labelled.
      names: C.
      training: its figures, with `images` and `classes`.
    """
    total = from_above(scores)
    thresholds, left_out = {}, {}
    for place, name in enumerate(names):
        wanted = training["classes"].get(name, 0) / training["images"]
        if not wanted:
            left_out[name] = "not in the training records"
        elif not total[place][0]:
            left_out[name] = "the teacher labelled none"
        else:
            nearest = int(np.argmin(np.abs(total[place] / images - wanted)))
            thresholds[name] = _at_label(scores[place], nearest) if total[place][nearest] else nearest / BINS
    why = "as many an image as in the training records; whether they are right, only a truth (--truth) tells"
    return Suggestion(thresholds, why, left_out)
