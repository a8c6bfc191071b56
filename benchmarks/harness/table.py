"""Rows of a benchmark: this project beside Model Garden and a physical floor, for people and for programs.

A module with measurements has one table of them, `ROWS: dict[str, Measure]`, and is listed in `__main__.MODULES`. A
measurement calls both sides in turn, each in its own process (`apart.call`), and returns its rows.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from must_tf.common import tables

ACCELERATORS = (100, 400)  # images/s of one, by its networks
COLUMNS = ("what", "unit", "this project", "Model Garden", "floor", "ratio", "CPU ratio", "target", "reached")


@dataclasses.dataclass(frozen=True)
class BenchmarkSettings:
    """Settings shared by all measurements.

    Attributes:
      work: an empty folder for the files of the measurements.
      data: a folder with photos in COCO's layout; without it, scenes are generated.
      rounds: how often each side is called, in turn; figures are medians.
      seconds: roughly how long one side is timed per round, once it is warm.
      kept: a folder that stays when the benchmark ends, for results that take hours; None if there is no such folder.
    """

    work: Path
    data: Path | None = None
    rounds: int = 3
    seconds: float = 5.0
    kept: Path | None = None


@dataclasses.dataclass(frozen=True)
class Figure:
    """One side's figure in its row's unit, with the rounds it came from.

    Attributes:
      value: the median of the rounds, unless the row's note says otherwise.
      rounds: each round's figure.
      cpu_ms: processor milliseconds of all threads per image or step. Other programs' load hardly changes it.
    """

    value: float
    rounds: tuple[float, ...] = ()
    cpu_ms: float | None = None


def median(values: Sequence[float], cpu_ms: Sequence[float] = ()) -> Figure:
    """Returns the figure of several rounds."""
    return Figure(statistics.median(values), tuple(values), statistics.median(cpu_ms) if cpu_ms else None)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One measured thing.

    Attributes:
      what: a description with sizes.
      unit: of all figures, for instance "images/s", "s" or "MiB".
      ours, model_garden, floor: None if nothing was measured; the note says why.
      against: the ratio's denominator: "model_garden", "floor", or "" if `ours` is a ratio itself.
      at_least, at_most: the target of the ratio; no target if both are None.
      note: what a reader must know to understand the row.
      why: what keeps the row from its target, computed if possible; shown only if the target is missed.
    """

    what: str
    unit: str
    ours: Figure | None
    model_garden: Figure | None = None
    floor: Figure | None = None
    against: str = "model_garden"
    at_least: float | None = None
    at_most: float | None = None
    note: str = ""
    why: str = ""

    @property
    def ratio(self) -> float | None:
        """Divides this project's figure by the other one."""
        if not self.against:
            return self.ours.value if self.ours else None
        other = getattr(self, self.against)
        return self.ours.value / other.value if self.ours and other and other.value else None

    @property
    def cpu_ratio(self) -> float | None:
        """Divides this project's processor time by the other one's; below 1 is less."""
        other = getattr(self, self.against) if self.against else None
        if self.ours is None or other is None or not self.ours.cpu_ms or not other.cpu_ms:
            return None
        return self.ours.cpu_ms / other.cpu_ms

    @property
    def reached(self) -> bool | None:
        """Returns whether the ratio meets its target; None without a target or a ratio."""
        wanted = self.at_least is not None or self.at_most is not None
        if not wanted or self.ratio is None:
            return None
        high_enough = self.at_least is None or self.ratio >= self.at_least
        return high_enough and (self.at_most is None or self.ratio <= self.at_most)

    @property
    def target(self) -> str:
        """Returns the target in words."""
        said = [f">= {self.at_least:g}" if self.at_least is not None else ""]
        said.append(f"<= {self.at_most:g}" if self.at_most is not None else "")
        text = ", ".join(filter(None, said))
        return f"{text} of the floor" if text and self.against == "floor" else text


def cores(what: str, ms: float) -> list[Comparison]:
    """Returns how many cores keep an accelerator busy if an image takes `ms` milliseconds of processor time."""
    return [
        Comparison(f"{what}, cores for {rate} images/s", "cores", Figure(ms * rate / 1000)) for rate in ACCELERATORS
    ]


def said(row: Comparison) -> str:
    """Returns the note, and if the target is missed, why."""
    missed = f"Missed: {row.why or 'the cause was not measured'}" if row.reached is False else ""
    return ". ".join(filter(None, [row.note, missed]))


Measure = Callable[[BenchmarkSettings], list[Comparison]]


def as_json(row: Comparison) -> dict[str, Any]:
    """Returns the row with its derived values."""
    derived = {"ratio": row.ratio, "cpu_ratio": row.cpu_ratio, "target": row.target, "reached": row.reached}
    return dataclasses.asdict(row) | derived


def cells(row: Comparison) -> tuple[str, ...]:
    """Returns one text per column."""
    figures = [number(figure.value if figure else None) for figure in (row.ours, row.model_garden, row.floor)]
    reached = {True: "yes", False: "NO", None: "not measured" if row.target else ""}[row.reached]
    return (row.what, row.unit, *figures, number(row.ratio), number(row.cpu_ratio), row.target, reached)


def number(value: float | None) -> str:
    """Formats a number with three significant digits; "-" for None."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:#.3g}".rstrip(".")


def lines(rows: Sequence[Comparison]) -> list[str]:
    """Formats the table for people, with the notes below it."""
    header, *body = tables.table(COLUMNS, map(cells, rows)).splitlines()
    notes = [f"{row.what}: {said(row)}" for row in rows if said(row)]
    return [header, "-" * len(header), *body, "", *notes]
