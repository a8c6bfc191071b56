"""Processes that run one command of `must` after the other: the next finds what the one before has loaded.

Five datasets that the same teachers label would otherwise be five processes, each of which imports TensorFlow, loads
the teachers and traces them: as long as labelling several hundred small photos takes. Small conversions share
the imports.

A process reads the words of a command, as JSON, from a line of its stdin. After the command's output it writes a line
with END and the exit code.
"""

from __future__ import annotations

import contextlib
import gc
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence

from must_tf.common import interrupts, subprocesses

EACH_LINE = "--each_line"  # the option of `must` that calls `run`
END = "\x1eexit code "  # a control character that no line of output begins with


class SharedProcess:
    """Runs commands one at a time: in the process of the one before, if that has not died."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._code = 0

    def follow(self, words: Sequence[str], log: str, name: str) -> int:
        """Runs a command; see `subprocesses.follow`."""
        with subprocesses.output_file(log) as file:
            process = self._asked(json.dumps(words) + "\n")
            subprocesses.relay(process, self._lines(process), file, name)
        return self._code

    def _asked(self, line: str) -> subprocess.Popen[str]:
        """Returns the process that was given this line: a new one if there is none, or if it has died."""
        if self._process is not None:
            with contextlib.suppress(BrokenPipeError):
                _write(self._process, line)
                return self._process
            self.end()
        self._process = subprocesses.started([sys.executable, "-m", "must_tf", EACH_LINE], subprocess.PIPE)
        _write(self._process, line)
        return self._process

    def _lines(self, process: subprocess.Popen[str]) -> Iterator[str]:
        """Yields the output of a command and notes its exit code."""
        for line in process.stdout or ():
            output, end, code = line.partition(END)
            if output:
                yield f"{output}\n" if end else line
            if end:
                self._code = int(code)
                return
        self._code = process.wait()  # it has ended
        self.end()

    def end(self) -> None:
        """Ends the process: the memory of what it has loaded is free again."""
        if self._process is not None:
            with contextlib.suppress(BrokenPipeError), self._process:  # closes its pipes
                self._process.terminate()
            self._process = None


class SharedProcesses:
    """Runs commands of several threads, each in a process of an earlier one if one is idle."""

    def __init__(self) -> None:
        self._idle: list[SharedProcess] = []

    def follow(self, words: Sequence[str], log: str, name: str) -> int:
        """Runs a command; see `subprocesses.follow`."""
        process = SharedProcess()
        with contextlib.suppress(IndexError):
            process = self._idle.pop()
        try:
            code = process.follow(words, log, name)
        except BaseException:  # a full disk, for example: the command may still run
            process.end()
            raise
        self._idle.append(process)
        return code

    def end(self) -> None:
        """Ends the idle processes."""
        while self._idle:
            self._idle.pop().end()


def _write(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line)
    process.stdin.flush()


def run(main: Callable[[Sequence[str]], int | None]) -> int:
    """Runs the commands of stdin by `main`, until it ends or a command was interrupted. Returns the exit code."""
    for line in sys.stdin:
        # A command freezes all that there is once its modules are imported: also what the one before left as garbage.
        gc.unfreeze()
        gc.collect()
        try:
            code = main(json.loads(line)) or 0
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else int(error.code is not None)
        sys.stderr.flush()
        if code in (interrupts.INTERRUPTED, interrupts.TERMINATED):
            return code
        sys.stdout.write(f"{END}{code}\n")  # at once: `print` writes the line's end later, after what others write
        sys.stdout.flush()
    return 0
