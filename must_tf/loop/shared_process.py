"""A process that runs one command of `must` after the other: the next finds what the one before has loaded.

Five datasets that the same teachers label would otherwise be five processes, each of which imports TensorFlow, loads
the teachers and traces them: as long as labelling several hundred small photos takes.

The process reads the words of a command, as JSON, from a line of its stdin. After the command's output it writes a line
with END and the exit code.
"""

from __future__ import annotations

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
            if self._process is not None and self._process.poll() is not None:
                self.end()
            if self._process is None:
                command = [sys.executable, "-m", "must_tf", EACH_LINE]
                self._process = subprocesses.started(command, subprocess.PIPE)
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(words) + "\n")
            self._process.stdin.flush()
            subprocesses.relay(self._process, self._lines(self._process), file, name)
        return self._code

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
            with self._process:  # closes its pipes
                self._process.terminate()
            self._process = None


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
