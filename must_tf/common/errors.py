"""UserError, the exception for everything that the user can fix, and how commands end on it."""

from __future__ import annotations

import contextlib
import difflib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NoReturn

from must_tf.common import disk, interrupts
from must_tf.common.interrupts import TERMINATED as TERMINATED
from must_tf.common.interrupts import Terminated as Terminated
from must_tf.common.text import shown_output

INTERRUPTED = 130  # 128 and the number of SIGINT


class UserError(Exception):
    """Something that the user gave is wrong. The message says what, where, and how to fix it."""

    @property
    def problems(self) -> list[str]:
        """A sentence or two for each thing that is wrong."""
        return [str(self)]


class UserErrors(UserError):
    """Several things are wrong; the message lists one per line."""

    def __init__(self, problems: Sequence[str]):
        super().__init__("\n  - ".join([f"{len(problems)} problems:", *problems]))
        self._problems = list(problems)

    @property
    def problems(self) -> list[str]:
        """A sentence or two for each thing that is wrong."""
        return self._problems


class Mistakes:
    """Collects problems, so that all of them are reported at once.

    Attributes:
      problems: a sentence or two each.
    """

    def __init__(self, problems: Iterable[str] = ()):
        self.problems = list(problems)

    @contextlib.contextmanager
    def collected(self) -> Iterator[None]:
        """Collects a UserError that is raised in the block. The code after the block runs in any case."""
        try:
            yield
        except UserError as error:
            self.problems += error.problems

    def raise_all(self) -> None:
        """Raises a UserError with all problems, each once, if there are any."""
        problems = list(dict.fromkeys(self.problems))
        if problems:
            raise UserError(problems[0]) if len(problems) == 1 else UserErrors(problems)


def nearest(word: str, known: Iterable[str]) -> str:
    """Returns " Did you mean 'x'?" with the word of `known` that is closest in spelling, or an empty string."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else ""


def clear_line() -> str:
    """Returns the characters that clear a progress bar from a terminal's current line; empty for a log."""
    return "\x1b[2K\r" if sys.stderr.isatty() and os.environ.get("TERM") != "dumb" else ""


def exit_on_user_error(main: Callable[[], int | None]) -> int:
    """Runs `main` and returns the exit code.

    A UserError is printed to stderr without a traceback, and the exit code is 2; so is what a disk refuses. Any other
    exception is printed with its traceback. Its exit code is 2 as well, because Python's usual 1 means "finished, but
    ..." for these commands. Ctrl-C and SIGTERM end with a word and the exit codes that shells use for them.
    """
    with shown_output():
        return _ended(main)


def _ended(main: Callable[[], int | None]) -> int:
    try:
        with _terminable(), interrupts.sent_again():
            return main() or 0
    except UserError as error:
        print(f"{clear_line()}error: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print(f"{clear_line()}interrupted", file=sys.stderr)
        return INTERRUPTED
    except Terminated:
        print(f"{clear_line()}terminated", file=sys.stderr)
        return TERMINATED
    except Exception as error:
        if message := disk.refusal(error):
            print(f"{clear_line()}error: {message}", file=sys.stderr)
        else:
            traceback.print_exc()
    return 2


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Turns SIGTERM into `Terminated`, in the main thread of a process that does not handle it already."""
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _terminate(number: int, frame: Any) -> NoReturn:
    del number, frame
    raise Terminated
