"""TensorFlow's log: lines that C++ writes to stderr, here by the file descriptor, and Python's own beside them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import must_tf
from must_tf.common import subprocesses, tensorflow_log

BEFORE = "2026-01-01 00:00:00.000000: I tensorflow/core/x.cc:1] starts"
AFTER = "2026-01-01 00:00:01.000000: W tensorflow/core/x.cc:2] later"
CHECK = "2026-01-01 00:00:02.000000: F tensorflow/core/x.cc:3] Check failed: size > 0 (0 vs. 0)"
ENDS = {
    "finishes": "",
    "crashes": f"native({CHECK!r}); native('of a tensor'); os.abort()",
    "is killed": "os.kill(os.getpid(), signal.SIGKILL)",
    "raises": "raise ValueError('not this one')",
}
PROGRAM = """
import os, signal, sys
from must_tf.common import tensorflow_log
def native(line): os.write(2, line.encode() + b"\\n")
tensorflow_log.begin()
native({before!r})
print("Python before", file=sys.stderr)
tensorflow_log.move("tensorflow.log")
native({after!r})
print("Python after", file=sys.stderr)
{end}
"""


def run(program: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in subprocesses.environment().items() if name != tensorflow_log.LEVEL}
    kept.pop(subprocesses.PARENT)
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=folder, env=kept | environment, capture_output=True, text=True, timeout=60)


def ended(end: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return run(PROGRAM.format(before=BEFORE, after=AFTER, end=ENDS[end]), folder)


def test_lines_of_cpp_go_to_the_file_and_those_of_python_stay(tmp_path: Path) -> None:
    """A log that is there already is continued."""
    (tmp_path / "tensorflow.log").write_text("of an earlier process\n")
    result = ended("finishes", tmp_path)
    assert (result.returncode, result.stderr) == (0, "Python before\nPython after\n")
    assert (tmp_path / "tensorflow.log").read_text().splitlines() == ["of an earlier process", BEFORE, AFTER]


@pytest.mark.skipif(sys.platform != "linux", reason="trainings are only forked on Linux")
@pytest.mark.parametrize("end", ["pass", "sys.exit(2)", "os.abort()"])
def test_what_was_kept_back_is_in_the_log_of_a_fork(end: str, tmp_path: Path) -> None:
    """As of a process that imports TensorFlow for all that it forks.

    Python's lines stay on the terminal, also those that a module writes to the stderr that it was imported with.
    """
    program = f"""
import os, sys
from must_tf.common import tensorflow_log
with tensorflow_log.kept_back():
    os.write(2, {CHECK!r}.encode() + b"\\n")
    print("by Python", file=sys.stderr)
    stderr = sys.stderr
    {end}
if pid := os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
tensorflow_log.begin()
tensorflow_log.move("tensorflow.log")
os.write(2, b"later\\n")
print("logged", file=stderr)
print("shown", file=sys.stderr)
"""
    result = run(program, tmp_path)
    shown = result.stderr.splitlines()
    if end == "pass":
        assert (result.returncode, shown) == (0, ["by Python", "logged", "shown"])
        assert (tmp_path / "tensorflow.log").read_text().splitlines() == [CHECK, "later"]
    elif end == "sys.exit(2)":
        assert (result.returncode, shown) == (2, ["by Python"])
    else:
        assert shown == ["by Python", "error: fatal error in C++:", CHECK]


def test_a_crash_shows_its_reason(tmp_path: Path) -> None:
    result = ended("crashes", tmp_path)
    assert result.returncode == -signal.SIGABRT
    shown = ["Python before", "Python after", "error: fatal error in C++:", CHECK, "of a tensor"]
    assert result.stderr.splitlines() == shown
    assert (tmp_path / "tensorflow.log").read_text().splitlines() == [BEFORE, AFTER, CHECK, "of a tensor"]


def test_a_crash_before_the_file_is_known_shows_its_reason(tmp_path: Path) -> None:
    """As on processors that TensorFlow was not built for: it ends the process while it is imported."""
    program = PROGRAM.format(before=CHECK, after="", end="").replace(
        'tensorflow_log.move("tensorflow.log")', "os.abort()"
    )
    assert run(program, tmp_path).stderr.splitlines() == ["Python before", "error: fatal error in C++:", CHECK]


def test_a_process_that_ends_by_itself_had_no_fatal_error(tmp_path: Path) -> None:
    """Whatever its lines look like: others write to stderr, too."""
    result = run(PROGRAM.format(before=CHECK, after=CHECK, end=""), tmp_path)
    assert (result.returncode, result.stderr) == (0, "Python before\nPython after\n")
    assert (tmp_path / "tensorflow.log").read_bytes().decode().splitlines() == [CHECK, CHECK]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_to_all_processes_of_a_command_leaves_the_log(name: str, tmp_path: Path) -> None:
    """As service managers send it. The command still has to end, and may crash meanwhile."""
    signalled = f"os.kill(tensorflow_log._receiver._process.pid, signal.{name}); "
    result = run(PROGRAM.format(before=BEFORE, after=AFTER, end=signalled + ENDS["crashes"]), tmp_path)
    assert result.stderr.splitlines()[-2:] == [CHECK, "of a tensor"]
    assert CHECK in (tmp_path / "tensorflow.log").read_text()


def test_without_disk_for_the_log_the_lines_are_shown(tmp_path: Path) -> None:
    """What has come before is lost. Nothing waits for a reader that is not there."""
    program = PROGRAM.format(before=BEFORE, after=AFTER, end=f"[native({AFTER!r}) for _ in range(2000)]")
    result = run(program.replace('"tensorflow.log"', '"/dev/full"'), tmp_path)
    assert result.returncode == 0 and result.stderr.count(AFTER) == 2001 and "\0" not in result.stderr


def test_other_ends_show_no_line_of_the_log(tmp_path: Path) -> None:
    assert ended("is killed", tmp_path).stderr == "Python before\nPython after\n"
    raised = ended("raises", tmp_path).stderr
    assert "not this one" in raised and "tensorflow/core" not in raised
    assert (tmp_path / "tensorflow.log").read_text().count(AFTER) == 2


TRAINING = """
import os
from must_tf.common import process_setup, tensorflow_log
process_setup.prepare(keep_log=True)
print(os.environ[tensorflow_log.LEVEL])
"""
RUNS_A_TRAINING = f"""
import subprocess, sys
from must_tf.common import process_setup, subprocesses
process_setup.prepare()
subprocess.run([sys.executable, "-c", {TRAINING!r}], env=subprocesses.environment())
"""


@pytest.mark.parametrize("program", [TRAINING, RUNS_A_TRAINING], ids=["train", "run"])
@pytest.mark.parametrize(("given", "expected"), [("", "0"), ("2", "2")])
def test_everything_is_logged_unless_the_user_has_set_the_level(
    program: str, given: str, expected: str, tmp_path: Path
) -> None:
    """`must run` and `must transfer` set it for themselves, and not for their trainings."""
    result = run(program, tmp_path, **({tensorflow_log.LEVEL: given} if given else {}))
    assert (result.stdout, result.stderr) == (f"{expected}\n", "")


@pytest.mark.parametrize(
    ("given", "is_imported", "expected"), [("", False, ("2", "3")), ("1", False, ("1",)), ("", True, (None,))]
)
def test_the_first_use_of_load_silences_tensorflow_before_it_is_imported(
    given: str, is_imported: bool, expected: tuple[str | None, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the user has set is kept, and a program that has imported TensorFlow itself keeps its environment."""
    monkeypatch.setenv(tensorflow_log.LEVEL, given)
    if not given:
        monkeypatch.delenv(tensorflow_log.LEVEL)
    _ = must_tf.load
    if not is_imported:
        monkeypatch.delitem(sys.modules, "tensorflow")
    assert callable(must_tf.load)
    assert os.environ.get(tensorflow_log.LEVEL) in expected
