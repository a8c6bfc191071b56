"""`must` has every command, and passes its arguments on."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys

import pytest

from must_tf import __main__ as must
from must_tf import __version__
from must_tf.cli import entry_points
from must_tf.common import process_setup
from tests.support.converting import must_records
from tests.support.tiny import ROOT
from tfrecords_tools.cli import main as records_main
from tfrecords_tools.writing import worker_pool


@pytest.fixture(autouse=True)
def stderr_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is that of all tests of this process."""
    monkeypatch.setattr(process_setup.tensorflow_log, "begin", lambda: None)


def called(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> list[str]:
    """Runs `must` with every entry point replaced by one that returns sys.argv."""
    seen: list[str] = []
    for entry in {*(entry for entry, _ in must.COMMANDS.values() if entry), must.RECORDS}:
        module, _, function = entry.partition(":")
        monkeypatch.setattr(importlib.import_module(module), function, lambda: seen.extend(sys.argv))
    monkeypatch.setattr(sys, "argv", ["must"])
    must.main(words)
    return seen


def test_a_command_gets_its_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    assert called(monkeypatch, ["train", "--mode=eval", "a b"]) == ["must train", "--mode=eval", "a b"]
    # must-records reads the command's name itself.
    assert called(monkeypatch, ["convert", "coco"]) == ["must", "convert", "coco"]


def test_every_command_of_must_records_is_here() -> None:
    from tfrecords_tools.cli.main import app

    names = {command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands}
    assert {name for name, (entry, _) in must.COMMANDS.items() if not entry} == names | {"convert"}


def test_help_lists_all_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert must.main([]) == 0
    lines = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    assert lines == list(must.COMMANDS)


@pytest.mark.parametrize("words", [*([name] for name in must.COMMANDS), ["convert", "coco"]], ids=" ".join)
def test_help_names_the_command_that_was_typed(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("TF_USE_LEGACY_KERAS", *worker_pool.ENVIRONMENT):
        monkeypatch.setenv(name, "1")  # restored afterwards
    monkeypatch.setattr(sys, "argv", ["must"])
    with pytest.raises(SystemExit) as ended:
        sys.exit(must.main([*words, "--help"]))
    shown = capsys.readouterr().out
    assert ended.value.code in (0, None)
    assert shown.split()[: 2 + len(words)] == ["Usage:", "must", *words]
    assert not re.search(r"must-|\b(train|export)\.py|tfrecords_tools", shown)


@pytest.mark.parametrize(("word", "value"), [("check", "0"), ("convert", "0"), ("train", "1"), ("label", "1")])
def test_commands_without_networks_give_memory_back(
    word: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """TensorFlow keeps the memory of large tensors if oneDNN is on; this is decided when TensorFlow is imported."""
    for name in ("TF_USE_LEGACY_KERAS", *worker_pool.ENVIRONMENT):
        monkeypatch.setenv(name, "1")
    monkeypatch.delenv(process_setup.KERNELS)
    monkeypatch.setattr(sys, "argv", ["must"])
    with pytest.raises(SystemExit):
        sys.exit(must.main([word, "--help"]))
    assert os.environ[process_setup.KERNELS] == value and capsys.readouterr().out


@pytest.mark.parametrize(("word", "value"), [("label", "1"), ("evaluate", "1"), ("train", "unset")])
def test_commands_with_networks_and_maps_give_memory_back(
    word: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also this is decided when TensorFlow is imported."""
    monkeypatch.setenv(records_main.ALLOCATOR, "")
    monkeypatch.delenv(records_main.ALLOCATOR)
    monkeypatch.setattr(sys, "argv", ["must"])
    with pytest.raises(SystemExit):
        sys.exit(must.main([word, "--help"]))
    assert os.environ.get(records_main.ALLOCATOR, "unset") == value and capsys.readouterr().out


def test_the_earlier_names_name_themselves(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert must_records(["convert", "coco", "--help"], monkeypatch) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("Usage: must-records convert coco ") and "Example: must-records convert coco" in shown
    monkeypatch.setattr(sys, "argv", ["/usr/bin/must-export", "--help"])
    with pytest.raises(SystemExit):
        entry_points.export()
    assert "Example: must-export --model_dir=" in capsys.readouterr().out


def test_a_misspelt_command_is_answered(capsys: pytest.CaptureFixture[str]) -> None:
    assert must.main(["trian"]) == 2
    assert "'trian' is not a command. Did you mean 'train'?" in capsys.readouterr().err


def test_it_imports_nothing_but_the_command() -> None:
    code = "import sys; from must_tf.__main__ import main; main(['--version']); assert 'tensorflow' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == __version__
