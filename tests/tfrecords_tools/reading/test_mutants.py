"""Damaged records in every command: named, left out, or read as they are. Nothing ends in a traceback.

`python -m tests.tools.mutants` does the same with 10,000 for each command.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tools import damage, mutated

EACH = 15  # mutants for each of fourteen commands
FEWEST = {"evaluate": 2, "convert mg": 0, "convert images": 0, "predict": 0, "serve": 0}  # these do not read all keys


@pytest.mark.parametrize("command", mutated.COMMANDS)
def test_no_mutant_ends_a_command_in_a_traceback(command: str, tmp_path: Path) -> None:
    # Each kind of damage in labels of a teacher, which is the last source, and some in real ones.
    first = (len(mutated.sources()) * (1 + list(mutated.COMMANDS).index(command)) - 1) * len(damage.DAMAGE)
    found = mutated.outcomes(mutated.batch(tmp_path, range(first, first + EACH)), command)
    bad = sum(number for (_, word), number in found.items() if word != "read")
    assert FEWEST.get(command, EACH // 3) < bad <= EACH  # the rest is harmless, like the flag of a crowd
