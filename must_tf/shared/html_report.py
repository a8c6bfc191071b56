"""One HTML file that says how a run went: figures, curves, pictures. It needs no other file."""

from __future__ import annotations

import base64
import html
import io
import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import matplotlib
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from must_tf.common import files, run_files
from must_tf.common.errors import UserError
from must_tf.shared import picture_grid

Series = tuple[list[int], list[float]]  # steps, values

PARTS = (run_files.TRAIN, run_files.VALIDATION)  # the folders a run writes its events to
LARGE = 500_000  # pixels; a larger picture is embedded as JPEG
JPEG_QUALITY = 88
# Curves: six colours that read on white and on black, and stay apart for the colour-blind.
LINES = ("#2f7ed8", "#e07b00", "#12966f", "#c2529b", "#8a6fdf", "#7d7d7d")
INK = "#010203"  # stands for the page's text colour while matplotlib draws; no line has it


@dataclass(frozen=True)
class Cell:
    """One figure or word of a table; `best` makes it bold."""

    value: str | float | int | None
    best: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of cells; a plain value stands for Cell(value), None for what was not measured."""

    title: str
    headers: Sequence[str]
    rows: Sequence[Sequence[Cell | str | float | int | None]]


@dataclass(frozen=True)
class Curve:
    """One plot: lines of (label, steps, values)."""

    title: str
    lines: Sequence[tuple[str, Sequence[int], Sequence[float]]]


@dataclass(frozen=True)
class Picture:
    """A picture, uint8 [h, w, 3], with the sentence under it."""

    caption: str
    pixels: np.ndarray


@dataclass(frozen=True)
class Report:
    """What `write_report` writes, in this order; what is empty is left out. Text is plain."""

    title: str
    summary: Sequence[str] = ()
    tables: Sequence[Table] = ()
    curves: Sequence[Curve] = ()
    pictures: Sequence[Picture] = field(default=(), repr=False)


def write_report(path: str, report: Report) -> None:
    """Writes the report as one HTML file, local or remote; never leaves half a file there."""
    files.write_whole(path, render(report).encode())


def render(report: Report) -> str:
    """The report as an HTML page."""
    parts = [f"<header><h1>{_text(report.title)}</h1></header>"]
    if report.summary:
        lines = "".join(f"<li>{_text(line)}</li>" for line in report.summary)
        parts.append(f'<section><ul class="summary">{lines}</ul></section>')
    parts += [_table(table) for table in report.tables]
    if report.curves:
        plots = "".join(_plot(curve) for curve in report.curves)
        parts.append(_section("Curves", f'<div class="plots">{plots}</div>'))
    if report.pictures:
        parts.append(_section("Pictures", "".join(_picture(each) for each in report.pictures)))
    return PAGE.format(title=_text(report.title), style=STYLE, body="\n".join(parts))


def _text(value: object) -> str:
    return html.escape(str(value))


def _section(title: str, body: str) -> str:
    return f"<section><h2>{_text(title)}</h2>{body}</section>"


def _table(table: Table) -> str:
    cells = [[each if isinstance(each, Cell) else Cell(each) for each in row] for row in table.rows]
    numeric = [
        bool(column) and all(not isinstance(cell.value, str) for cell in column) for column in zip(*cells, strict=True)
    ] or [False] * len(table.headers)
    head = "".join(f"<th{_align(right)}>{_text(name)}</th>" for name, right in zip(table.headers, numeric, strict=True))
    rows = "".join(f"<tr>{''.join(map(_cell, row, numeric))}</tr>" for row in cells)
    body = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return _section(table.title, f'<div class="wide">{body}</div>')


def _align(right: bool) -> str:
    return ' class="number"' if right else ""


def _cell(cell: Cell, right: bool) -> str:
    text = _text(_figure(cell.value))
    return f"<td{_align(right)}>{f'<b>{text}</b>' if cell.best else text}</td>"


def _figure(value: str | float | int | None) -> str:
    if value is None:
        return "-"
    if not isinstance(value, (float, np.floating)):
        return str(value)
    small = value != 0 and abs(value) < 0.01
    return f"{value:.2g}" if small or abs(value) >= 1e6 else f"{value:,.3f}"


def _plot(curve: Curve) -> str:
    style: dict[Any, Any] = {
        "svg.fonttype": "none",  # letters stay letters: they take the page's font and colour
        "svg.hashsalt": curve.title,  # the same report gives the same bytes
        "text.color": INK,
        "axes.edgecolor": INK,
        "axes.labelcolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "text.parse_math": False,
    }
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(5.2, 3.1), layout="constrained")
        _draw_lines(figure, curve)
        buffer = io.StringIO()
        unsigned = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=unsigned)
    svg = buffer.getvalue()
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg[svg.index("<svg") :])
    svg = svg.replace(INK, "currentColor")
    return f"<figure>{svg}<figcaption>{_text(curve.title)}</figcaption></figure>"


def _draw_lines(figure: Figure, curve: Curve) -> None:
    axes = figure.subplots()
    for index, (label, steps, values) in enumerate(curve.lines):
        marker = "o" if len(steps) < 30 else ""  # one value must be seen, many need no dots
        colour = LINES[index % len(LINES)]
        axes.plot(steps, values, color=colour, label=label, marker=marker, markersize=4)
    axes.set_xlabel("step")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.2, color=INK)
    if len(curve.lines) > 1 or any(label for label, _, _ in curve.lines):
        axes.legend(frameon=False)


def _picture(picture: Picture) -> str:
    kind, content = _encoded(picture.pixels)
    data = base64.b64encode(content).decode()
    caption = _text(picture.caption)
    image = f'<img alt="{caption}" src="data:image/{kind};base64,{data}">'
    zoom = f'<details class="zoom"><summary title="click to zoom">{image}</summary></details>'
    return f"<figure>{zoom}<figcaption>{caption}</figcaption></figure>"


def _encoded(pixels: np.ndarray) -> tuple[str, bytes]:
    """The subtype of the media type and the file: PNG, or JPEG where a PNG would swell the page."""
    if pixels.shape[0] * pixels.shape[1] <= LARGE:
        return "png", picture_grid.png(pixels)
    return "jpeg", tf.io.encode_jpeg(np.ascontiguousarray(pixels), quality=JPEG_QUALITY).numpy()


def read_curves(run_dir: str) -> dict[str, Series]:
    """Reads the scalars a run logged for TensorBoard.

    Args:
        run_dir: the folder with the run's `train` and `validation` folders, or one of them.

    Returns:
        "train/<tag>" or "validation/<tag>" -> (steps ascending, values). Where a run was
        interrupted and went on, a step that was logged twice counts as it was logged last.

    Raises:
        UserError: no such folder.
    """
    run_dir = str(run_dir)
    if not tf.io.gfile.isdir(run_dir):
        raise UserError(f"{run_dir} is not a folder. Give the folder the run was written to.")
    curves: dict[str, dict[int, float]] = {}
    for part in PARTS:
        for path in files.matching(os.path.join(run_dir, part), "*tfevents*"):
            for tag, step, value in _scalars(path):
                curves.setdefault(f"{part}/{tag}", {})[step] = value
    return {tag: (sorted(at), [at[step] for step in sorted(at)]) for tag, at in curves.items()}


def _scalars(path: str) -> Iterator[tuple[str, int, float]]:
    try:
        for record in tf.data.TFRecordDataset(path).as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(record)
            for value in event.summary.value:
                figure = _scalar(value)
                if figure is not None:
                    yield value.tag, event.step, figure
    except tf.errors.DataLossError:
        return  # a run that was killed leaves half a record; all before it is good


def _scalar(value: tf.compat.v1.Summary.Value) -> float | None:
    if value.HasField("simple_value"):
        return value.simple_value
    if not value.HasField("tensor"):
        return None  # an image or a histogram of the older kind
    number = tf.as_dtype(value.tensor.dtype)
    array = tf.make_ndarray(value.tensor) if number.is_floating or number.is_integer else None
    return float(array) if array is not None and array.ndim == 0 else None


def paired(curves: dict[str, Series]) -> list[Curve]:
    """The curves of `read_curves` as plots: train and validation of one tag share one.

    Values that are not finite are left out: they would empty the whole plot.
    """
    plots: dict[str, list[tuple[str, list[int], list[float]]]] = {}
    for name, (steps, values) in curves.items():
        part, _, tag = name.partition("/")
        kept = [pair for pair in zip(steps, values, strict=True) if math.isfinite(pair[1])]
        line = (part, [step for step, _ in kept], [value for _, value in kept])
        plots.setdefault(tag, []).append(line)
    return [Curve(tag, lines) for tag, lines in sorted(plots.items())]


PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""

STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --ground: #fff; --faint: #667; --line: #d8dce2;
  --panel: #f5f6f8; --best: #0a7d4f; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --ground: #16181c; --faint: #9aa3ad;
  --line: #343a42; --panel: #1f2329; --best: #4cc38a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 0 24px 64px; max-width: 1280px; color: var(--ink);
  background: var(--ground); font: 16px/1.55 system-ui, sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.25; margin: 32px 0 8px; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 0 0 12px; padding: 10px 0; position: sticky; top: 0; z-index: 1;
  background: var(--ground); border-bottom: 1px solid var(--line); }
section { margin-top: 32px; }
.summary { margin: 0; padding: 14px 20px 14px 36px; background: var(--panel); border-radius: 8px; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 7px 18px 7px 10px; text-align: left; border-bottom: 1px solid var(--line); }
th { color: var(--faint); font-weight: 600; font-size: 0.9rem; }
tbody tr:hover { background: var(--panel); }
.number { text-align: right; padding: 7px 10px 7px 24px; white-space: nowrap; }
td b { color: var(--best); }
.plots { display: grid; gap: 20px; grid-template-columns: repeat(auto-fill, minmax(360px, 1fr)); }
figure { margin: 0 0 24px; }
.plots figure { margin: 0; padding: 12px; border: 1px solid var(--line); border-radius: 8px; }
figcaption { color: var(--faint); font-size: 0.9rem; margin-top: 6px; overflow-wrap: anywhere; }
.plots figure { display: flex; flex-direction: column-reverse; justify-content: flex-end; }
.plots figcaption { color: var(--ink); font-weight: 600; margin: 0 0 6px; }
svg { width: 100%; height: auto; display: block; font-family: system-ui, sans-serif; }
svg text { font-family: inherit !important; }
img { max-width: 100%; height: auto; display: block; border-radius: 6px; }
.zoom > summary { list-style: none; cursor: zoom-in; }
.zoom > summary::-webkit-details-marker { display: none; }
.zoom[open] > summary { position: fixed; inset: 0; z-index: 9; overflow: auto; padding: 24px;
  cursor: zoom-out; background: rgb(0 0 0 / 88%); }
.zoom[open] img { max-width: none; margin: auto; border-radius: 0; }
"""
