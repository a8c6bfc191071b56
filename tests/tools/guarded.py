"""Calls a function in a process of its own, which is ended when a call takes too much time or memory.

An alarm would not do: it cannot interrupt TensorFlow, and the kernel ends a process that takes all memory.
"""

from __future__ import annotations

import multiprocessing
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import psutil

MEGABYTE = 2**20
POLL_SECONDS = 0.1


class Failed(Exception):
    """A call failed. The message is its traceback, or says why its process was ended."""


class Limits(NamedTuple):
    """The limits of one call."""

    seconds: float
    megabytes: int  # of the whole process: imports, and what earlier calls left, count as well


class Guarded:
    """A function whose calls share a warm process. The first call, and the first after an ended one, start it."""

    def __init__(self, function: Callable[..., Any], limits: Limits):
        """`function` is defined at module level, and its results can be pickled."""
        self._function, self._limits = function, limits
        self._process: Any = None
        self._connection: Any = None
        self.peak = 0  # megabytes that the last call took

    def __call__(self, *arguments: Any) -> Any:
        """Returns what the function returns. Raises Failed if it raises, ends its process, or exceeds a limit."""
        if self._process is None:
            self._start()
        self._connection.send(arguments)
        ended = self._wait()
        if not ended:
            try:
                result, ended, self.peak = self._connection.recv()
            except EOFError:
                self._process.join()
                ended = f"the process ended with {self._process.exitcode}"
            else:
                if self.peak > self._limits.megabytes:  # for less than POLL_SECONDS
                    ended = f"{ended}\n{self.peak} MB".lstrip()
                if not ended:
                    return result
        if self.peak > self._limits.megabytes or not self._process.is_alive():
            self.close()
        raise Failed(ended)

    def close(self) -> None:
        """Ends the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._connection.close()
            self._process = None

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_answer, args=(theirs, self._function), daemon=True)
        self._process.start()
        theirs.close()
        self._connection.recv()  # it has imported the function's module, which is not part of a call

    def _wait(self) -> str:
        """Waits for an answer. Ends the process that exceeds a limit, and returns why; empty: there is an answer."""
        started, process = time.monotonic(), psutil.Process(self._process.pid)
        why = ""
        while not self._connection.poll(POLL_SECONDS):
            self.peak = process.memory_info().rss // MEGABYTE
            if self.peak > self._limits.megabytes:
                why = f"more than {self._limits.megabytes} MB"
            elif time.monotonic() - started > self._limits.seconds:
                why = f"no end within {self._limits.seconds} s"
            if why:
                self._process.kill()
                self._process.join()
                return why
        return ""


def _answer(connection: Connection, function: Callable[..., Any]) -> None:
    """Runs in the process: answers calls with the result, the traceback or an empty text, and the peak of memory."""
    connection.send("ready")
    while True:
        try:
            arguments = connection.recv()
        except EOFError:  # the caller has ended
            return
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak
        result, failure = None, ""
        try:
            result = function(*arguments)
        except BaseException:  # SystemExit, too: no command may end its process while it reads a record
            failure = traceback.format_exc()
        connection.send((result, failure, _peak()))


def _peak() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 // MEGABYTE
