"""Keeps TensorFlow's log: the lines that C++ writes to a process's stderr, past Python's `sys.stderr`.

A small process receives the lines and writes them to a file, while Python's own lines stay on the terminal. It outlives
this process. If a fatal error in C++ ends this one, it shows that error. This file is also its program, and imports
nothing large.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any, TextIO

LEVEL = "TF_CPP_MIN_LOG_LEVEL"  # environment variable: "0" logs everything, "3" only fatal errors
STDERR = 2  # file descriptor
CHUNK = 1 << 16  # bytes that are read at once
SEARCHED = 1 << 14  # bytes at the end of the log that may have the fatal error
SHOWN = 12  # lines of it
END = b"\0"  # tells the receiver that the process ends by itself, so that no line before was fatal
SECONDS = 5.0  # to wait for the receiver at the end; it needs milliseconds
# TensorFlow's two forms of a line, with an F for "fatal", and the words of C++ and its libraries for the same.
FATAL = re.compile(
    rb"\d{4}-\d\d-\d\d \S+ F |F\d{4} |terminate called|Fatal |LLVM ERROR|\*\*\* |free\(\)|malloc|double free|"
    rb".*Assertion "
)


class _Receiver:
    """The process that receives the lines, and the file that it appends them to."""

    def __init__(self, file: Any, before: _Receiver | None = None) -> None:
        """Takes over stderr, and what an earlier receiver has written. `file` is binary and not buffered."""
        from must_tf.common import interrupts  # as in `begin`

        self._file = file
        reading, writing = os.pipe()
        if before:
            _say_end()
        os.dup2(writing, STDERR)
        os.close(writing)
        try:
            if before:
                before.wait()
                file.write(before.content())
            # A terminal sends Ctrl-C to all processes of a session, and service managers send SIGTERM to all processes
            # of a command. The receiver has to stay until the last line.
            with interrupts.postponed():
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", os.path.abspath(__file__)],
                    stdin=reading,
                    stdout=file,
                    stderr=_terminal,
                    start_new_session=True,
                )
        except OSError:  # without a reader, writing to the pipe would wait for ever
            os.dup2(_terminal, STDERR)
            raise
        finally:
            os.close(reading)

    def wait(self) -> None:
        """Waits until all lines are in the file. Stderr must be something else by now."""
        with contextlib.suppress(subprocess.TimeoutExpired):  # a child process of this one still has the old stderr
            self._process.wait(SECONDS)

    def content(self) -> bytes:
        """Returns the file's content."""
        self._file.seek(0)
        return self._file.read()


_receiver: _Receiver | None = None
_terminal = -1  # file descriptor of the stderr that the process had
_before = b""  # what was logged before `begin`, see `kept_back`


def begin() -> None:
    """Sends the log to a temporary file, which is gone after the process. To be called before TensorFlow is imported.

    The level is then the lowest, unless the user has set it. Does nothing if `sys.stderr` is not the process's stderr.
    A child process whose errors are to be seen must be given `sys.stderr`.
    """
    from must_tf.common import interrupts  # not at the top: the receiver imports nothing of the package

    global _receiver, _terminal
    if _receiver or not _is_stderr(sys.stderr):
        return
    if _terminal < 0:
        _terminal = os.dup(STDERR)
    sys.stderr.flush()
    with contextlib.suppress(OSError):  # no disk for temporary files, or no further process: everything stays as it was
        _receiver = _Receiver(tempfile.TemporaryFile(buffering=0))  # noqa: SIM115  # until the process ends, or `move`
    if not _receiver:
        return
    if sys.stderr.fileno() == STDERR:
        sys.stderr = os.fdopen(
            _terminal, "w", buffering=1, encoding=sys.stderr.encoding, errors=sys.stderr.errors, closefd=False
        )
        interrupts.speak_to(_terminal)
    os.environ.setdefault(LEVEL, "0")
    with contextlib.suppress(OSError):  # the receiver was killed
        os.write(STDERR, _before)
    atexit.register(_end)


def _is_stderr(stream: TextIO | None) -> bool:
    """Returns False if Python's messages already go elsewhere, for example to a test."""
    try:
        return stream is not None and stream.fileno() in (STDERR, _terminal)
    except (OSError, ValueError, AttributeError):  # not a file, or a closed one
        return False


@contextlib.contextmanager
def kept_back() -> Iterator[None]:
    """Keeps what is logged in the block for the log that `begin` starts later, in this process or in a fork of it.

    From here on Python's own lines have a stderr of their own: modules that are imported in the block may keep it.
    """
    global _before, _receiver
    begin()
    yield
    if receiver := _receiver:
        _end()
        atexit.unregister(_end)
        _before, _receiver = receiver.content(), None


def move(path: str) -> None:
    """Appends the log to a file from now on, with all lines since `begin`. Does nothing unless `begin` was called."""
    global _receiver
    if not _receiver or "://" in path:  # a remote file cannot be appended to
        return
    with contextlib.suppress(OSError):  # a full disk: the work itself reports it
        file = open(path, "ab", buffering=0)  # noqa: SIM115  # until the process ends
        before, _receiver = _receiver, None  # if the next line fails, stderr is the terminal again
        _receiver = _Receiver(file, before)


def _end() -> None:
    """Gives stderr back, and waits until the file has all lines."""
    if _receiver:
        _say_end()
        os.dup2(_terminal, STDERR)
        _receiver.wait()


def _say_end() -> None:
    with contextlib.suppress(OSError):  # the receiver was killed
        os.write(STDERR, END)


def _receive() -> None:
    """Copies stdin to stdout. At its end, shows a fatal error on stderr if there is one in the last lines.

    A process that ends by itself had none, whatever its lines look like.
    """
    last, is_ended = b"", False
    while chunk := os.read(0, CHUNK):
        is_ended = chunk.endswith(END)
        chunk = chunk.replace(END, b"")
        with contextlib.suppress(OSError):  # a full disk
            os.write(1, chunk)
        last = (last + chunk)[-SEARCHED:]
    lines = last.splitlines()
    for number, line in enumerate([] if is_ended else lines):
        if FATAL.match(line):
            os.write(2, b"\n".join([b"error: fatal error in C++:", *lines[number : number + SHOWN], b""]))
            return


if __name__ == "__main__":
    _receive()
