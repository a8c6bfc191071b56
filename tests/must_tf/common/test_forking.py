"""A process that forks for each command: a fork is like a new process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from must_tf.common import forking, shared_process, subprocesses
from must_tf.common.shared_process import CommandProcesses, SharedProcess
from tests.support.session.forked_python import INTERPRETER
from tests.support.tiny import ROOT

pytestmark = pytest.mark.skipif(not forking.IS_POSSIBLE, reason="trainings are only forked on Linux")

SECONDS = 60
PROGRAM = """
import os, sys, time, signal
import numpy.random as np_random
from must_tf.common import forking, shared_process
forking.COMMANDS = {}  # TensorFlow takes seconds to import
def main(words):
    sys.argv[1:] = words
    exec(words[0])
    return int(words[1])
sys.exit(shared_process.run_forks(main))
"""


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Iterator[SharedProcess]:
    """Its commands are a Python program and an exit code."""
    started = subprocesses.started
    monkeypatch.setattr(subprocesses, "started", lambda command, stdin: started([sys.executable, "-c", PROGRAM], stdin))
    process = SharedProcess(forking.EACH_LINE)
    yield process
    process.end()


@pytest.fixture
def ask(process: SharedProcess, tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """Runs a command; returns its exit code and its output."""

    def run(program: str, code: int = 0, jobs: int = 1) -> tuple[int, str]:
        log = tmp_path / f"{len(list(tmp_path.iterdir()))}.log"
        return process.follow([program, str(code)], str(log), "", jobs), log.read_text()

    return run


def children() -> set[int]:
    """The processes below this one that run."""
    return {one.pid for one in psutil.Process().children(recursive=True) if one.status() != psutil.STATUS_ZOMBIE}


def until(is_so: Callable[[], object]) -> None:
    end = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_each_command_has_a_process_with_its_own_code_and_threads(ask: Callable[..., tuple[int, str]]) -> None:
    """They are forks of one process, and what one has changed is unknown to the next."""
    shown = "print(os.getppid(), len(sys.argv), os.environ.get('TF_NUM_INTRAOP_THREADS', 'all')); sys.argv += ['x'] * 9"
    shown += "; os.environ['TF_NUM_INTRAOP_THREADS'] = '99'"
    found = [ask(shown, code, jobs) for code, jobs in ((0, 1), (3, 10_000), (0, 1))]
    parents, arguments, threads = zip(*(output.split() for _, output in found), strict=True)
    assert [code for code, _ in found] == [0, 3, 0]
    assert len({*parents}) == 1 and {*arguments} == {"3"} and threads == ("all", "1", "all")


def test_forks_draw_different_numbers_and_read_nothing(ask: Callable[..., tuple[int, str]]) -> None:
    program = "import select; print(np_random.random(), select.select([0], [], [], 9)[0] and os.read(0, 9))"
    drawn = [ask(program)[1].split() for _ in range(2)]
    assert drawn[0][0] != drawn[1][0] and [rest for _, rest in drawn] == ["b''"] * 2


def test_a_fork_that_was_killed_is_told_and_the_next_one_works(ask: Callable[..., tuple[int, str]]) -> None:
    assert ask("print('begun', flush=True); os.kill(os.getpid(), signal.SIGKILL)") == (-signal.SIGKILL, "begun\n")
    assert ask("print('next')", 2) == (2, "next\n")


def test_a_fork_that_crashes_shows_its_reason_in_its_own_log(ask: Callable[..., tuple[int, str]]) -> None:
    """What shows it outlives the fork for a moment."""
    fatal = "2026-01-01 00:00:02.000000: F tensorflow/core/x.cc:3] Check failed: size > 0 (0 vs. 0)"
    program = f"""
from must_tf.common import tensorflow_log
tensorflow_log.begin()
print("begun", flush=True)
os.write(2, {fatal!r}.encode() + b"\\n")
os.abort()
"""
    assert ask(program) == (-signal.SIGABRT, f"begun\nerror: fatal error in C++:\n{fatal}\n")
    assert ask("print('next')") == (0, "next\n")


def test_a_signal_that_the_process_ignores_is_ignored_by_its_forks(ask: Callable[..., tuple[int, str]]) -> None:
    """As Ctrl-C by a command in the background of a script."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        program = "print(*(signal.getsignal(number) is signal.SIG_IGN for number in (signal.SIGINT, signal.SIGTERM)))"
        assert [ask(program)[1] for _ in range(2)] == ["True False\n"] * 2
    finally:
        signal.signal(signal.SIGINT, before)


def test_what_an_import_removes_at_the_end_of_the_process_stays_when_a_fork_ends(tmp_path: Path) -> None:
    """As matplotlib does in a container whose user has no home: the next fork would not find it."""
    script = """
import atexit, os, shutil, sys
from must_tf.common import forking
atexit.register(shutil.rmtree, sys.argv[1])
fork = forking.Fork()
if not fork.is_child:
    fork.wait()
    print(os.path.exists(sys.argv[1]))
"""
    (tmp_path / "temporary").mkdir()
    command = [sys.executable, "-c", script, str(tmp_path / "temporary")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert (done.stdout, done.stderr, [*tmp_path.iterdir()]) == ("True\n", "", [])


@pytest.mark.parametrize(
    ("told", "code"),
    [(lambda parent: subprocesses.end_all(), 0), (lambda parent: os.kill(parent, signal.SIGKILL), -signal.SIGKILL)],
)
def test_a_fork_ends_with_its_process(
    told: Callable[[int], None], code: int, ask: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    """It is told by SIGTERM and may clean up or finish, or it notices by itself that nobody is left."""
    before, path = children(), tmp_path / "begun"
    program = f"""
from must_tf.common import subprocesses
subprocesses.end_with_parent()
def told(number, frame):
    print("cleans up", flush=True)
    time.sleep(0.2)
    print("done", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, told)
with open({str(path)!r}, "w") as file:
    file.write(f"{{os.getppid()}}\\n")
time.sleep({SECONDS})
"""
    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(ask, program)
        until(lambda: path.exists() and path.read_text().endswith("\n"))
        told(int(path.read_text()))
        found = ended.result(SECONDS)
    assert found == (code, "cleans up\ndone\n" if code == 0 else "")
    until(lambda: children() == before)


def test_an_idle_process_ends_at_once(process: SharedProcess, ask: Callable[..., tuple[int, str]]) -> None:
    before = children()
    ask("")
    assert len(children() - before) == 1
    process.end()
    assert children() == before


def test_imports_leave_tensorflow_without_threads() -> None:
    """Else a fork would wait for ever for threads that only its parent has."""
    script = f"""
import importlib
from must_tf.common import upstream
for module in {[*forking.COMMANDS.values()]}:
    importlib.import_module(module)
print(upstream.tensorflow_has_started())
"""
    done = subprocess.run([*INTERPRETER, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.split() == ["False"], done.stderr


def test_trainings_and_exports_are_forked_where_that_is_possible(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that share their process are not, nor any other."""
    asked = [("train", False), ("export", False), ("label", True), ("evaluate", False)]
    found = [shared_process.option_for([name], is_shared) for name, is_shared in asked]
    assert found == [forking.EACH_LINE, forking.EACH_LINE, shared_process.EACH_LINE, ""]
    monkeypatch.setattr(forking, "IS_POSSIBLE", False)
    assert shared_process.option_for(["train"]) == ""


def test_a_real_command_finds_tensorflow_imported_but_not_started(tmp_path: Path) -> None:
    """A flag that is not known has its message and exit code. The next command has a fork of the same process."""
    processes, before = CommandProcesses(), children()
    try:
        log = tmp_path / "log"
        assert processes.follow(["train", "--experimnt=x"], str(log), "") == 2
        assert "--experimnt" in log.read_text()
        own = children() - before
        words = ["train", "--experiment=must_teacher_dept", f"--model_dir={tmp_path / 'run'}"]
        assert processes.follow(words, str(log), "") == 2
        assert "Did you mean" in log.read_text()
        processes.end({forking.EACH_LINE})
        assert len(own) == 1 and children() - before == own
    finally:
        processes.end()
    assert children() == before
