"""The page of Model Garden's traps names tests; they are there."""

from __future__ import annotations

import re
from pathlib import Path

from tests.tools.planted_bugs import MUTANTS

ROOT = Path(__file__).resolve().parents[2]
ROWS = [line for line in (ROOT / "docs" / "traps.md").read_text().splitlines() if line.startswith("| ")][1:]


def test_every_trap_names_tests_that_exist() -> None:
    """At least one each, and none that was renamed away."""
    assert len(ROWS) > 25
    for row in ROWS:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row)
        assert named, row
        for path, name in named:
            assert re.search(rf"^def {name}\(", (ROOT / path).read_text(), re.M), f"{path}::{name}"


def test_every_planted_bug_can_be_planted() -> None:
    """The text that it changes is still there: `python tests/tools/planted_bugs.py` takes hours, this no time."""
    for mutant in MUTANTS:
        assert mutant.old in (ROOT / mutant.file).read_text(), mutant.breaks
