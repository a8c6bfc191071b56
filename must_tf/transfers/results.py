"""The results of a table of transfers: printed, as table.json, as a chart and as an HTML report."""

from __future__ import annotations

import dataclasses
import io
import math
import os
import statistics
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from must_tf.common import files, tables
from must_tf.common.errors import nearest
from must_tf.data import record
from must_tf.evaluation import evaluator
from must_tf.shared import html_report
from must_tf.transfers import gains
from must_tf.transfers.cells import TransferCell
from must_tf.transfers.gains import Gain
from must_tf.transfers.table import TransferColumn, TransferRow

TABLE = "table.json"
PANELS = 3  # charts side by side
PANEL_WIDTH, TITLE_HEIGHT, BAR_HEIGHT = 4.2, 1.4, 0.4  # inches
TITLE_CHARACTERS = 28  # in one line: a longer one would be cut at the side of the chart
ONE_SEED = "one seed each: a difference may be chance, --seeds 3 shows how much of it"
BEST, NOT_BEST = "* ", "  "  # before a value on the terminal


@dataclasses.dataclass(frozen=True)
class TransferEntry:
    """The results of one row in one column.

    Attributes:
      values: {seed: metric} of the finished runs.
      problems: {seed: why there is no value} of the failed runs.
      waiting: seeds that have not run yet.
    """

    row: TransferRow
    column: TransferColumn
    values: dict[int, float]
    problems: dict[int, str]
    waiting: tuple[int, ...]

    @property
    def mean(self) -> float | None:
        """The mean over the finished seeds."""
        return statistics.fmean(self.values.values()) if self.values else None

    @property
    def spread(self) -> float | None:
        """The sample standard deviation; None for fewer than two seeds."""
        return statistics.stdev(self.values.values()) if len(self.values) > 1 else None

    @property
    def seeds(self) -> int:
        """The number of planned seeds."""
        return len(self.values) + len(self.problems) + len(self.waiting)

    @property
    def decimals(self) -> int:
        """The decimals to print: ratios have 3, degrees and percents 2."""
        return 3 if abs(self.mean or 0.0) < 10 else 2

    @property
    def text(self) -> str:
        """The entry as printed."""
        if self.mean is None:
            return "failed" if self.problems else "-"
        decimals = self.decimals
        spread = "" if self.spread is None else f" ± {self.spread:.{decimals}f}"
        missing = "" if len(self.values) == self.seeds else f" ({len(self.values)} of {self.seeds})"
        return f"{self.mean:.{decimals}f}{spread}{missing}"


@dataclasses.dataclass(frozen=True)
class TransferTable:
    """All entries, row by row, and the row whose gains over the others are shown; "" for none."""

    rows: tuple[TransferRow, ...]
    columns: tuple[TransferColumn, ...]
    entries: tuple[tuple[TransferEntry, ...], ...]
    gains_of: str = ""

    def __iter__(self) -> Iterator[TransferEntry]:
        return (entry for entries in self.entries for entry in entries)

    def is_best(self, entry: TransferEntry) -> bool:
        """Returns true if no row is better in this column, and at least two rows have a value."""
        column = self.columns.index(entry.column)
        means = [entries[column].mean for entries in self.entries]
        known = [mean for mean in means if mean is not None]
        if entry.mean is None or len(known) < 2:
            return False
        return entry.mean == (max(known) if entry.column.higher_is_better else min(known))

    @property
    def seeds(self) -> int:
        """The highest number of seeds of an entry."""
        return max(entry.seeds for entry in self)

    @property
    def gains(self) -> dict[tuple[str, str], Gain]:
        """Returns {(other row, column): what the row `gains_of` gains over it}, where both have a seed in common."""
        own = {entry.column: entry for entry in self if entry.row.name == self.gains_of}
        pairs = [(own[entry.column], entry) for entry in self if own and entry.row.name != self.gains_of]
        measured = {
            (entry.row.name, entry.column.name): gains.gain(one.values, entry.values, entry.column.higher_is_better)
            for one, entry in pairs
        }
        return {key: value for key, value in measured.items() if value is not None}

    def gain_rows(self) -> list[list[str]]:
        """Returns the rows of the table of gains: the other row's name, and a text for each column."""
        known, decimals = self.gains, {column.name: 3 for column in self.columns}
        for entry in self:
            decimals[entry.column.name] = min(decimals[entry.column.name], entry.decimals)
        rows = dict.fromkeys(row for row, _ in known)
        return [
            [row, *(known[row, name].text(decimals[name]) if (row, name) in known else "-" for name in decimals)]
            for row in rows
        ]


def collect(cells: Sequence[TransferCell], failures: Mapping[str, str], gains_of: str = "") -> TransferTable:
    """Reads the results of the runs that are finished.

    Args:
      cells: all runs of the table.
      failures: {path of a cell: why it failed}.
      gains_of: the row whose gains over the others are shown.
    """
    rows = tuple(dict.fromkeys(cell.row for cell in cells))
    columns = tuple(dict.fromkeys(cell.column for cell in cells))
    entries = tuple(tuple(_entry(row, column, cells, failures) for column in columns) for row in rows)
    return TransferTable(rows, columns, entries, gains_of)


def _entry(
    row: TransferRow, column: TransferColumn, cells: Sequence[TransferCell], failures: Mapping[str, str]
) -> TransferEntry:
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
    return TransferEntry(row, column, values, problems, tuple(waiting))


def _figures(cell: TransferCell) -> dict[str, float]:
    evaluation = evaluator.last(cell.path)
    return evaluation["figures"] if evaluation else {}


def _missing(figure: str, figures: Mapping[str, float]) -> str:
    if figure in figures:
        return f"{figure} is {figures[figure]}"
    task = figure.partition("/")[0]
    known = [name for name in figures if name.startswith(f"{task}/")]
    return f"the evaluation has no {figure}.{nearest(figure, known)} Known: {', '.join(known) or 'none of this task'}."


def text(table: TransferTable) -> str:
    """Returns the table as printed. The best of a column has a star."""
    rows = [
        [row.name, *((BEST if table.is_best(entry) else NOT_BEST) + entry.text for entry in entries)]
        for row, entries in zip(table.rows, table.entries, strict=True)
    ]
    headers = ["", *(NOT_BEST + _header(column) for column in table.columns)]
    whole = tables.table(headers, rows, note="\n".join(_remarks(table)))
    if not table.gains:
        return whole
    names = ["", *(column.name for column in table.columns)]
    title = gains.title(table.gains_of)
    return f"{whole}\n\n{tables.table(names, table.gain_rows(), title=title, note=gains.NOTE)}"


def _header(column: TransferColumn) -> str:
    metric = column.figure.partition("/")[2]
    return f"{column.name}: {metric}{'' if column.higher_is_better else ', less is better'}"


def _remarks(table: TransferTable) -> list[str]:
    """Returns how to read the values, and the failed runs."""
    seeds = ONE_SEED if table.seeds < 2 else f"mean ± standard deviation over {table.seeds} seeds"
    failed = [
        f"failed: {entry.row.name} -> {entry.column.name}, seed {seed}: {problem}"
        for entry in table
        for seed, problem in entry.problems.items()
    ]
    return [f"(* the best of its column; {seeds})", *failed]


def write(table: TransferTable, out: str) -> None:
    """Writes table.json, table.png and report.html to the folder `out`."""
    files.write_json(os.path.join(out, TABLE), as_json(table))
    chart = draw(table)
    files.write_whole(os.path.join(out, "table.png"), chart)
    html_report.write_report(os.path.join(out, "report.html"), _report(table, chart))


def _report(table: TransferTable, chart: bytes) -> html_report.Report:
    headers = ["", *map(_header, table.columns)]
    rows: list[list[str | html_report.ReportCell]] = [
        [row.name, *(html_report.ReportCell(entry.text, table.is_best(entry)) for entry in entries)]
        for row, entries in zip(table.rows, table.entries, strict=True)
    ]
    starts = [[row.name, row.checkpoint or "random weights"] for row in table.rows]
    report_tables = [
        html_report.ReportTable("Transfers", headers, rows),
        *_gain_tables(table),
        html_report.ReportTable("Initial weights", ("row", "checkpoint"), starts),
    ]
    caption = "Every row fine-tuned on every task; whiskers are one standard deviation"
    picture = html_report.Picture(caption, record.decode_image(chart).numpy())
    return html_report.Report("Transfers", _remarks(table), report_tables, (), [picture])


def _gain_tables(table: TransferTable) -> list[html_report.ReportTable]:
    if not table.gains:
        return []
    title = f"{gains.title(table.gains_of)} {gains.NOTE}"
    return [html_report.ReportTable(title, ("", *(column.name for column in table.columns)), table.gain_rows())]


def as_json(table: TransferTable) -> dict[str, Any]:
    """Returns the content of table.json."""
    return {
        **({"gains": gains.as_json(table.gains_of, table.gains)} if table.gains else {}),
        "rows": [row._asdict() for row in table.rows],
        "columns": [column._asdict() for column in table.columns],
        "entries": [
            {
                "row": entry.row.name,
                "column": entry.column.name,
                "mean": entry.mean,
                "spread": entry.spread,
                "best": table.is_best(entry),
                "values": entry.values,
                "problems": entry.problems,
                "waiting": entry.waiting,
            }
            for entry in table
        ],
    }


def draw(table: TransferTable) -> bytes:
    """Draws the table as bars, one panel per column and one bar per row. Returns a PNG."""
    wide = min(PANELS, len(table.columns))
    high = math.ceil(len(table.columns) / wide)
    size = (PANEL_WIDTH * wide, (TITLE_HEIGHT + BAR_HEIGHT * len(table.rows)) * high)
    with matplotlib.rc_context({"text.parse_math": False}):
        figure = Figure(figsize=size, layout="constrained")
        panels = np.ravel(figure.subplots(high, wide, squeeze=False))
        for number, panel in enumerate(panels):
            if number < len(table.columns):
                _draw_panel(panel, table, number)
            else:
                panel.set_visible(False)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()


def _draw_panel(axes: Axes, table: TransferTable, number: int) -> None:
    for place, entries in enumerate(table.entries):
        entry = entries[number]
        colour = html_report.LINES[place % len(html_report.LINES)]
        axes.barh(place, entry.mean or 0.0, xerr=entry.spread, color=colour, alpha=0.6, height=0.6, capsize=3)
        axes.text(0.0, place, f" {entry.text}", va="center", weight="bold" if table.is_best(entry) else "normal")
    axes.set_yticks(range(len(table.rows)), [row.name for row in table.rows])
    axes.invert_yaxis()  # the first row on top
    axes.set_title(textwrap.fill(_header(table.columns[number]), TITLE_CHARACTERS), fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
