"""Only one command at a time writes into a folder, on a disk and on storage without locks."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn
from unittest import mock

import pytest
import tensorflow as tf

from experiments.study import Study
from must_tf.cli import export, predict, train
from must_tf.cli.flags import ExportFlags, PredictFlags, TrainFlags
from must_tf.common import files, folder_lock
from must_tf.common.errors import UserError
from must_tf.loop import command as loop
from must_tf.loop import run as loop_run
from must_tf.loop.steps import StepRunner
from must_tf.transfers import command as transfer
from tests.must_tf.loop.test_run import plan_file
from tests.support.session.forked_python import INTERPRETER
from tests.support.tiny import ROOT
from tfrecords_tools.convert import run as convert
from tfrecords_tools.sources.scenes import Scenes
from tfrecords_tools.writing import shards

# One process holds the folder until it is killed.
HOLDER = """
import os, sys
from must_tf.common import folder_lock
with folder_lock.held(sys.argv[1]):
    print(os.getpid(), flush=True)
    sys.stdin.read()
"""


class Reached(Exception):
    """A command has its folder and would begin to work."""


def reach(*arguments: Any) -> NoReturn:
    """Stands for the work of a command."""
    raise Reached


def _records(out: Path, patch: pytest.MonkeyPatch) -> None:
    del patch
    with shards.claimed(str(out), "a fingerprint", ["convert"]):
        reach()


def _train(out: Path, patch: pytest.MonkeyPatch) -> None:
    del patch
    with train._own(TrainFlags("must_student", str(out), "train"), ""):
        reach()


def _export(out: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(export, "restore", mock.MagicMock())
    patch.setattr(export, "_selected", mock.MagicMock())
    patch.setattr(export, "_export", reach)
    export.run(ExportFlags("a run", str(out)))


def _predict(out: Path, patch: pytest.MonkeyPatch) -> None:
    for name in ("image_lib", "models", "photo_names", "Folder"):
        patch.setattr(predict, name, mock.MagicMock())
    patch.setattr(predict, "_into", reach)
    predict.run(PredictFlags("a run", "photos", str(out)))


def _run(out: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(loop_run.Execution, "run", reach)
    loop.execute(loop.RunFlags(plan_file(out.parent), out=str(out)))


def _transfer(out: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(transfer, "_planned", lambda flags: [])
    patch.setattr(transfer, "_plan", lambda *planned: "")
    patch.setattr(transfer._Runs, "finish", reach)
    transfer.main(["--table=table.yaml", f"--out={out}"])


def _study(out: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(StepRunner, "run", reach)
    study = Study(str(out), "x")
    study.execute([study.scenes("labelled", 1, 1)])


# Up to where their work would begin. convert, merge, label and the exports of records share the first.
COMMANDS: dict[str, Callable[[Path, pytest.MonkeyPatch], None]] = {
    "records": _records,
    "train": _train,
    "export": _export,
    "predict": _predict,
    "run": _run,
    "transfer": _transfer,
    "study": _study,
}


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_excludes_a_second_one_and_takes_over_from_a_killed_one(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed process leaves its lock's file, whose number may by now be another process's."""
    out, at_once = tmp_path / "out", command == "export"
    hold = folder_lock.held_beside if at_once else folder_lock.held
    refused = f"is being written by process {os.getpid()} on {socket.gethostname()} since .* another --"
    with hold(str(out)), pytest.raises(UserError, match=refused):
        COMMANDS[command](out, monkeypatch)
    left = (tmp_path / "out.lock" if at_once else out) / folder_lock.NAME
    left.parent.mkdir()
    left.write_text(json.dumps({"host": socket.gethostname(), "pid": os.getppid(), "token": "a killed process's"}))
    with pytest.raises(Reached):
        COMMANDS[command](out, monkeypatch)
    assert not left.exists()


def test_a_folder_that_stays_empty_is_removed_with_its_lock(tmp_path: Path) -> None:
    """A command that fails leaves nothing."""
    out = tmp_path / "a" / "b"
    with folder_lock.held(str(out)):
        assert out.is_dir()
    assert not (tmp_path / "a").exists()
    with folder_lock.held(str(out)):
        (out / "kept").touch()
    assert (out / "kept").exists()


def test_a_folder_that_appears_as_a_whole_is_locked_beside_it(tmp_path: Path) -> None:
    """What a killed command left there is removed with the lock."""
    out = tmp_path / "out"
    (tmp_path / "out.lock").mkdir()
    with folder_lock.held_beside(f"{out}/"):
        assert not out.exists()
        with pytest.raises(UserError, match="written by process"):
            folder_lock.held_beside(str(out)).__enter__()
    assert list(tmp_path.iterdir()) == []


def test_two_commands_do_not_write_into_one_folder(tmp_path: Path) -> None:
    """The error names the process that holds the folder; once that is killed, the folder is free."""
    out = tmp_path / "out"
    holder = subprocess.Popen(
        [*INTERPRETER, "-c", HOLDER, str(out)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout and holder.stdin
    process = int(holder.stdout.readline())
    with pytest.raises(UserError, match=f"written by process {process} on {socket.gethostname()}"):
        convert.convert(Scenes("wild", 1, 1, 48), convert.Options(str(out)))
    assert [path.name for path in out.iterdir()] == [folder_lock.NAME]
    os.kill(process, signal.SIGKILL)
    holder.wait()
    holder.stdin.close()
    holder.stdout.close()
    assert (out / folder_lock.NAME).exists()
    convert.convert(Scenes("wild", 1, 1, 48), convert.Options(str(out), workers=1))
    assert not (out / folder_lock.NAME).exists()


@pytest.mark.parametrize(
    ("owner", "stale"),
    [
        ({"host": socket.gethostname(), "pid": os.getpid(), "token": folder_lock.TOKEN}, False),
        ({"host": socket.gethostname(), "pid": os.getpid(), "token": "of the container before"}, True),
        ({"host": socket.gethostname(), "pid": os.getppid(), "token": "another's"}, False),
        ({"host": socket.gethostname(), "pid": 2**22 + 1}, True),  # beyond Linux' largest
        ({"host": "elsewhere", "pid": 2**22 + 1}, False),
        ({}, True),
        ({"host": socket.gethostname(), "pid": "7"}, True),
        ({"host": socket.gethostname(), "pid": 0}, True),
        ({"host": socket.gethostname(), "pid": 2**70}, True),
    ],
)
def test_remote_storage_is_locked_by_a_file(owner: dict, stale: bool) -> None:
    out = f"ram://lock-{abs(hash(str(owner)))}"
    tf.io.gfile.makedirs(out)
    with tf.io.gfile.GFile(f"{out}/{folder_lock.NAME}", "w") as file:
        file.write(json.dumps(owner))
    if not stale:
        with pytest.raises(UserError, match="is being written by"), folder_lock.held(out):
            pass
        return
    with folder_lock.held(out):
        assert json.loads(tf.io.gfile.GFile(f"{out}/{folder_lock.NAME}").read())["pid"] == os.getpid()
    assert not tf.io.gfile.exists(f"{out}/{folder_lock.NAME}")


def test_one_of_two_commands_that_start_together_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other command's file appears between this command's first and second check; it is not removed."""
    out, other = "ram://lock-together", {"host": "elsewhere", "pid": 7, "token": "other", "since": "2031-05-06"}

    def meanwhile(seconds: float) -> None:
        assert (
            seconds > 0
            and json.loads(tf.io.gfile.GFile(f"{out}/{folder_lock.NAME}").read())["token"] == folder_lock.TOKEN
        )
        files.write_json(f"{out}/{folder_lock.NAME}", other)

    monkeypatch.setattr(folder_lock.time, "sleep", meanwhile)
    with pytest.raises(UserError, match="written by process 7 on elsewhere since 2031-05-06"), folder_lock.held(out):
        pass
    assert json.loads(tf.io.gfile.GFile(f"{out}/{folder_lock.NAME}").read()) == other


@pytest.mark.parametrize(("mine", "others"), [("", "-1-of-2"), ("1-of-2", "")])
def test_a_whole_folder_and_a_part_that_start_together_exclude_each_other(
    mine: str, others: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other command has seen no lock either. Its file appears while this command's settles."""
    out = f"ram://lock-both{mine}"
    other = {"host": "elsewhere", "pid": 7, "token": "other"}
    monkeypatch.setattr(
        folder_lock.time, "sleep", lambda seconds: files.write_json(f"{out}/{folder_lock.NAME}{others}", other)
    )
    with pytest.raises(UserError, match="written by process 7 on elsewhere"), folder_lock.held(out, mine):
        pass
    assert [name for name in tf.io.gfile.listdir(out) if name.startswith(folder_lock.NAME)] == [
        f"{folder_lock.NAME}{others}"
    ]


def test_two_parts_of_remote_storage_are_written_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_lock, "SETTLE_SECONDS", 0)
    out = "ram://lock-parts"
    with folder_lock.held(out, "1-of-2"), folder_lock.held(out, "2-of-2"), pytest.raises(UserError, match="by process"):
        folder_lock.held(out).__enter__()


def test_a_folder_that_vanishes_is_named(tmp_path: Path) -> None:
    """Whatever error comes of it. Other errors stay as they are."""
    out = tmp_path / "out"
    with pytest.raises(UserError, match=r"out was removed while it was"), folder_lock.held(str(out)):
        shutil.rmtree(out)
        raise KeyError("records-00000-of-00001.tfrecord")
    with pytest.raises(KeyError, match="key"), folder_lock.held(str(out)):
        raise KeyError("key")


@pytest.mark.parametrize("hold", [folder_lock.held, folder_lock.held_beside])
def test_a_folder_that_was_made_anew_meanwhile_is_not_whole(
    hold: Callable[[str], contextlib.AbstractContextManager[None]], tmp_path: Path
) -> None:
    """Writing a file makes missing folders: a command can go on after its disk is gone."""
    out, locked = tmp_path / "out", tmp_path / ("out" if hold is folder_lock.held else "out.lock")
    with pytest.raises(UserError, match=f"{locked.name} was removed while it was"), hold(str(out)):
        locked.rename(tmp_path / "the lost disk")
        (out / "pictures").mkdir(parents=True)
        locked.mkdir(exist_ok=True)
        (out / "pictures" / "a.jpg").write_bytes(b"a picture")  # as TensorFlow writes a checkpoint
    with hold(str(out)):
        (locked / folder_lock.NAME).unlink()  # by a user: the folder is the same
