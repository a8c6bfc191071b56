"""Everything that the packages import from Model Garden (`official` and `orbit`), with its purpose.

Model Garden's last release is of February 2026 and supports TensorFlow 2.20. If no release follows, the modules listed
in official_imports.txt, and what they import themselves, are what would have to be vendored.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIST = Path(__file__).with_name("official_imports.txt")
PACKAGES = ("must_tf", "tfrecords_tools")


def imported(tree: ast.AST) -> Iterator[str]:
    """Yields the dotted names of all imports in a file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from (str(name.value) for name in node.args[:1] if isinstance(name, ast.Constant))


def from_model_garden(text: str) -> set[str]:
    """Returns the imports from Model Garden in a source text."""
    return {name for name in imported(ast.parse(text)) if name.split(".")[0] in ("official", "orbit")}


def test_the_list_is_complete() -> None:
    """A new import is a decision: it makes the project depend on more of Model Garden."""
    lines = [line.split(maxsplit=1) for line in LIST.read_text().splitlines()]
    assert lines == sorted(lines) and all(len(line) == 2 for line in lines)
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    assert set().union(*(from_model_garden(path.read_text()) for path in files)) == {name for name, _ in lines}


def test_the_scan_sees_every_way_to_import() -> None:
    """Imports at the top, in a function, and by name."""
    text = "import orbit\ndef f():\n    from official.core import a as b\n    importlib.import_module('official.c')"
    assert from_model_garden(text) == {"orbit", "official.core.a", "official.c"}
