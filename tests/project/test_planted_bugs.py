"""Every planted bug can still be planted, and names tests that exist."""

from __future__ import annotations

import re

import pytest

from must_tf.tasks import discover
from tests.support.tiny import ROOT
from tests.tools.planted_bugs import MUTANTS, Mutant

OPERATORS = {"and", "or", "not"}  # of pytest's -k


def names(mutant: Mutant) -> set[str]:
    """Returns what -k can match in the mutant's test file: test functions, and the tasks as parameters."""
    text = (ROOT / "tests" / f"{mutant.tests.partition('::')[0]}.py").read_text()
    return {*re.findall(r"^\s*def (test_\w+)", text, re.M), *discover()}


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.breaks for mutant in MUTANTS])
def test_it_can_be_planted(mutant: Mutant) -> None:
    assert mutant.old in (ROOT / mutant.file).read_text(), "the line has changed: adapt tests/tools/planted_bugs.py"
    assert mutant.old != mutant.new


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.breaks for mutant in MUTANTS])
def test_its_tests_exist(mutant: Mutant) -> None:
    """A test was renamed if a word of the -k expression is in no name."""
    words = set(re.findall(r"\w+", mutant.tests.partition("::")[2])) - OPERATORS
    assert {word for word in words if not any(word in name for name in names(mutant))} == set()


def test_no_two_bugs_have_one_name() -> None:
    breaks = [mutant.breaks for mutant in MUTANTS]
    assert len(set(breaks)) == len(breaks)
