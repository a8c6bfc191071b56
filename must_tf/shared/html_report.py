"""Reports of runs as one HTML file with tables, curves and pictures. It needs no other file and no network."""

from __future__ import annotations

import base64
import io
import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import jinja2
import matplotlib
import numpy as np
import tensorflow as tf
from markupsafe import Markup
from matplotlib.figure import Figure

from must_tf.common import files, run_files
from must_tf.common.errors import UserError
from must_tf.common.text import shown
from must_tf.shared import picture_grid

Series = tuple[list[int], list[float]]  # steps, values

PARTS = (run_files.TRAIN, run_files.VALIDATION)  # folders of a run's event files
LARGE = 500_000  # pixels; a larger picture is embedded as JPEG
JPEG_QUALITY = 88
UNFOLDED = 4  # curves that a page shows without a click
# Colours of lines: readable on white and on black, and distinct for colour-blind readers.
LINES = ("#2f7ed8", "#e07b00", "#12966f", "#c2529b", "#8a6fdf", "#7d7d7d")
HEADER_END = b"</header>"
# Of a plot, with room for numbers like -0.00025. Matplotlib's own layout would draw each plot twice to measure them.
MARGINS = {"left": 0.16, "right": 0.98, "bottom": 0.15, "top": 0.93}
INK = "#010203"  # placeholder for the page's text colour while matplotlib draws; no line has it


@dataclass(frozen=True)
class ReportCell:
    """A number or a text in a table; `best` makes it bold."""

    value: str | float | int | None
    best: bool = False


@dataclass(frozen=True)
class ReportTable:
    """Rows of cells. A plain value stands for ReportCell(value), None for a value that was not measured."""

    title: str
    headers: Sequence[str]
    rows: Sequence[Sequence[ReportCell | str | float | int | None]]


@dataclass(frozen=True)
class Curve:
    """One plot with lines of (label, steps, values)."""

    title: str
    lines: Sequence[tuple[str, Sequence[int], Sequence[float]]]


@dataclass(frozen=True)
class Picture:
    """A picture, uint8 [h, w, 3], with its caption."""

    caption: str
    pixels: np.ndarray


@dataclass(frozen=True)
class Report:
    """The content of a page. Empty parts are left out. Text is plain text, not HTML.

    The page begins with the `leading` pictures; the other parts follow in the order of the fields. More than a few
    curves are folded.
    """

    title: str
    summary: Sequence[str] = ()
    tables: Sequence[ReportTable] = ()
    curves: Sequence[Curve] = ()
    pictures: Sequence[Picture] = field(default=(), repr=False)
    leading: Sequence[Picture] = field(default=(), repr=False)


def write_report(path: str, report: Report) -> None:
    """Writes the report as one HTML file, local or remote, completely or not at all."""
    files.write_whole(path, render(report).encode())


def add_note(path: str, note: str) -> None:
    """Writes a sentence below the title of a local report, if there is one, once."""
    if not os.path.isfile(path):
        return
    with open(path, "rb") as file:
        content = file.read()  # as bytes: a damaged page is no reason to stop
    line = Markup('<p class="note">{}</p>').format(note).encode()
    if line not in content:
        files.write_whole(path, content.replace(HEADER_END, line + HEADER_END, 1))


def render(report: Report) -> str:
    """Returns the report as an HTML page. All text is escaped."""
    return template("must_tf.shared", "report.html").render(
        report=report,
        tables=[_table(table) for table in report.tables],
        plots=[{"title": curve.title, "svg": _plot(curve)} for curve in report.curves],
        pictures=[_embedded(picture) for picture in report.pictures],
        leading=[_embedded(picture) for picture in report.leading],
        folds_curves=len(report.curves) > UNFOLDED,
    )


def _embedded(picture: Picture) -> dict[str, str]:
    return {"caption": picture.caption, "data": _data_url(picture.pixels)}


def template(package: str, name: str) -> jinja2.Template:
    """Returns a template from a package's folder `html`. It can include files of that folder and of this package's."""
    folders = [jinja2.PackageLoader(folder, "html") for folder in dict.fromkeys((package, "must_tf.shared"))]
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(folders),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    return environment.get_template(name)


def _shown(value: Any) -> Any:
    return shown(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _table(table: ReportTable) -> dict[str, Any]:
    """Returns the table for the template. A column of numbers is aligned right."""
    rows = [[cell if isinstance(cell, ReportCell) else ReportCell(cell) for cell in row] for row in table.rows]
    columns = list(zip(*rows, strict=True)) or [()] * len(table.headers)
    return {
        "title": table.title,
        "headers": table.headers,
        "numeric": [bool(column) and all(not isinstance(cell.value, str) for cell in column) for column in columns],
        "rows": [[{"text": _figure(cell.value), "best": cell.best} for cell in row] for row in rows],
    }


def _figure(value: str | float | int | None) -> str:
    if value is None:
        return "-"
    if not isinstance(value, (float, np.floating)):
        return str(value)
    small = value != 0 and abs(value) < 0.01
    return f"{value:.2g}" if small or abs(value) >= 1e6 else f"{value:,.3f}"


def _plot(curve: Curve) -> Markup:
    """Returns the plot as an SVG element that takes the page's font and text colour."""
    style: dict[Any, Any] = {
        "svg.fonttype": "none",  # text stays text and takes the page's font and colour
        "svg.hashsalt": curve.title,  # makes the output reproducible
        "text.color": INK,
        "axes.edgecolor": INK,
        "axes.labelcolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "text.parse_math": False,
    }
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(5.2, 3.1))
        figure.subplots_adjust(**MARGINS)
        _draw_lines(figure, curve)
        buffer = io.StringIO()
        unsigned = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=unsigned)
    svg = buffer.getvalue()
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg[svg.index("<svg") :])
    return Markup(svg.replace(INK, "currentColor"))  # matplotlib has escaped the labels


def _draw_lines(figure: Figure, curve: Curve) -> None:
    axes = figure.subplots()
    for index, (label, steps, values) in enumerate(curve.lines):
        marker = "o" if len(steps) < 30 else ""  # a line of one value would be invisible
        colour = LINES[index % len(LINES)]
        axes.plot(steps, values, color=colour, label=shown(label), marker=marker, markersize=4)
    axes.set_xlabel("step")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.2, color=INK)
    if len(curve.lines) > 1 or any(label for label, _, _ in curve.lines):
        axes.legend(frameon=False)


def _data_url(pixels: np.ndarray) -> str:
    subtype, content = _encoded(pixels)
    return f"data:image/{subtype};base64,{base64.b64encode(content).decode()}"


def _encoded(pixels: np.ndarray) -> tuple[str, bytes]:
    """Returns the media subtype and the file: PNG, or JPEG if a PNG would make the page too large."""
    if pixels.shape[0] * pixels.shape[1] <= LARGE:
        return "png", picture_grid.png(pixels)
    return "jpeg", tf.io.encode_jpeg(np.ascontiguousarray(pixels), quality=JPEG_QUALITY).numpy()


def read_curves(run_dir: str) -> dict[str, Series]:
    """Reads the scalars that a run logged for TensorBoard.

    Args:
        run_dir: the folder that contains `train`, `validation` or both.

    Returns:
        {"train/<tag>" or "validation/<tag>": (ascending steps, values)}. If a step was logged
        twice because the run was interrupted and resumed, the later value counts.

    Raises:
        UserError: the folder does not exist.
    """
    run_dir = str(run_dir)
    if not tf.io.gfile.isdir(run_dir):
        raise UserError(f"{run_dir} is not a folder. Give the run directory (--model_dir) of a run.")
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
                scalar = _scalar(value)
                if scalar is not None:
                    yield value.tag, event.step, scalar
    except tf.errors.DataLossError:
        return  # a killed run leaves a truncated record at the end; those before it are valid


def _scalar(value: tf.compat.v1.Summary.Value) -> float | None:
    if value.HasField("simple_value"):
        return value.simple_value
    if not value.HasField("tensor"):
        return None  # an image or histogram in the older format
    number = tf.as_dtype(value.tensor.dtype)
    array = tf.make_ndarray(value.tensor) if number.is_floating or number.is_integer else None
    return float(array) if array is not None and array.ndim == 0 else None


def paired(curves: dict[str, Series]) -> list[Curve]:
    """Turns the result of `read_curves` into plots. Train and validation curves of the same tag share a plot.

    NaN and infinity are left out, because matplotlib would show an empty plot.
    """
    plots: dict[str, list[tuple[str, list[int], list[float]]]] = {}
    for name, (steps, values) in curves.items():
        part, _, tag = name.partition("/")
        kept = [pair for pair in zip(steps, values, strict=True) if math.isfinite(pair[1])]
        line = (part, [step for step, _ in kept], [value for _, value in kept])
        plots.setdefault(tag, []).append(line)
    return [Curve(tag, lines) for tag, lines in sorted(plots.items())]
