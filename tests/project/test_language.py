"""Docstrings and messages are plain English: they begin with what a thing is or does, and use everyday words."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.tiny import ROOT

FOLDERS = ("must_tf", "tfrecords_tools", "experiments", "benchmarks")
# A docstring that begins with one of these describes its object by a clause ("What the run holds") instead of a noun
# or a verb ("Content of the run", "Returns the run's content").
CLAUSE = ("As", "Of", "That", "What", "Where", "Whether", "Which", "Who", "Whose")
STILTED = re.compile(r"\b(nobody|somebody|whoever|whosoever|no finite number)\b", re.IGNORECASE)


def sources() -> list[Path]:
    """Returns the Python files of the product, the experiments and the benchmarks."""
    return sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def clauses(text: str) -> Iterator[str]:
    """Yields the first line of each docstring that begins with a clause."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            docstring = ast.get_docstring(node) or ""
            if docstring.split(maxsplit=1)[:1] and docstring.split()[0] in CLAUSE:
                yield docstring.splitlines()[0]


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings_say_what_a_thing_is_or_does(path: Path) -> None:
    text = path.read_text()
    assert list(clauses(text)) == []
    assert [match.group() for match in STILTED.finditer(text)] == []


def test_the_check_sees_a_clause_and_a_stilted_word() -> None:
    assert list(clauses('def f():\n    """Whether it is."""')) == ["Whether it is."]
    assert list(clauses('def f():\n    """Returns whether it is."""')) == []
    assert STILTED.search("nobody looked")
