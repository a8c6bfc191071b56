"""A command whose disk is lost notices before it writes to the disk below."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest
import tensorflow as tf

from must_tf.cli import export
from must_tf.common import files, held_folders, subprocesses
from must_tf.common.errors import UserError
from must_tf.training.training_log import TrainingLog
from tests.must_tf.common.test_full_disk import MOUNTED, on_a_disk

# The disk is unmounted while a command holds a folder on it.
LOST = (
    MOUNTED
    + """
from must_tf.common import files, folder_lock
from must_tf.common.errors import exit_on_user_error
DETACH = 2

def work():
    with folder_lock.held(f"{folder}/out"):
        files.write_whole(f"{folder}/out/a.json", b"a")
        libc.umount2(folder.encode(), DETACH)
        files.write_whole(f"{folder}/out/b.json", b"b")

code = exit_on_user_error(work)
print(os.listdir(folder))
sys.exit(code)
"""
)


def test_nothing_is_written_below_a_lost_disk(tmp_path: Path) -> None:
    ended = on_a_disk(LOST, tmp_path / "disk", "lost")
    (line,) = (line for line in ended.stderr.splitlines() if line.startswith("error: "))
    assert ended.returncode == 2 and "Traceback" not in ended.stderr
    assert f"{tmp_path}/disk/out was removed while it was being written, or its disk is gone" in line
    assert ended.stdout == "[]\n"


def _move_away(folder: Path) -> None:
    folder.rename(folder.with_name("lost"))
    folder.mkdir()


def _step(out: Path, lose: Callable[[Path], None]) -> None:
    tf.summary.experimental.set_step(tf.Variable(1, dtype=tf.int64))
    log = TrainingLog(str(out), 10, 0, 1)
    log({"training_loss": 1.0})
    lose(out)
    log({"training_loss": 1.0})


def _save(out: Path, lose: Callable[[Path], None]) -> None:
    lose(out)
    with mock.patch.object(export.saved_model, "Server"):
        export._save(str(out), mock.MagicMock(), export.saved_model.DEFAULTS)


def _follow(out: Path, lose: Callable[[Path], None]) -> None:
    lose(out)
    subprocesses.follow([sys.executable, "-c", ""], str(out / "a.log"))


def _write(out: Path, lose: Callable[[Path], None]) -> None:
    lose(out)
    files.write_json(str(out / "a.json"), {})


@pytest.mark.parametrize("work", [_write, _step, _save, _follow])
def test_every_work_notices(work: Callable[[Path, Callable[[Path], None]], None], tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with held_folders.held(str(out)), pytest.raises(UserError, match="/out was removed while it was being written"):
        work(out, _move_away)
    assert [*out.iterdir()] == []


def test_a_folder_is_held_until_the_block_ends(tmp_path: Path) -> None:
    out = tmp_path / "new" / "a.json"
    with held_folders.held_above(str(out)), held_folders.held(str(tmp_path)):
        out.parent.mkdir()  # by the command itself: what is held is the folder above it
        files.write_json(str(out), {})
    with held_folders.held_above("gs://bucket/a.json"):
        held_folders.require()
    with held_folders.held_above(str(out)):
        _move_away(out.parent)
        with pytest.raises(UserError, match="/new was removed"):
            held_folders.require()
    held_folders.require()


def test_a_held_folder_is_open(tmp_path: Path) -> None:
    """Only then its number stays the same on every file system."""

    def is_open() -> bool:
        return any(os.path.realpath(f"/proc/self/fd/{each}") == str(tmp_path) for each in os.listdir("/proc/self/fd"))

    with held_folders.held(str(tmp_path)):
        assert is_open()
    assert not is_open()


STARTED = """
import sys
from must_tf.common import files, subprocesses
subprocesses.end_with_parent()
files.write_json(sys.argv[1], {})
"""


def test_a_command_that_starts_as_its_disk_is_lost_writes_nothing(tmp_path: Path) -> None:
    """What stands in the folder's place then has the folder's name."""
    out = tmp_path / "out"
    out.mkdir()
    with held_folders.held(str(out)):
        variables = subprocesses.environment()
    command = [sys.executable, "-c", STARTED, str(out / "records" / "a.json")]
    assert subprocess.run(command, env=variables).returncode == 0
    _move_away(out)
    ended = subprocess.run(command, env=variables, capture_output=True, text=True)
    assert "out was removed while it was being written" in ended.stderr
    assert [*out.iterdir()] == []
