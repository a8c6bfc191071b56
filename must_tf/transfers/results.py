"""What the runs of a table measured: on the terminal, as table.json, as a chart and as a page."""

from __future__ import annotations

import dataclasses
import io
import math
import os
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from must_tf.common import files
from must_tf.common.errors import nearest
from must_tf.data import record
from must_tf.evaluation import evaluator
from must_tf.shared import html_report
from must_tf.transfers.cells import Cell
from must_tf.transfers.table import Column, Row

PANELS = 3  # charts side by side
ONE_SEED = "one seed each: a difference may be chance, --seeds 3 shows how much of it"


@dataclasses.dataclass(frozen=True)
class Entry:
    """One place of the table.

    Attributes:
      values: {seed: the column's figure} of the runs that are done.
      problems: {seed: why there is none} of those that failed.
      waiting: seeds that were not run yet.
    """

    row: Row
    column: Column
    values: dict[int, float]
    problems: dict[int, str]
    waiting: tuple[int, ...]

    @property
    def mean(self) -> float | None:
        """Over the seeds that are done."""
        return statistics.fmean(self.values.values()) if self.values else None

    @property
    def spread(self) -> float | None:
        """The sample's standard deviation; None for fewer than two seeds."""
        return statistics.stdev(self.values.values()) if len(self.values) > 1 else None

    @property
    def text(self) -> str:
        """As people read it."""
        if self.mean is None:
            return "failed" if self.problems else "-"
        decimals = 3 if abs(self.mean) < 10 else 2  # shares, and degrees or percents
        spread = "" if self.spread is None else f" ± {self.spread:.{decimals}f}"
        seeds = len(self.values) + len(self.problems) + len(self.waiting)
        missing = "" if len(self.values) == seeds else f" ({len(self.values)} of {seeds})"
        return f"{self.mean:.{decimals}f}{spread}{missing}"


@dataclasses.dataclass(frozen=True)
class Table:
    """All entries, row by row."""

    rows: tuple[Row, ...]
    columns: tuple[Column, ...]
    entries: tuple[tuple[Entry, ...], ...]

    def is_best(self, entry: Entry) -> bool:
        """Whether no other row is better in this column; with one row alone, nothing is."""
        means = [self.entries[i][self.columns.index(entry.column)].mean for i in range(len(self.rows))]
        known = [mean for mean in means if mean is not None]
        if entry.mean is None or len(known) < 2:
            return False
        return entry.mean == (max(known) if entry.column.higher_is_better else min(known))

    @property
    def seeds(self) -> int:
        """Of the entry with the most."""
        return max(len(one.values) + len(one.problems) + len(one.waiting) for row in self.entries for one in row)


def collect(cells: Sequence[Cell], failures: Mapping[str, str]) -> Table:
    """The table of what is there; `failures` is {path of a cell: why it failed}."""
    rows, columns = (tuple(dict.fromkeys(one)) for one in zip(*((c.row, c.column) for c in cells), strict=True))
    entries = tuple(tuple(_entry(row, column, cells, failures) for column in columns) for row in rows)
    return Table(rows, columns, entries)


def _entry(row: Row, column: Column, cells: Sequence[Cell], failures: Mapping[str, str]) -> Entry:
    values: dict[int, float] = {}
    problems: dict[int, str] = {}
    waiting = []
    for cell in cells:
        if (cell.row, cell.column) != (row, column):
            continue
        if cell.path in failures:
            problems[cell.seed] = failures[cell.path]
        elif not cell.is_done:
            waiting.append(cell.seed)
        else:
            figures = _figures(cell)
            value = figures.get(column.figure, math.nan)
            if math.isfinite(value):
                values[cell.seed] = value
            else:
                problems[cell.seed] = _missing(column.figure, figures)
    return Entry(row, column, values, problems, tuple(waiting))


def _figures(cell: Cell) -> dict[str, float]:
    evaluation = evaluator.last(cell.path)
    return evaluation["figures"] if evaluation else {}


def _missing(figure: str, figures: dict[str, float]) -> str:
    if figure in figures:
        return f"{figure} is {figures[figure]}"
    task = figure.partition("/")[0]
    known = [name for name in figures if name.startswith(f"{task}/")]
    return f"its evaluation has no {figure}.{nearest(figure, known)} It has {', '.join(known) or 'none of that task'}."


def lines(table: Table) -> list[str]:
    """The table as text. The best of a column has a star."""
    head = [
        ["", *(column.name for column in table.columns)],
        ["", *(_figure(column) for column in table.columns)],
    ]
    body = [
        [row.name, *(f"{one.text}{' *' if table.is_best(one) else ''}" for one in entries)]
        for row, entries in zip(table.rows, table.entries, strict=True)
    ]
    widths = [max(map(len, column)) + 3 for column in zip(*head, *body, strict=True)]
    text = ["".join(map(str.ljust, line, widths)).rstrip() for line in [*head, *body]]
    return [*text, *_remarks(table)]


def _figure(column: Column) -> str:
    name = column.figure.partition("/")[2]
    return name if column.higher_is_better else f"{name}, less is better"


def _remarks(table: Table) -> list[str]:
    """What must be known to read the figures, and what failed."""
    trust = ONE_SEED if table.seeds < 2 else f"mean ± standard deviation over {table.seeds} seeds"
    failed = [
        f"failed: {one.row.name} -> {one.column.name}, seed {seed}: {problem}"
        for row in table.entries
        for one in row
        for seed, problem in one.problems.items()
    ]
    return [f"(* the best of its column; {trust})", *failed]


def write(table: Table, out: str) -> None:
    """Writes table.json, table.png and report.html."""
    files.write_json(os.path.join(out, "table.json"), as_json(table))
    chart = draw(table)
    files.write_whole(os.path.join(out, "table.png"), chart)
    pixels = record.decode_image(chart).numpy()
    headers = ["", *(f"{column.name}: {_figure(column)}" for column in table.columns)]
    rows: list[list[Any]] = [
        [row.name, *(html_report.ReportCell(one.text, table.is_best(one)) for one in entries)]
        for row, entries in zip(table.rows, table.entries, strict=True)
    ]
    starts = [[row.name, row.checkpoint or "random weights"] for row in table.rows]
    tables = [
        html_report.ReportTable("Transfers", headers, rows),
        html_report.ReportTable("Starts", ("row", "checkpoint"), starts),
    ]
    caption = "Every start fine-tuned on every task; whiskers are one standard deviation"
    page = html_report.Report("Transfers", _remarks(table), tables, (), [html_report.Picture(caption, pixels)])
    html_report.write_report(os.path.join(out, "report.html"), page)


def as_json(table: Table) -> dict[str, Any]:
    """For programs."""
    return {
        "rows": [row._asdict() for row in table.rows],
        "columns": [column._asdict() for column in table.columns],
        "entries": [
            {
                "row": one.row.name,
                "column": one.column.name,
                "mean": one.mean,
                "spread": one.spread,
                "best": table.is_best(one),
                "values": one.values,
                "problems": one.problems,
                "waiting": one.waiting,
            }
            for row in table.entries
            for one in row
        ],
    }


def draw(table: Table) -> bytes:
    """The table as bars, a PNG: one panel per column, one bar per row."""
    wide = min(PANELS, len(table.columns))
    high = math.ceil(len(table.columns) / wide)
    with matplotlib.rc_context({"text.parse_math": False}):
        figure = Figure(figsize=(4.2 * wide, (1.4 + 0.4 * len(table.rows)) * high), layout="constrained")
        panels = np.ravel(figure.subplots(high, wide, squeeze=False))
        for number, panel in enumerate(panels):
            if number < len(table.columns):
                _draw_panel(panel, table, number)
            else:
                panel.set_visible(False)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()


def _draw_panel(axes: Axes, table: Table, number: int) -> None:
    column = table.columns[number]
    for place, entries in enumerate(table.entries):
        one = entries[number]
        colour = html_report.LINES[place % len(html_report.LINES)]
        axes.barh(place, one.mean or 0.0, xerr=one.spread, color=colour, alpha=0.6, height=0.6, capsize=3)
        axes.text(0.0, place, f" {one.text}", va="center", weight="bold" if table.is_best(one) else "normal")
    axes.set_yticks(range(len(table.rows)), [row.name for row in table.rows])
    axes.invert_yaxis()  # the first row on top
    axes.set_title(f"{column.name}: {_figure(column)}", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
