"""For tests of wrong commands: a world to make mistakes in, the commands, and a check of the error."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from must_tf.cli import export, train
from must_tf.common.errors import exit_on_user_error
from tests.support.tiny import Tiny, arguments, data
from tfrecords_tools.cli import main

Arguments = list[str]


class Sandbox(NamedTuple):
    """Files to make mistakes with. `out` does not exist, and must not exist after a refused command."""

    tiny: Tiny
    tmp: Path
    out: str

    @property
    def records(self) -> str:
        """The pattern of records that have all labels."""
        return os.path.join(self.tiny.records, "*.tfrecord")

    def file(self, name: str, text: str) -> str:
        """Writes a file with this text and returns its path."""
        (self.tmp / name).write_text(text)
        return str(self.tmp / name)

    def copied(self) -> Path:
        """Copies the records and their manifest into a folder, to be damaged."""
        return Path(shutil.copytree(self.tiny.records, self.tmp / "copied"))


@pytest.fixture
def world(tiny_records: Tiny, tmp_path: Path) -> Sandbox:
    """Valid records, and a folder to work in."""
    return Sandbox(tiny_records, tmp_path, str(tmp_path / "out"))


def merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Merges nested dicts; values of `other` win."""
    both = dict(one)
    for key, value in other.items():
        both[key] = merged(both[key], value) if isinstance(value, dict) and key in both else value
    return both


def trained(
    world: Sandbox, override: dict[str, Any], experiment: str = "must_student", mode: str = "train"
) -> Arguments:
    """Returns flags of train.py that are valid except for `override`."""
    both = merged(data(world.records), override)
    return arguments(world.tiny.config, world.out, experiment, both, mode)


def task(**values: Any) -> dict[str, Any]:
    """Returns an override of fields below `task`."""
    return {"task": values}


def records_in(directory: Path | str) -> dict[str, Any]:
    """Returns an override to train on the records of another folder."""
    return task(train_data={"input_path": f"{directory}/*.tfrecord"})


def run_train(given: Arguments) -> int:
    """train.py."""
    return exit_on_user_error(lambda: train.main(given))


def run_export(given: Arguments) -> int:
    """export.py."""
    return exit_on_user_error(lambda: export.main(given))


def run_records(given: Arguments, monkeypatch: pytest.MonkeyPatch) -> int:
    """must-records."""
    monkeypatch.setattr(sys, "argv", ["must-records", *given])
    return main.main()


def check(code: int, stderr: str, out: str, expected: tuple[str, ...]) -> None:
    """Checks for exit code 2, one message with all expected parts, further lines indented, and no output."""
    assert code == 2
    lines = stderr.strip().splitlines()
    assert lines[0].startswith("error: ")
    assert all(line.startswith("  ") for line in lines[1:]), stderr
    for part in expected:
        assert part in stderr, stderr
    assert not os.path.exists(out)


def nested(key: str, value: Any) -> dict[str, Any]:
    """Returns {"a": {"b": value}} for the key "a.b"."""
    for part in reversed(key.split(".")):
        value = {part: value}
    return value
