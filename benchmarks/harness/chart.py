"""Draws the table as one SVG: a bar per ratio on a logarithmic axis, with a mark at its target."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

from benchmarks.harness.table import Comparison, number

LEFT, WIDTH, LINE = 380, 460, 24  # pixels: width of the text, width of the bars, height of a row
REACHED, MISSED, FREE, MARK = "#2a7f62", "#c0392b", "#7a8794", "#111111"


def svg(rows: Sequence[Comparison]) -> str:
    """Returns the picture. Rows without a ratio are left out, and so are ratios of 0, which have no logarithm."""
    shown = [row for row in rows if row.ratio]
    ends = [value for row in shown for value in (row.ratio, row.at_least, row.at_most) if value]
    low, high = min([0.5, *ends]), max([2.0, *ends])

    def place(value: float) -> float:
        return LEFT + WIDTH * math.log(value / low) / math.log(high / low)

    drawn = [line for index, row in enumerate(shown) for line in _row(row, LINE * (index + 2), place(1.0), place)]
    size = (LEFT + WIDTH + 110, LINE * (len(shown) + 3))
    title = f'<text x="10" y="{LINE}" font-weight="bold">ratio; line: 1; black mark: target</text>'
    axis = f'<line x1="{place(1.0):.1f}" x2="{place(1.0):.1f}" y1="{LINE * 1.4:.0f}" y2="{size[1] - LINE}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{size[0]}" height="{size[1]}" font-family="sans-serif"'
    return "\n".join([f'{head} font-size="13">', title, *drawn, f'{axis} stroke="#444"/>', "</svg>", ""])


def _row(row: Comparison, top: int, one: float, place: Callable[[float], float]) -> list[str]:
    end = place(row.ratio or 1.0)
    colour = {True: REACHED, False: MISSED, None: FREE}[row.reached]
    bar = f'<rect x="{min(one, end):.1f}" y="{top}" width="{abs(end - one):.1f}" height="14" fill="{colour}"/>'
    name = f'<text x="10" y="{top + 12}">{escape(row.what)}</text>'
    figure = f'<text x="{max(one, end) + 6:.1f}" y="{top + 12}">{number(row.ratio)}</text>'
    marks = [place(value) for value in (row.at_least, row.at_most) if value]
    lines = [f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top - 3}" y2="{top + 17}" stroke="{MARK}"/>' for x in marks]
    return [name, bar, figure, *lines]
