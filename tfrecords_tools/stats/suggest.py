"""Suggested thresholds per class: by precision with ground truth, else by the density of the training records."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tfrecords_tools.stats.sums import BINS

FEWEST_LABELS = 10  # above a threshold: with fewer, the precision is a matter of chance


class Suggestion(NamedTuple):
    """Suggested thresholds of one task. The fields are keys of stats.json."""

    thresholds: dict[str, float]  # class name -> score
    why: str  # how they were chosen
    left_out: dict[str, str]  # class name -> why it has no threshold

    def config(self, task: str) -> str:
        """Returns the setting as a line of YAML, for --config_file or --params_override."""
        values = json.dumps([f"{name}={value:g}" for name, value in self.thresholds.items()], ensure_ascii=False)
        return f"task: {{tasks: {{{task}: {{class_thresholds: {values}}}}}}}"


def at_or_above(counts: np.ndarray) -> np.ndarray:
    """Sums counts [..., BINS] from each bin to the last."""
    return np.flip(np.cumsum(np.flip(counts, -1), -1), -1)


def by_precision(right: np.ndarray, judged: np.ndarray, names: Sequence[str], target: float) -> Suggestion:
    """Suggests for each class the lowest threshold that reaches a precision.

    Args:
      right: [C, BINS] correct labels by class and score.
      judged: [C, BINS] labels by class and score that could be compared with ground truth.
      names: the C class names.
      target: the precision to reach.
    """
    above, total = at_or_above(right), at_or_above(judged)
    precision = above / np.maximum(total, 1)
    thresholds, left_out = {}, {}
    for place, name in enumerate(names):
        enough = total[place] >= FEWEST_LABELS
        sufficient = np.flatnonzero(enough & (precision[place] >= target))
        if sufficient.size:
            thresholds[name] = _first_label(judged[place], int(sufficient[0]))
        elif enough.any():
            best = int(np.argmax(np.where(enough, precision[place], -1.0)))
            threshold = _first_label(judged[place], best)
            left_out[name] = f"the best precision is {precision[place][best]:.2f}, at {threshold:g}"
        else:
            left_out[name] = f"fewer than {FEWEST_LABELS} labels could be compared with ground truth"
    return Suggestion(thresholds, f"the lowest with a precision of {target:g} on the ground truth", left_out)


def _first_label(counts: np.ndarray, place: int) -> float:
    """Returns the lower bound of the first bin from `place` on that has a label: lower thresholds are equivalent."""
    return (place + int(np.flatnonzero(counts[place:])[0])) / BINS


def by_density(scores: np.ndarray, images: int, names: Sequence[str], training: Mapping[str, Any]) -> Suggestion:
    """Suggests for each class the threshold that gives as many labels per image as the training records have.

    Args:
      scores: [C, BINS] labels by class and score.
      images: number of labelled images.
      names: the C class names.
      training: statistics of the training records, with `images` and `classes`.
    """
    total = at_or_above(scores)
    thresholds, left_out = {}, {}
    for place, name in enumerate(names):
        wanted = training["classes"].get(name, 0) / training["images"]
        if not wanted:
            left_out[name] = "it is not in the training records"
        elif not total[place][0]:
            left_out[name] = "the teacher predicted none"
        else:
            nearest = int(np.argmin(np.abs(total[place] / images - wanted)))
            thresholds[name] = _first_label(scores[place], nearest) if total[place][nearest] else nearest / BINS
    why = "as many labels per image as in the training records; only --truth can tell if they are correct"
    return Suggestion(thresholds, why, left_out)
