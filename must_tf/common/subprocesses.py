"""Runs a command as a subprocess: all of its output goes to a log, progress and results also to the terminal.

The subprocess ends with this process, also if `kill -9` ends it: otherwise the same command, given again, would start
a second process that writes the same folder.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import IO

from must_tf.common import devices, disk, held_folders

# The folder from which must_tf is imported.
PACKAGES = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PARENT = "MUST_PARENT"  # environment variable of a subprocess: the id of the process that it ends with
THREADS = "TF_NUM_INTRAOP_THREADS"  # environment variable: how many threads TensorFlow has for one operation
RESULTS = ("evaluated ", "  ", "exported ", "dropped: ", "note: ", "error", "passed: ", "not judged", "overruled: ")
AGAIN = "--- again ---"  # between two attempts in one log
POLL_SECONDS = 0.5  # between two looks at the parent; a command needs longer than that to import TensorFlow


_running: set[subprocess.Popen[str]] = set()
_told: set[subprocess.Popen[str]] = set()  # those of them that were told to end
not_inherited: set[str] = set()  # environment variables that this process has set for itself


def follow(command: Sequence[str], log: str, name: str = "", jobs: int = 1) -> int:
    """Runs a command until it ends. Several threads may do so at the same time.

    Args:
      command: program and arguments. It imports the same must_tf as this process.
      log: path of the file for its stdout and stderr, which are added at its end.
      name: shown before its lines, if several commands run at the same time.
      jobs: how many commands share the cores, see `environment`.

    Returns:
      Its exit code, or minus the number of the signal that killed it.

    Raises:
      UserError: the disk of a folder that this process holds is gone, see `held_folders`.
    """
    with output_file(log) as file, started(command, jobs=jobs) as process:
        relay(process, process.stdout or (), file, name)
    return process.returncode


@contextlib.contextmanager
def output_file(log: str) -> Iterator[IO[str]]:
    """Opens the file for a command's output. What an earlier attempt has written stays: it may say why that one ended.

    Raises:
      UserError: the disk of a folder that this process holds is gone, or a disk is full.
    """
    held_folders.require()
    os.makedirs(os.path.dirname(log) or ".", exist_ok=True)
    with disk.naming(log), open(log, "a") as file:
        if file.tell():
            file.write(f"\n{AGAIN}\n")
        yield file


def started(command: Sequence[str], stdin: int | None = None, jobs: int = 1) -> subprocess.Popen[str]:
    """Starts a command whose stdout and stderr can be read as lines."""
    return subprocess.Popen(
        command,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="backslashreplace",  # a library may print bytes that are no text
        env=environment(jobs),
    )


def relay(process: subprocess.Popen[str], lines: Iterable[str], file: IO[str], name: str) -> None:
    """Writes a command's lines to its log and shows them. If this process is told to end, the command's ends first."""
    _running.add(process)
    try:
        for line in lines:
            file.write(line)
            file.flush()  # for `tail -f`
            _screen.show(line.rstrip(), name)
    except (KeyboardInterrupt, SystemExit):  # this process was told to end
        process.terminate()
        process.wait()
        raise
    finally:
        _running.discard(process)
        _told.discard(process)
        _screen.end_line()


def end_all() -> None:
    """Ends all commands that `follow` runs, in whatever thread. A second call leaves them to clean up."""
    for process in tuple(_running):
        if process not in _told:
            _told.add(process)
            process.terminate()


def environment(jobs: int = 1) -> dict[str, str]:
    """Returns the environment variables of a subprocess that imports the same must_tf and ends with this process.

    `jobs` is how many subprocesses share the cores, see `threads`.
    """
    path = os.pathsep.join(filter(None, [PACKAGES, os.environ.get("PYTHONPATH")]))
    inherited = {name: value for name, value in os.environ.items() if name not in not_inherited}
    own = {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1", PARENT: str(os.getpid())}
    return inherited | threads(jobs) | own | held_folders.for_children()


def threads(jobs: int) -> dict[str, str]:
    """Returns the environment variable of a subprocess that shares the cores: threads of an operation of TensorFlow.

    Two trainings with two threads each on two cores would wait for each other, and take a fifth more processor time.
    There is no variable for one job, or if the user has set a number.
    """
    is_set = THREADS in os.environ and THREADS not in not_inherited
    return {} if jobs == 1 or is_set else {THREADS: str(max(1, devices.cores() // jobs))}


def shown(command: str, jobs: int) -> str:
    """Returns a command as you would type it to get the same threads."""
    return " ".join([*(f"{name}={value}" for name, value in threads(jobs).items()), command])


def end_with_parent() -> None:
    """Makes this process end with the one that `environment` names, however that one ends."""
    parent = os.environ.pop(PARENT, "")  # the children of this process have other parents
    if parent:
        held_folders.hold_those_of_parent()
        threading.Thread(target=_watch, args=(int(parent),), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    os._exit(1)


def last_lines(log: str, count: int) -> list[str]:
    """Returns the last `count` lines of a log that are not blank; none of an earlier attempt."""
    with open(log) as file:
        lines = [line.rstrip() for line in file if line.strip()]
    begin = max((number for number, line in enumerate(lines, 1) if line == AGAIN), default=0)
    return lines[begin:][-count:]


def unseen_lines(log: str, count: int) -> list[str]:
    """Returns those of the last `count` lines that stderr has to show: all, unless stdout has shown some beside it."""
    lines = last_lines(log, count)
    with contextlib.suppress(OSError):  # one of them is no file
        if os.path.sameopenfile(sys.stdout.fileno(), sys.stderr.fileno()):
            return [line for line in lines if not (_is_progress(line) or _is_result(line))]
    return lines


def _is_progress(line: str) -> bool:
    return " · " in line


def _is_result(line: str) -> bool:
    return line.startswith(RESULTS) or " is finished: " in line


class _Screen:
    """Shows progress, which replaces its last line on a terminal, results, and what was dropped or changed.

    The rest is only for the log.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # several commands may run at the same time
        self._is_progress = False  # the terminal's last line is progress, and not ended yet

    def show(self, line: str, name: str) -> None:
        progress = _is_progress(line)
        text = f"{name}: {line.lstrip()}" if name else line
        if progress and sys.stdout.isatty():
            width = shutil.get_terminal_size().columns - 3  # a longer line would wrap, and stay
            with self._lock:
                print(f"\r  {text[:width]:<{width}}", end="", flush=True)
                self._is_progress = True
        elif progress or _is_result(line):
            self.end_line()
            print(f"  {text}", flush=True)

    def end_line(self) -> None:
        with self._lock:
            if self._is_progress:
                print(flush=True)
            self._is_progress = False


_screen = _Screen()
