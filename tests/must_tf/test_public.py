"""`import must_tf` offers `must_tf.load` and imports nothing for it."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys

import pytest

import must_tf
from tests.support.tiny import ROOT

IMPORT = """
import sys
import must_tf
assert "load" in dir(must_tf)
loaded = [name for name in sys.modules if name.startswith("must_tf.")]
assert not loaded and "numpy" not in sys.modules and "tensorflow" not in sys.modules, loaded
"""


def test_importing_the_package_imports_nothing_else() -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", must_tf.PUBLIC)
def test_public_names_are_there(name: str) -> None:
    assert getattr(must_tf, name) is getattr(importlib.import_module(must_tf.PUBLIC[name]), name)


def test_a_name_that_does_not_exist() -> None:
    with pytest.raises(AttributeError, match="no attribute 'lode'. Its names are load"):
        _ = must_tf.lode  # type: ignore[attr-defined]
