"""How commands end: with a message and an exit code, and with a word on Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from must_tf.common.errors import UserError, exit_on_user_error, nearest_path
from tests.support.session.forked_python import INTERPRETER
from tests.support.tiny import ROOT

USUAL: dict[signal.Signals, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}


def raising(error: BaseException) -> int:
    """Raises what it is given."""
    raise error


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_the_nearest_neighbour_of_a_path_is_a_path(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`file://` stands for remote paths: TensorFlow lists those."""
    (tmp_path / "runs" / "student").mkdir(parents=True)
    (tmp_path / "runs" / "studnets").touch()
    root = f"{scheme}{tmp_path}/runs"
    assert nearest_path(f"{root}/studnet") == f" Did you mean '{root}/studnets'?"
    if not scheme:  # TensorFlow marks folders by a slash for buckets only
        assert nearest_path(f"{root}/studnet/", only_folders=True) == f" Did you mean '{root}/student'?"
        monkeypatch.chdir(tmp_path)
        assert nearest_path("rums") == " Did you mean 'runs'?"
    assert nearest_path(f"{root}/other") == nearest_path(f"{root}/none/student") == ""


def test_another_missing_package_is_not_one_for_training(capsys: pytest.CaptureFixture[str]) -> None:
    """With the packages for training installed, the advice to install them would hide who needs the other one."""
    assert exit_on_user_error(lambda: raising(ModuleNotFoundError("No module named 'torch'", name="torch"))) == 2
    said = capsys.readouterr().err
    assert said.startswith("Traceback") and "must-tf[train]" not in said


UNREADABLE = UnicodeEncodeError("utf-8", os.fsdecode(b"a\xff.jpg"), 1, 2, "surrogates not allowed")


@pytest.mark.parametrize(
    "error,code,text",
    [
        (UserError("no such key."), 2, "error: no such key.\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (OSError(30, "Read-only file system", "/a/b"), 2, "error: /a/b: read-only file system. Give another folder"),
        (
            tf.errors.ResourceExhaustedError(None, None, "{{function_node /a:b}} /x/y; No space left on device [Op:S]"),
            2,
            "error: /x/y: no space left",
        ),
        (
            FileNotFoundError(2, "No such file or directory", "/a/b"),
            2,
            "error: /a/b: no such file or directory. Check if",
        ),
        (tf.errors.NotFoundError(None, None, "{{a}} /x/y; No such file or directory"), 2, "error: /x/y: no such file"),
        (UNREADABLE, 2, "error: the name 'a\\udcff.jpg' is not valid UTF-8. Rename the file or folder.\n"),
        (tf.errors.PermissionDeniedError(None, None, "/x/y; Permission denied"), 2, "error: /x/y: permission denied."),
        (
            tf.errors.UnimplementedError(None, None, "File system scheme 's3' not implemented (file: 's3://b/x.json')"),
            2,
            "error: s3://b/x.json: TensorFlow has no file system for s3:// here. Give a folder of a disk, or",
        ),
    ],
)
def test_a_command_ends_with_a_line_and_its_code(
    error: BaseException, code: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_on_user_error(lambda: raising(error)) == code
    printed = capsys.readouterr().err
    assert printed.startswith(text)
    assert len(printed.splitlines()) == 1


def test_other_errors_have_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_on_user_error(lambda: raising(RuntimeError("No space left on device, says a program"))) == 2
    assert "Traceback" in capsys.readouterr().err


OUTPUT = """
import sys
from must_tf.common.errors import exit_on_user_error
sys.exit(exit_on_user_error(lambda: print("x" * int(sys.argv[1]))))
"""


@pytest.mark.parametrize("size", [10, 1 << 20])
@pytest.mark.parametrize(("target", "code", "text"), [("pipe", 141, ""), ("/dev/full", 2, "no space left on device")])
def test_output_that_nobody_takes(size: int, target: str, code: int, text: str) -> None:
    """As of `must inspect | head`, and of a log on a full disk. Python would try again at its end, and complain."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") if target == "pipe" else open(target, "w") as output:
        command = [*INTERPRETER, "-c", OUTPUT, str(size)]
        ended = subprocess.run(command, cwd=ROOT, stdout=output, stderr=subprocess.PIPE, text=True, timeout=100)
    assert ended.returncode == code and text in ended.stderr and len(ended.stderr.splitlines()) == bool(text)
    if target != "pipe":
        os.close(writing)


def test_sigterm_ends_a_command_with_a_line_and_cleans_up(capsys: pytest.CaptureFixture[str]) -> None:
    """As by a batch system. The handler before is restored."""
    cleaned = []

    def work() -> int:
        try:
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL  # or the tests would end here
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
        finally:
            cleaned.append(True)
        return 0

    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        assert exit_on_user_error(work) == 143
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)
    assert cleaned and capsys.readouterr().err == "terminated\n"


TRACED = RuntimeError("Stack trace: main")
FULL = OSError(28, "No space left on device", "/a/b")
LATER = OSError(107, "Transport endpoint is not connected", "/a/b")  # the disk refuses nothing, it is gone


@pytest.mark.parametrize(
    ("number", "error", "ended"),
    [
        (signal.SIGINT, TRACED, (130, "interrupted\n")),
        (signal.SIGTERM, TRACED, (143, "terminated\n")),
        (signal.SIGTERM, FULL, (143, "error: /a/b: no space left on device. Free .*\nterminated\n")),
        (signal.SIGTERM, LATER, (143, "error: OSError: .* not connected: '/a/b'\nterminated\n")),
    ],
)
def test_a_signal_that_became_an_error_ends_the_command(
    number: signal.Signals, error: Exception, ended: tuple[int, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """As TensorFlow does while it traces a function. A last step that could not be saved is reported."""

    def work() -> int:
        try:
            signal.raise_signal(number)
        except BaseException:
            raise error from None
        return 0

    _check_end(work, ended[0])
    assert re.fullmatch(ended[1], capsys.readouterr().err)


@pytest.mark.parametrize(("first", "said"), [(FULL, "error: /a/b: no space left on device. Free .*\n"), (TRACED, "")])
@pytest.mark.parametrize("number", USUAL)
def test_an_error_is_not_lost_to_a_signal_that_comes_while_it_is_handled(
    number: signal.Signals, first: Exception, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As when Ctrl-C ends the removal of files that a full disk has cut."""

    def work() -> int:
        try:
            raise first
        except Exception:
            signal.raise_signal(number)
        return 0

    _check_end(work, 128 + number)
    word = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}[number]
    assert re.fullmatch(f"{said}{word}\n", capsys.readouterr().err)


def _check_end(work: Callable[[], int], code: int) -> None:
    """Checks the exit code, and that the handlers of signals are what they were."""
    before = [signal.signal(each, usual) for each, usual in USUAL.items()]
    try:
        assert exit_on_user_error(work) == code
        assert [signal.getsignal(each) for each in USUAL] == list(USUAL.values())
    finally:
        for each, handler in zip(USUAL, before, strict=True):
            signal.signal(each, handler)
