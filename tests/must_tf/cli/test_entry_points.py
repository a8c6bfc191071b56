"""Commands set up their process; importing the packages as a library changes nothing."""

from __future__ import annotations

import gc
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from must_tf.common import devices, process_setup, tensorflow_log
from tests.support.session.forked_python import INTERPRETER
from tfrecords_tools.writing import worker_pool

ROOT = Path(__file__).resolve().parents[3]
SWITCH, LOGS = "TF_USE_LEGACY_KERAS", "TF_CPP_MIN_LOG_LEVEL"
# command: what it calls in the end
CALLS = {
    "must-train": "must_tf.cli.train:cli",
    "must-export": "must_tf.cli.export:cli",
    "must-transfer": "must_tf.transfers.command:cli",
    "must-predict": "must_tf.cli.predict:cli",
    "must-records": "tfrecords_tools.cli.main:main",
    "must-doctor": "must_tf.cli.doctor:main",
}


def entry(command: str) -> tuple[str, str]:
    """Module and function of an installed command."""
    found = re.search(rf'"{command}=([\w.]+):(\w+)"', (ROOT / "setup.py").read_text())
    assert found
    return found[1], found[2]


# What each command is called with; the flags are read first.
GIVEN = {
    "must-train": ["--experiment=a", "--model_dir=b"],
    "must-export": ["--model_dir=a", "--out=b"],
    "must-predict": ["--model=a", "--images=b", "--out=c"],
}


@pytest.mark.parametrize("given", ["", "0"])
@pytest.mark.parametrize("command", CALLS)
def test_a_command_chooses_keras_2_unless_its_user_has_chosen(
    command: str, given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but the doctor, which reports what the user has set."""
    monkeypatch.setattr(tensorflow_log, "begin", lambda: None)  # stderr is that of all tests
    monkeypatch.setattr(sys, "argv", [command, *GIVEN.get(command, [])])
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


# Prints what an import could change for its importer.
STATE = """
import json, logging, os, sys, warnings
import tensorflow as tf
def state():
    return json.dumps({
        "environment": dict(os.environ),
        "warnings": [str(one) for one in warnings.filters],
        "logging": [logging.root.level, logging.root.disabled, [str(one) for one in logging.root.handlers]],
        "absl": [logging.getLogger("absl").level, logging.getLogger("tensorflow").level],
        "keras": tf.keras.layers.Layer.__module__,
        "hooks": [str(sys.excepthook), str(sys.stdout), str(sys.stderr)],
    })
"""


@pytest.mark.parametrize("package", ["must_tf", "tfrecords_tools"])
@pytest.mark.parametrize("switch", ["0", "1"])
def test_a_library_import_changes_nothing_for_its_importer(package: str, switch: str) -> None:
    """Environment, warnings, logging and tf.keras are as before; only commands set anything."""
    script = f"""{STATE}
before = state()
import {package}
after = state()
assert before == after, (before, after)
"""
    environment = {name: value for name, value in os.environ.items() if name != LOGS}
    environment |= {"PYTHONPATH": str(ROOT), SWITCH: switch}
    done = subprocess.run([*INTERPRETER, "-c", script], capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr


def test_a_command_silences_tensorflows_notes_unless_its_user_wants_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors are shown where there is a GPU. Without one, they say only that."""
    for gpus, level in ((1, "2"), (0, "3")):
        monkeypatch.setattr(devices, "driver_gpus", lambda gpus=gpus: gpus)
        monkeypatch.delenv(LOGS, raising=False)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        process_setup.prepare()
        assert os.environ[LOGS] == level
    monkeypatch.setenv(LOGS, "0")
    process_setup.prepare()
    assert os.environ[LOGS] == "0"


def test_a_command_computes_with_onednn_unless_its_user_does_not_want_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """On every processor. TensorFlow reads the variable when it is imported."""
    monkeypatch.delenv(process_setup.KERNELS, raising=False)
    process_setup.prepare()
    assert os.environ[process_setup.KERNELS] == "1"
    monkeypatch.setenv(process_setup.KERNELS, "0")
    process_setup.prepare()
    assert os.environ[process_setup.KERNELS] == "0"


def test_a_command_takes_the_memory_of_a_gpu_as_it_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless the user says otherwise."""
    monkeypatch.delenv("TF_FORCE_GPU_ALLOW_GROWTH", raising=False)
    process_setup.prepare()
    assert os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"
    monkeypatch.setenv("TF_FORCE_GPU_ALLOW_GROWTH", "false")
    process_setup.prepare()
    assert os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] == "false"


@pytest.mark.parametrize("script", ["train.py", "export.py"])
def test_help_and_misspelt_flags_are_answered_without_tensorflow(script: str) -> None:
    """Its import takes seconds."""
    for flag, code in (("--help", 0), ("--modle_dir=a", 2)):
        argv = f"import sys; sys.argv = ['{script}', '{flag}']; "
        run = "import runpy, atexit; atexit.register(lambda: print('tensorflow' in sys.modules)); "
        given = [sys.executable, "-c", argv + run + f"runpy.run_path('{script}', run_name='__main__')"]
        done = subprocess.run(given, capture_output=True, text=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": "."})
        assert done.returncode == code and done.stdout.splitlines()[-1] == "False", done.stderr


def test_nothing_imports_tensorflow_before_a_command_has_chosen() -> None:
    """Importing the modules of the commands leaves Keras to the importer."""
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


# Makes two objects that only a collection of garbage finds: while something is imported, and afterwards.
CYCLES = """
import gc
from must_tf.common import devices, process_setup
class Node:
    def __init__(self):
        self.me = self
def alive():
    return sum(isinstance(item, Node) for item in gc.get_objects())
with process_setup.importing():
    assert not gc.isenabled()
    Node()
Node()
assert gc.isenabled()
gc.collect()
assert alive() == 0
gc.unfreeze()
assert alive() == 1
"""


def test_what_is_imported_is_left_alone_by_the_garbage_collector() -> None:
    """It ignores a cycle that an import made, and finds one that is made afterwards. In a small process: this one has
    millions of objects."""
    done = subprocess.run([sys.executable, "-c", CYCLES], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def thawed() -> Iterator[None]:
    """No object is frozen. They are again afterwards, because searching all modules takes long."""
    gc.unfreeze()
    yield
    gc.freeze()


def test_the_garbage_collector_works_again_where_an_import_fails() -> None:
    with pytest.raises(ModuleNotFoundError), process_setup.importing():
        import_module("must_tf.no_such_module")
    assert gc.isenabled()


def test_commands_on_records_import_no_network_and_one_keras(tmp_path: Path) -> None:
    """Modules that only networks need would double the import time, and Keras 3 beside tf_keras takes a second of it.

    They can be imported later, also by a task of another distribution.
    """
    task = tmp_path / "must_tf" / "tasks" / "other"
    task.mkdir(parents=True)
    (task / "__init__.py").write_text("""
import dataclasses, h5py
from must_tf.tasks import depth
TASK = dataclasses.replace(depth.TASK, name="other")
""")
    script = """
import importlib, pkgutil, sys
from must_tf.common import devices, process_setup
process_setup.prepare()
from tfrecords_tools.cli import main as cli
sys.argv = ["must-records", "inspect", "--records", "nowhere/*"]
assert cli.main() == 2
for name in ("check", "convert", "export", "inspect", "merge", "reading", "sources.coco", "stats", "writing"):
    package = importlib.import_module(f"tfrecords_tools.{name}")
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
from tfrecords_tools.sources import images, rgbd
from tfrecords_tools.sources.published import mg
heavy = {"official.vision", "official.core", "keras", "matplotlib.pyplot", "tensorflow_datasets", *cli.UNUSED}
heavy &= set(sys.modules)
assert heavy == {"h5py"}, heavy
import scipy.ndimage
from must_tf.model import student
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])}
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, env=environment)
    assert told.returncode == 0, told.stderr
    assert "nowhere" in told.stderr  # the command ran


@pytest.mark.usefixtures("thawed")
def test_workers_freeze_what_is_there_and_leave_what_a_command_froze_frozen() -> None:
    with worker_pool._frozen():
        assert gc.get_freeze_count()
    assert not gc.get_freeze_count()
    gc.freeze()
    with worker_pool._frozen():
        pass
    assert gc.get_freeze_count()
