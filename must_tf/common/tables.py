"""Tables for the terminal and for logs, drawn by rich.

    print(
        table(
            ("module", "restored", "missing"),
            [("trunk/backbone", 265, 0), ("heads/depth", 12, None)],
            title="checkpoint",
            note="missing variables keep their initial values",
        )
    )

prints

    checkpoint
      module          restored  missing
      trunk/backbone       265        0
      heads/depth           12
      missing variables keep their initial values
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from typing import Any

from must_tf.common.text import shown

INDENT = 2  # of everything below a title
GAP = 2  # spaces between two columns
UNLIMITED = 10**6  # columns of text: the reader's terminal or log wraps lines, the table never does
# "12", "-0.5", "1,234", "3 of 40", "12.5 %", "0.71 ± 0.02", and "-" for a number that is not known.
NUMBER = re.compile(r"[-+−]?[\d.,]*\d|-$|nan$|-?inf$", re.IGNORECASE)


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str = "", note: str = "") -> str:
    """Returns a table as plain text: no colours, no lines, no line break at the end, nothing wrapped or cut off.

    A column is aligned right, with its header, if all its cells start with a number. Cells may hold brackets and other
    characters that rich would read as markup.

    Args:
      columns: the headers. If all are empty, there is no header line.
      rows: as many cells each as there are columns. Numbers are written by `str`, so format them first; None is an
        empty cell.
      title: a line above the table, which is then indented.
      note: text below the table, indented like it; lines are kept as they are.
    """
    cells = [["" if cell is None else shown(str(cell)) for cell in row] for row in rows]
    body = _drawn(columns, cells) if cells else []
    below = [*body, *note.splitlines()]
    margin = " " * INDENT if title else ""
    return "\n".join([*([title] if title else []), *(f"{margin}{line}".rstrip() for line in below)])


def _drawn(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    from rich.console import Console  # here: most commands end without a table, and importing rich takes 0.1 s
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), show_header=any(columns), header_style="")
    for place, name in enumerate(columns):
        numbers = all(not row[place] or NUMBER.match(row[place]) for row in rows)
        grid.add_column(Text(name), justify="right" if numbers else "left", no_wrap=True, overflow="crop")
    for row in rows:
        grid.add_row(*map(Text, row))
    target = io.StringIO()
    Console(file=target, width=UNLIMITED, color_system=None).print(grid)
    return [line.rstrip() for line in target.getvalue().splitlines()]
