"""The packages ("rooms") import in one direction only: see `tests.support.rooms`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import must_tf
from tests.support.rooms import LAZY, ROOMS
from tests.support.tiny import ROOT

PRODUCT = ("must_tf", "tfrecords_tools")
MOST_ENTRIES, MOST_ENTRIES_AT_THE_TOP = 30, 20


def modules(root: Path) -> dict[str, Path]:
    """Maps the dotted name of every module of the product to its file."""
    paths = [path for name in PRODUCT for path in (root / name).rglob("*.py")]
    return {".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


def room_of(module: str) -> str:
    """Returns the room of a module: the first two parts of its name."""
    return ".".join(module.split(".")[:2])


def loaded(tree: ast.AST) -> Iterator[ast.AST]:
    """Yields all nodes but those below `if TYPE_CHECKING:`, which only the type checker reads."""
    for node in ast.iter_child_nodes(tree):
        is_for_types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        yield from () if is_for_types else (node, *loaded(node))


def imported(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """Yields the product's modules that a file imports, at its top or inside a function."""
    for node in loaded(ast.parse(path.read_text(), str(path))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide which room is meant"
            full = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in known else str(node.module) for name in full]
        yield from (name for name in names if name in known)


def upward_imports(root: Path) -> list[str]:
    """Returns "importing module -> imported module" for each import of a room that comes later in ROOMS."""
    known = modules(root)
    place = {room: number for number, room in enumerate(ROOMS)}
    return [
        f"{module} -> {name}"
        for module, path in known.items()
        for name in imported(path, known)
        if place[room_of(name)] > place[room_of(module)]
    ]


def entries(folder: Path) -> list[str]:
    """Returns the names in a folder that belong to the project."""
    return [path.name for path in folder.iterdir() if not path.name.startswith((".", "__pycache__"))]


def test_every_room_has_its_place() -> None:
    rooms = {room_of(module) for module in modules(ROOT)}
    assert rooms - set(ROOMS) == set(), "add it to ROOMS in tests/support/rooms.py"
    assert set(ROOMS) - rooms == set(), "remove these from ROOMS"


def test_no_room_imports_upwards() -> None:
    assert upward_imports(ROOT) == []


@pytest.mark.parametrize(
    "line", ["from must_tf.tasks import discover", "import must_tf.cli.train", "def f():\n    from must_tf import runs"]
)
def test_an_upward_import_is_noticed(tmp_path: Path, line: str) -> None:
    for module, path in modules(ROOT).items():
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(line if module == "must_tf.common.errors" else "")
    assert len(upward_imports(tmp_path)) == 1


def test_the_package_reaches_later_rooms_only_by_its_public_names() -> None:
    """`must_tf.load` is imported by name when it is first used, which the other tests cannot see."""
    assert set(must_tf.PUBLIC.values()) == LAZY and must_tf.SETUP == "must_tf.common.process_setup"
    source = (ROOT / "must_tf" / "__init__.py").read_text()
    assert source.count("import_module") == 2
    assert "import_module(PUBLIC[name])" in source and "import_module(SETUP)" in source


def test_a_circle_between_modules_of_one_room_is_no_way_out() -> None:
    """Within a room, no two modules import each other at their top."""
    known = modules(ROOT)
    edges = {
        (module, name)
        for module, path in known.items()
        for name in imported(path, known)
        if room_of(name) == room_of(module) and name != module and path.name != "__init__.py"
    }
    assert [pair for pair in edges if pair[::-1] in edges] == []


def test_no_folder_is_crowded() -> None:
    folders = [path for name in (*PRODUCT, "tests", "benchmarks", "experiments") for path in (ROOT / name).rglob("*")]
    for folder in (path for path in folders if path.is_dir() and path.name != "__pycache__"):
        assert len(entries(folder)) <= MOST_ENTRIES, folder
    for name in PRODUCT:
        assert len(entries(ROOT / name)) <= MOST_ENTRIES_AT_THE_TOP, name


def test_contributing_has_the_map() -> None:
    """Every room is on the map in CONTRIBUTING.md."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    rooms = [room for room in ROOMS if room.count(".") == 1 and not room.endswith("__main__")]
    assert [room for room in rooms if f"`{room.split('.')[1]}" not in text] == []
