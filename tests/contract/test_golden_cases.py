"""The golden cases are complete, and nothing that ships needs them."""

from __future__ import annotations

import sys
import types

import pytest

from tests.contract import golden_cases
from tests.contract.golden_cases import NAMES, golden
from tests.support.contract import SPECS
from tests.support.tiny import ROOT


@pytest.mark.parametrize("task", SPECS)
def test_every_task_has_all_of_them(task: str) -> None:
    assert set(NAMES) <= set(vars(golden(task)))


def test_a_missing_name_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module with everything but `oracle` and `empty`."""
    module = types.ModuleType("tests.contract.golden.unfinished")
    vars(module).update({name: None for name in NAMES if name not in ("oracle", "empty")})
    monkeypatch.setitem(sys.modules, module.__name__, module)
    with pytest.raises(AssertionError, match="golden/unfinished.py must define empty, oracle"):
        golden_cases.golden.__wrapped__("unfinished")


def test_the_packages_do_not_import_tests() -> None:
    for package in ("must_tf", "tfrecords_tools"):
        for path in (ROOT / package).rglob("*.py"):
            text = path.read_text()
            assert "golden" not in text.replace("golden-ratio", "") and "import tests" not in text, path
            assert "from tests" not in text, path
