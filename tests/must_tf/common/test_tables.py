"""Tables: alignment, and text that stays what it is wherever it is printed."""

import pytest

from must_tf.common import tables
from must_tf.common.tables import table


def test_example() -> None:
    """The module's docstring shows what is printed."""
    text = table(
        ("module", "restored", "missing"),
        [("trunk/backbone", 265, 0), ("heads/depth", 12, None)],
        title="checkpoint",
        note="missing variables keep their initial values",
    )
    shown = tables.__doc__.split("prints\n\n")[1]
    assert [line.strip() for line in text.splitlines()] == [line.strip() for line in shown.splitlines()]
    assert text.splitlines()[2] == "  trunk/backbone       265        0"


@pytest.mark.parametrize(
    "cells", [("1", "10"), ("-0.5", "3 of 40"), ("0.71 ± 0.02", "-"), ("1,234", ""), ("nan", "5 %")]
)
def test_numbers_are_aligned_right(cells: tuple[str, str]) -> None:
    """Everything that starts with a number is one; empty cells do not decide."""
    lines = table(("x", "a long header"), [("row", cell) for cell in cells]).splitlines()
    assert lines[0] == "x    a long header"
    for line, cell in zip(lines[1:], cells, strict=True):
        assert line == f"row  {cell:>13}".rstrip()


def test_text_is_aligned_left() -> None:
    """One text among the numbers makes a column of text."""
    assert table(("x", "name"), [("a", "12"), ("b", "none")]) == "x  name\na  12\nb  none"


def test_nothing_is_wrapped_cut_off_or_read_as_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log has no width, and class names may hold brackets and colons."""
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    long = "a " * 300 + "end"
    lines = table(("name", "value"), [("[bold]x[/bold] :smile:", long), ("[/oops]", "y")]).splitlines()
    assert lines[1:] == [f"[bold]x[/bold] :smile:  {long}", "[/oops]                 y"]


def test_wide_letters_take_two_places() -> None:
    """Chinese letters are twice as wide in a terminal."""
    lines = table(("name", "n"), [("猫", 1), ("cat", 2)]).splitlines()
    assert lines == ["name  n", "猫    1", "cat   2"]


def test_without_headers_or_rows() -> None:
    """No header line if all headers are empty; a title and a note remain without rows."""
    assert table(("", ""), [("a", "b")]) == "a  b"
    assert table(("a",), [], title="labels", note="no image has a label") == "labels\n  no image has a label"
    assert table(("a",), []) == ""
