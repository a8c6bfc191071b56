"""Damaged records in every command: named, left out, or read as they are. Nothing ends in a traceback.

`python -m tests.tools.mutants` does the same with 10,000 for each command.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import tiny
from tests.tools import mutants

EACH = 17  # mutants for each of twelve commands
LEAST = {"convert mg": 1, "serve": 1}  # these do not read all keys


@pytest.fixture(scope="module")
def sources() -> list[bytes]:
    """The records that are damaged."""
    return [tiny.scene_record(index, tiny.ALL) for index in mutants.SOURCES]


@pytest.mark.parametrize("command", mutants.COMMANDS)
def test_no_mutant_ends_a_command_in_a_traceback(command: str, sources: list[bytes], tmp_path: Path) -> None:
    first = list(mutants.COMMANDS).index(command) * EACH
    found = mutants.outcomes(mutants.batch(tmp_path, range(first, first + EACH), sources), command)
    bad = sum(number for (_, word), number in found.items() if word != "read")
    assert LEAST.get(command, EACH // 3) < bad <= EACH  # the rest is harmless, like the flag of a crowd
