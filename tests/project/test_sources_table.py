"""The page about data says of every source what is read, what is counted and what is refused."""

from __future__ import annotations

import typer.main

from tests.support.tiny import ROOT
from tfrecords_tools.cli.main import app

HEADING = "### What each source reads\n"
COLUMNS = 4


def rows() -> list[list[str]]:
    """Returns the cells of the table."""
    section = (ROOT / "docs/data.md").read_text().partition(HEADING)[2].partition("\n### ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def test_every_source_has_a_row_and_every_row_a_source() -> None:
    command = typer.main.get_command(app).commands["convert"]  # type: ignore[attr-defined]
    first, *names = (row[0] for row in rows())
    assert first == "every source"
    assert sorted(names) == sorted(f"`{name}`" for name in command.commands)


def test_every_cell_says_something() -> None:
    assert all(len(row) == COLUMNS and all(row) for row in rows())
