"""Gains of one row of a table over the others, paired by seed, with intervals.

The runs of one seed share the order of their images and their augmentation, so the difference of two rows varies less
over the seeds than either of them.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any, NamedTuple

from scipy import stats

CONFIDENCE = 0.95
APART = " *"  # behind a gain whose interval does not contain 0
NOTE = (
    "(differences between two runs of one seed, mean and 95 % interval; above 0 is better, also where less is better; "
    "* 0 is outside of the interval)"
)


class Gain(NamedTuple):
    """A mean difference, positive if it is an improvement, and half the width of its interval.

    The interval is None for fewer than two seeds: one difference says nothing about chance.
    """

    mean: float
    margin: float | None

    @property
    def is_apart(self) -> bool:
        """True if the interval does not contain 0. Equal differences have none: few seeds can agree by chance."""
        return self.margin is not None and 0 < self.margin < abs(self.mean)

    def text(self, decimals: int) -> str:
        """The gain as printed."""
        margin = "" if self.margin is None else f" ± {self.margin:.{decimals}f}"
        return f"{self.mean:+.{decimals}f}{margin}{APART if self.is_apart else ''}"


def gain(own: Mapping[int, float], other: Mapping[int, float], higher_is_better: bool) -> Gain | None:
    """Returns what `own` gains over `other`, both {seed: metric}; None if they have no seed in common."""
    signs = (1.0, -1.0) if higher_is_better else (-1.0, 1.0)  # and not a factor: 0 stays 0, not -0
    differences = [signs[0] * own[seed] + signs[1] * other[seed] for seed in own if seed in other]
    if not differences:
        return None
    mean, count = statistics.fmean(differences), len(differences)
    if count < 2:
        return Gain(mean, None)
    quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1))
    return Gain(mean, quantile * statistics.stdev(differences) / count**0.5)


def title(name: str) -> str:
    """Returns the title of the table of gains."""
    return f"Gains of {name}"


def as_json(name: str, gains: Mapping[tuple[str, str], Gain]) -> dict[str, Any]:
    """Returns the gains of the row `name` for table.json, from {(other row, column): gain}."""
    entries = [
        {"over": over, "column": column, "mean": one.mean, "margin": one.margin, "apart": one.is_apart}
        for (over, column), one in gains.items()
    ]
    return {"row": name, "confidence": CONFIDENCE, "entries": entries}
