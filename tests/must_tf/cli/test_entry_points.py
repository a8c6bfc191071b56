"""The commands set for their process what a library must leave alone."""

from __future__ import annotations

import gc
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from must_tf.common import process_setup
from tfrecords_tools.writing import worker_pool

ROOT = Path(__file__).resolve().parents[3]
SWITCH = "TF_USE_LEGACY_KERAS"
# command: what it calls in the end
CALLS = {
    "must-train": "must_tf.cli.train:cli",
    "must-export": "must_tf.cli.export:cli",
    "must-transfer": "must_tf.transfers.command:cli",
    "must-records": "tfrecords_tools.cli.main:main",
    "must-doctor": "must_tf.cli.doctor:main",
}


def entry(command: str) -> tuple[str, str]:
    """Module and function of an installed command."""
    found = re.search(rf'"{command}=([\w.]+):(\w+)"', (ROOT / "setup.py").read_text())
    assert found
    return found[1], found[2]


@pytest.mark.parametrize("given", ["", "0"])
@pytest.mark.parametrize("command", CALLS)
def test_a_command_chooses_keras_2_unless_its_user_has_chosen(
    command: str, given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but the doctor, who says what the user has set."""
    monkeypatch.setenv(SWITCH, given)  # so that it is as before afterwards
    if not given:
        monkeypatch.delenv(SWITCH)
    seen: list[str] = []

    def called(*arguments: Any) -> int:
        seen.append(os.environ.get(SWITCH, ""))
        return 0

    module, function = CALLS[command].split(":")
    monkeypatch.setattr(import_module(module), function, called)
    module, function = entry(command)
    try:
        getattr(import_module(module), function)()
    except SystemExit as stopped:
        assert not stopped.code
    assert seen == [given or ("" if command == "must-doctor" else "1")]


def test_nothing_imports_tensorflow_before_a_command_has_chosen() -> None:
    """And who imports the package keeps what he has."""
    modules = sorted({entry(command)[0] for command in CALLS})
    script = f"""
import importlib, os, sys
for module in {modules!r} + ["train", "export", "must_tf.transfers.__main__"]:
    importlib.import_module(module)
assert "tensorflow" not in sys.modules
print(os.environ.get("{SWITCH}", "not set"))
"""
    environment = {name: value for name, value in os.environ.items() if name != SWITCH} | {"PYTHONPATH": str(ROOT)}
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, env=environment)
    assert (told.returncode, told.stdout.strip()) == (0, "not set"), told.stderr


def test_what_is_imported_is_left_alone_by_the_garbage_collector() -> None:
    """A cycle among it stays; one that is made afterwards is found as ever."""

    class Node:
        """One end of a cycle of itself."""

        def __init__(self) -> None:
            self.me = self

    with process_setup.importing():
        assert not gc.isenabled()
        Node()
    Node()
    assert gc.isenabled()
    gc.collect()
    assert sum(isinstance(each, Node) for each in gc.get_objects()) == 0
    gc.unfreeze()
    assert sum(isinstance(each, Node) for each in gc.get_objects()) == 1
    gc.collect()


def test_the_garbage_collector_works_again_where_an_import_fails() -> None:
    with pytest.raises(ModuleNotFoundError), process_setup.importing():
        import_module("must_tf.no_such_module")
    assert gc.isenabled()
    gc.unfreeze()


def test_absent_modules_can_be_imported_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a_library.py").write_text("FOUND = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    with process_setup.absent("a_library", "json"):
        with pytest.raises(ModuleNotFoundError, match="a_library"):
            import_module("a_library")
        assert import_module("json").loads("1") == 1  # it was there before
    assert import_module("a_library").FOUND == 1
    del sys.modules["a_library"]


def test_commands_on_records_import_no_network(tmp_path: Path) -> None:
    """None of what only networks need, which would take as long again as TensorFlow itself; all can be had later, and
    by a task that somebody else wrote."""
    task = tmp_path / "must_tf" / "tasks" / "other"
    task.mkdir(parents=True)
    (task / "__init__.py").write_text("""
import dataclasses, h5py
from must_tf.tasks import depth
TASK = dataclasses.replace(depth.TASK, name="other")
""")
    script = """
import sys
from must_tf import commands
from tfrecords_tools import workers
commands.prepare()
from tfrecords_tools import cli
sys.argv = ["must-records", "inspect", "--records", "nowhere/*"]
assert cli.main() == 2
from tfrecords_tools import beam, check, contact_sheet, export_coco, look, look_table, merge, stats
from tfrecords_tools.sources import coco, images, mg, rgbd
heavy = {"official.vision", "official.core", "matplotlib.pyplot", "tensorflow_datasets", *cli.UNUSED} & set(sys.modules)
assert heavy == {"h5py"}, heavy
import scipy.ndimage
from must_tf import student
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])}
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, env=environment)
    assert told.returncode == 0, told.stderr
    assert "nowhere" in told.stderr  # the command ran


def test_workers_freeze_what_is_there_and_leave_what_a_command_froze_frozen() -> None:
    gc.unfreeze()
    with worker_pool._frozen():
        assert gc.get_freeze_count()
    assert not gc.get_freeze_count()
    gc.freeze()
    with worker_pool._frozen():
        pass
    assert gc.get_freeze_count()
    gc.unfreeze()
