"""What the tests of the loop share."""

from __future__ import annotations

import pytest

from must_tf.common import forking


@pytest.fixture(autouse=True)
def no_forks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs trainings by `subprocesses.follow`, which the tests replace. `test_forking.py` is about the other way."""
    monkeypatch.setattr(forking, "IS_POSSIBLE", False)
