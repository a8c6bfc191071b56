"""Signals that arrive while Python ignores exceptions are not lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from must_tf.common import interrupts
from tests.support.session.forked_python import INTERPRETER
from tests.support.tiny import ROOT

# Ctrl-C comes to parent and children while the first worker is forked: Python ignores exceptions of such hooks.
POOL = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from must_tf.common.errors import exit_on_user_error
from must_tf.common.progress import Progress
from tfrecords_tools.writing import worker_pool

def interrupt():
    signal.raise_signal(getattr(signal, sys.argv[1]))

def job(task, tick):
    return task

os.register_at_fork(after_in_parent=interrupt)
if sys.argv[1] == "SIGINT":  # a terminal sends it to all of them
    os.register_at_fork(after_in_child=interrupt)
sys.exit(exit_on_user_error(lambda: worker_pool.run(job, range(9), 2, Progress(9, "work")) and 0))
"""
# A module that turns exceptions into its own, or goes on without what it could not import.
IMPORT = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
from must_tf.common import process_setup
with process_setup.importing():
    try:
        signal.raise_signal(getattr(signal, sys.argv[1]))
        time.sleep(1)
    except BaseException:
        pass
print("went on")
"""
# The flags are parsed by a library that has its own end for Ctrl-C, and goes on if the last flag is parsed.
PARSE = """
import dataclasses, signal, sys, typer
signal.signal(signal.SIGINT, signal.default_int_handler)
from must_tf.common import command_line

@dataclasses.dataclass
class Flags:
    pass

def parsed(*_, **__):
    try:
        signal.raise_signal(getattr(signal, sys.argv[1]))
    except BaseException:
        pass
    print("went on")

typer.Typer.__call__ = parsed
command_line.parse(Flags, [], "x")
"""
# `must` has not reached the chosen command yet.
CHOOSE = """
import importlib, signal, sys
from must_tf import __main__ as must
signal.signal(signal.SIGINT, signal.default_int_handler)

number = getattr(signal, sys.argv[1])  # before the command puts its own arguments there

def imported(name):
    try:
        signal.raise_signal(number)
    except BaseException:
        pass
    print("went on")

importlib.import_module = imported
must.main(["train"])
"""
# The signal comes as a module is imported for the first time, by a program as it is started from a shell.
START = """
import runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
name, module, program = sys.argv[1:4]
sys.argv[:] = [program, *sys.argv[4:]]

class Finder:
    @staticmethod
    def find_spec(wanted, *_):
        if wanted == module:
            signal.raise_signal(getattr(signal, name))
            print("went on")

sys.meta_path.insert(0, Finder)
if program.endswith(".py"):
    runpy.run_path(program, run_name="__main__")
else:
    runpy.run_module(program, run_name="__main__", alter_sys=True)
"""
# The first import of each program that is not Python's, and one as late as possible before its work begins.
PROGRAMS = {
    "train.py": ["--experiment=a", "--model_dir=b"],
    "export.py": ["--model_dir=a", "--out=b"],
    "tfrecords_tools": ["inspect", "--records", "nowhere/*"],
    "must_tf.transfers": ["--table", "a", "--out", "b"],
    "must_tf": ["doctor"],
}
STARTS = [
    ("train.py", "typer"),
    ("train.py", "must_tf.cli.train"),
    ("export.py", "must_tf.common.devices"),
    ("tfrecords_tools", "must_tf.common.devices"),
    ("tfrecords_tools", "tfrecords_tools.cli.convert"),
    ("must_tf.transfers", "must_tf.common.devices"),
    ("must_tf", "must_tf.cli.doctor"),
]
# A command that has begun cleans up; afterwards there is nothing to clean up any more.
BEGUN = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from must_tf.common import interrupts
from must_tf.common.errors import exit_on_user_error
number = getattr(signal, sys.argv[1])

def work():
    try:
        signal.raise_signal(number)
    finally:
        print("cleaned up", flush=True)

with interrupts.at_once():
    code = exit_on_user_error(work)
    print(code, flush=True)
    signal.raise_signal(number)
    print("went on")
"""
_armed: list[int] = []


@pytest.fixture(autouse=True)
def handled() -> Iterator[None]:
    """Ctrl-C is handled as in a terminal. A shell's background commands, and so these tests, may ignore it."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, handler)


def _fire() -> None:
    while _armed:
        signal.raise_signal(_armed.pop())


os.register_at_fork(after_in_parent=_fire)


def _fork() -> None:
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)


@pytest.mark.parametrize(("name", "code", "word"), [("SIGINT", 130, "interrupted"), ("SIGTERM", 143, "terminated")])
def test_a_signal_while_workers_are_forked_ends_the_command(name: str, code: int, word: str) -> None:
    ended = subprocess.run([*INTERPRETER, "-c", POOL, name], cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert (ended.returncode, ended.stderr) == (code, f"{word}\n")


@pytest.mark.parametrize(("name", "code", "word"), [("SIGINT", 130, "interrupted"), ("SIGTERM", 143, "terminated")])
@pytest.mark.parametrize("program", [IMPORT, PARSE, CHOOSE], ids=["imports", "parses", "chooses"])
def test_a_signal_before_a_command_begins_ends_it(program: str, name: str, code: int, word: str) -> None:
    ended = subprocess.run([*INTERPRETER, "-c", program, name], cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert (ended.returncode, ended.stderr, ended.stdout) == (code, f"{word}\n", "")


@pytest.mark.parametrize(("name", "code", "word"), [("SIGINT", 130, "interrupted"), ("SIGTERM", 143, "terminated")])
@pytest.mark.parametrize(("program", "module"), STARTS)
def test_a_signal_as_a_program_starts_ends_it(program: str, module: str, name: str, code: int, word: str) -> None:
    """A process of its own: in `INTERPRETER` the modules are there already."""
    command = [sys.executable, "-c", START, name, module, program, *PROGRAMS[program]]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, env=environment)
    assert (ended.returncode, ended.stderr, ended.stdout) == (code, f"{word}\n", "")


@pytest.mark.parametrize(("name", "code", "word"), [("SIGINT", 130, "interrupted"), ("SIGTERM", 143, "terminated")])
def test_a_command_that_has_begun_cleans_up(name: str, code: int, word: str) -> None:
    ended = subprocess.run([*INTERPRETER, "-c", BEGUN, name], cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert (ended.returncode, ended.stdout, ended.stderr) == (code, f"cleaned up\n{code}\n", f"{word}\n" * 2)


def test_an_ignored_signal_stays_ignored() -> None:
    """As that of a command in the background of a script."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with interrupts.at_once():
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) is interrupts.end_at_once
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_postponed_signal_comes_when_the_block_ends() -> None:
    _armed.append(signal.SIGINT)
    reached = False
    with pytest.raises(KeyboardInterrupt), interrupts.postponed():
        _fork()
        reached = True
    assert reached and not _armed
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_every_postponed_signal_comes_to_a_handler_that_goes_on() -> None:
    """As after Ctrl-C to a process that only passes SIGTERM on: the terminal's SIGINT, and SIGTERM from its parent."""
    came: list[int] = []
    before = {number: signal.signal(number, lambda number, frame: came.append(number)) for number in interrupts.BOTH}
    try:
        with interrupts.postponed():
            for number in interrupts.BOTH:
                os.kill(os.getpid(), number)
            assert not came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert came == [*interrupts.BOTH]


def test_a_signal_to_another_thread_is_postponed_too() -> None:
    """Blocking signals in the main thread alone hands them to any other thread, and Python's handler runs at once."""
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt), interrupts.postponed():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.05)
            reached = True
    finally:
        end.set()
        thread.join()
    assert reached


def test_a_signal_whose_exception_was_ignored_comes_again() -> None:
    _armed.append(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), interrupts.sent_again():
        _fork()
        assert not _armed  # the first one was lost here
        time.sleep(20)
