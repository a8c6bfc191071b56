"""Processes that serve several commands of `must`: the next one finds what the one before has loaded.

There are two kinds. One runs one command after the other. Five datasets that the same teachers label would otherwise be
five processes, each of which imports TensorFlow, loads the teachers and traces them: as long as labelling several
hundred small photos takes. Small conversions share the imports. The other kind forks for each command, see `forking`.

A process reads a command, as JSON, from a line of its stdin: its words and its environment variables. After the
command's output it writes a line with END and the exit code. If a signal has killed the command, the process ends as
well, and its output is read to the end: the reason of a crash comes a moment later, see `tensorflow_log`.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Sequence

from must_tf.common import forking, interrupts, subprocesses

EACH_LINE = "--each_line"  # the option of `must` that calls `run`
END = "\x1eexit code "  # a control character that no line of output begins with

Main = Callable[[Sequence[str]], int | None]


class SharedProcess:
    """Runs commands one at a time: in the process of the one before, if that has not died.

    Args:
      option: of `must`, which decides how the process runs them.
    """

    def __init__(self, option: str = EACH_LINE) -> None:
        self._option = option
        self._process: subprocess.Popen[str] | None = None
        self._code = 0

    def follow(self, words: Sequence[str], log: str, name: str, jobs: int = 1) -> int:
        """Runs a command; see `subprocesses.follow`."""
        with subprocesses.output_file(log) as file:
            process = self._asked(json.dumps([words, subprocesses.threads(jobs)]) + "\n")
            subprocesses.relay(process, self._lines(process), file, name)
        return self._code

    def _asked(self, line: str) -> subprocess.Popen[str]:
        """Returns the process that was given this line: a new one if there is none, or if it has died."""
        if self._process is not None:
            with contextlib.suppress(BrokenPipeError):
                _write(self._process, line)
                return self._process
            self.end()
        self._process = subprocesses.started([sys.executable, "-m", "must_tf", self._option], subprocess.PIPE)
        _write(self._process, line)
        return self._process

    def _lines(self, process: subprocess.Popen[str]) -> Iterator[str]:
        """Yields the output of a command and notes its exit code."""
        code = None
        for line in process.stdout or ():
            output, end, number = line.partition(END)
            if output:
                yield f"{output}\n" if end else line
            if end:
                code = self._code = int(number)
                if code >= 0:
                    return
        ended = process.wait()
        self._code = ended if code is None else code
        self.end()

    def end(self) -> None:
        """Ends the process: the memory of what it has loaded is free again."""
        if self._process is not None:
            with contextlib.suppress(BrokenPipeError), self._process:  # closes its pipes
                self._process.terminate()
            self._process = None


class CommandProcesses:
    """Runs commands of several threads, each in a process that an earlier one has left idle, if there is one."""

    def __init__(self) -> None:
        self._idle: dict[str, list[SharedProcess]] = {EACH_LINE: [], forking.EACH_LINE: []}  # by their option

    def follow(self, words: Sequence[str], log: str, name: str, jobs: int = 1, is_shared: bool = False) -> int:
        """Runs a command; see `subprocesses.follow`.

        Args:
          words: after `must`.
          log, name, jobs: of `subprocesses.follow`.
          is_shared: see `option_for`.
        """
        option = option_for(words, is_shared)
        if not option:
            return subprocesses.follow([sys.executable, "-m", "must_tf", *words], log, name, jobs)
        process = SharedProcess(option)
        with contextlib.suppress(IndexError):
            process = self._idle[option].pop()
        try:
            code = process.follow(words, log, name, jobs)
        except BaseException:  # a full disk, for example: the command may still run
            process.end()
            raise
        self._idle[option].append(process)
        return code

    def end(self, used: Collection[str] = ()) -> None:
        """Ends the idle processes, except those with an option that is in use: other commands need their memory."""
        for option, processes in self._idle.items():
            while processes and option not in used:
                processes.pop().end()


def option_for(words: Sequence[str], is_shared: bool = False) -> str:
    """Returns the option of the process that a command runs in; "" if it gets one of its own.

    Args:
      words: after `must`.
      is_shared: whether commands like this one run one after the other in the same process.
    """
    if is_shared:
        return EACH_LINE
    return forking.EACH_LINE if forking.IS_POSSIBLE and words[0] in forking.COMMANDS else ""


def _write(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line)
    process.stdin.flush()


def run(main: Main) -> int:
    """Runs the commands of stdin by `main`, until it ends or a command was interrupted. Returns the exit code."""
    for line in sys.stdin:
        # A command freezes all that there is once its modules are imported: also what the one before left as garbage.
        gc.unfreeze()
        gc.collect()
        words, variables = json.loads(line)
        os.environ.update(variables)
        try:
            code = main(words) or 0
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else int(error.code is not None)
        sys.stderr.flush()
        if code in (interrupts.INTERRUPTED, interrupts.TERMINATED):
            return code
        ended(code)
    return 0


def ended(code: int) -> None:
    """Tells the process at the other end that a command has ended."""
    sys.stdout.write(f"{END}{code}\n")  # at once: `print` writes the line's end later, after what others write
    sys.stdout.flush()


def run_forks(main: Main) -> int:
    """Runs the commands of stdin by `main`, each in a fork of this process.

    Returns:
      The exit code: in a fork the command's; in this process, once stdin has ended, or after SIGTERM or Ctrl-C.
    """
    forking.prepare()
    for line in sys.stdin:
        words, variables = json.loads(line)
        fork = forking.Fork()
        if fork.is_child:
            os.environ.update(variables)
            return main(words) or 0
        code = fork.wait()
        if fork.is_told or code in (interrupts.INTERRUPTED, interrupts.TERMINATED):
            return code if code >= 0 else interrupts.TERMINATED
        ended(code)
        if code < 0:
            break
    return 0
