"""The files that start first exist."""

from __future__ import annotations

from tests.conftest import LONGEST
from tests.support.tiny import ROOT


def test_the_longest_files_exist() -> None:
    assert [name for name in LONGEST if not (ROOT / "tests" / name).exists()] == []
