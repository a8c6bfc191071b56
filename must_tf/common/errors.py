"""UserError, the exception for everything that the user can fix, and how commands end on it."""

from __future__ import annotations

import contextlib
import difflib
import io
import os
import select
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NoReturn

from must_tf.common import disk, interrupts, missing
from must_tf.common.interrupts import INTERRUPTED as INTERRUPTED
from must_tf.common.interrupts import TERMINATED as TERMINATED
from must_tf.common.interrupts import Interrupted as Interrupted
from must_tf.common.interrupts import Terminated as Terminated
from must_tf.common.text import shown_output

PIPE_CLOSED = 141  # 128 and the number of SIGPIPE: the program that reads the output, like `head`, has ended

MOST_SHOWN = 18  # problems in a message, which has 20 lines then
NEIGHBOURS = 5  # words that may be equally close to a wrong one
REASON_SHOWN = 200  # characters of an error without words of its own


class OutputClosed(Exception):
    """The program that reads the output has ended: `BrokenPipeError` in a form that command line libraries let pass."""


@contextlib.contextmanager
def kept_from_click() -> Iterator[None]:
    """Changes exceptions that click would turn into an exit code of its own."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted from None
    except BrokenPipeError as error:
        raise OutputClosed from error


class UserError(Exception):
    """Something that the user gave is wrong. The message says what, where, and how to fix it."""

    @property
    def problems(self) -> list[str]:
        """A sentence or two for each thing that is wrong."""
        return [str(self)]


class UserErrors(UserError):
    """Several things are wrong; the message lists one per line, or the first of very many."""

    def __init__(self, problems: Sequence[str]):
        shown = list(problems)
        if len(problems) > MOST_SHOWN:
            shown[MOST_SHOWN:] = [f"and {len(problems) - MOST_SHOWN} more. Fix these first."]
        super().__init__("\n  - ".join([f"{len(problems)} problems:", *shown]))
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
    best = _closest(word, known)
    return f" Did you mean {best!r}?" if best else ""


def _closest(word: str, known: Iterable[str]) -> str:
    """Returns the word of `known` that is closest in spelling; of equally close ones that with the longest same start,
    as AP50 for AP5O; "" if none is close."""
    close = difflib.get_close_matches(word, list(known), n=NEIGHBOURS, cutoff=0.5)
    ratio = {each: difflib.SequenceMatcher(None, each, word).ratio() for each in close}
    return max(close, key=lambda each: (ratio[each], len(os.path.commonprefix([each, word]))), default="")


def nearest_path(path: str, only_folders: bool = False) -> str:
    """Returns " Did you mean 'runs/x'?" with the neighbour closest in spelling to a path that does not exist, or "".

    Args:
      path: local, or remote with "://".
      only_folders: files are not suggested.
    """
    folder, name = os.path.split(path.rstrip("/"))
    if "://" in path:
        import tensorflow as tf  # here: local files need none of it

        names = tf.io.gfile.listdir(folder) if tf.io.gfile.isdir(folder) else []
        names = [each.rstrip("/") for each in names if each.endswith("/") or not only_folders]
    else:
        names = os.listdir(folder or ".") if os.path.isdir(folder or ".") else []
        names = [each for each in names if not only_folders or os.path.isdir(os.path.join(folder, each))]
    known = {each: os.path.join(folder, each) for each in names if each != name}
    best = _closest(name, known)
    return f" Did you mean {known[best]!r}?" if best else ""


def clear_line() -> str:
    """Returns the characters that clear a progress bar from a terminal's current line; empty for a log."""
    return "\x1b[2K\r" if sys.stderr.isatty() and os.environ.get("TERM") != "dumb" else ""


def exit_on_user_error(main: Callable[[], int | None]) -> int:
    """Runs `main` and returns the exit code.

    A UserError is printed to stderr without a traceback, and the exit code is 2; so are what a disk refuses and a
    package that is not installed. Any other exception is printed with its traceback. Its exit code is 2 as well,
    because Python's usual 1 means "finished, but ..." for these commands. Ctrl-C and SIGTERM end with a word and the
    exit codes that shells use for them. What a disk refused just before is printed as well, and so are files that could
    not be written or removed afterwards.
    """
    with shown_output():
        return _ended(main)


def _ended(main: Callable[[], int | None]) -> int:
    signals: list[int] = []
    try:
        with _handled(signals), interrupts.sent_again(), _written():
            return main() or 0
    except (KeyboardInterrupt, Interrupted) as error:
        return _stopped(signal.SIGINT, error)
    except Terminated as error:
        return _stopped(signal.SIGTERM, error)
    except Exception as error:
        return _stopped(signals[0], error) if signals else _failed(error)


def _stopped(number: int, error: BaseException) -> int:
    if message := _beside_a_signal(error):
        print(f"{clear_line()}error: {message}", file=sys.stderr)
    print(f"{clear_line()}{interrupts.WORDS[signal.Signals(number)].decode()}", end="", file=sys.stderr)
    return 128 + number


def _beside_a_signal(error: BaseException) -> str:
    """Returns what went wrong beside a signal; "" if nothing did.

    Other errors are most likely the signal's exception, which a library turned into one of its own.
    """
    chain = [error]
    while chain[-1].__context__ is not None:  # what was handled as the next one was raised
        chain.append(chain[-1].__context__)
    for each in chain:
        if message := disk.refusal(each):
            return message
    is_of_a_file = isinstance(error, OSError) or type(error).__module__.startswith("tensorflow")
    if is_of_a_file and any(isinstance(each, KeyboardInterrupt | Interrupted | Terminated) for each in chain[1:]):
        return f"{type(error).__name__}: {' '.join(str(getattr(error, 'message', '') or error).split())[:REASON_SHOWN]}"
    return ""


def _failed(error: Exception) -> int:
    if isinstance(error, UserError):
        print(f"{clear_line()}error: {error}", file=sys.stderr)
    elif _is_output_lost() and isinstance(error, BrokenPipeError | OutputClosed):
        return PIPE_CLOSED
    elif isinstance(error, UnicodeEncodeError) and (name := _unwritable(error)):
        print(f"{clear_line()}error: the name {name!r} is not valid UTF-8. Rename the file or folder.", file=sys.stderr)
    elif message := (
        disk.refusal(error) or disk.vanished(error) or disk.without_file_system(error) or missing.remedy(error)
    ):
        print(f"{clear_line()}error: {message}", file=sys.stderr)
    else:
        traceback.print_exception(error)
    return 2


def _unwritable(error: UnicodeEncodeError) -> str:
    """Returns the text that could not be encoded, if Python made it of the bytes of a name; "" otherwise."""
    found = error.object[error.start : error.end]
    return error.object if all("\udc80" <= character <= "\udcff" for character in found) else ""


@contextlib.contextmanager
def _written() -> Iterator[None]:
    """Writes all output before the command ends: an error of a full disk or a closed pipe is the command's."""
    try:
        yield
    except SystemExit:
        with disk.naming("the output"):
            sys.stdout.flush()
        raise
    with disk.naming("the output"):
        sys.stdout.flush()


def _is_output_lost() -> bool:
    """Returns True if the output cannot be written, and drops what is left of it: Python would try again at its end."""
    try:
        sys.stdout.flush()
        events = select.poll()
        events.register(sys.stdout.fileno(), 0)
        is_lost = any(event & select.POLLERR for _, event in events.poll(0))
    except io.UnsupportedOperation:  # it is no file
        return False
    except OSError:
        is_lost = True
    if is_lost:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return is_lost


@contextlib.contextmanager
def _handled(signals: list[int]) -> Iterator[None]:
    """Turns both signals into exceptions, in the main thread of a process that does not handle them already.

    From here on a command may have something to clean up; before, both signals ended it at once.

    Args:
      signals: gets the numbers of those that came.
    """
    is_main = threading.current_thread() is threading.main_thread()
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    handlers = {number: signal.getsignal(number) for number in usual if is_main}
    before = {number: each for number, each in handlers.items() if each in (usual[number], interrupts.end_at_once)}

    def handle(number: int, frame: Any) -> NoReturn:
        del frame
        signals.append(number)
        raise KeyboardInterrupt if number == signal.SIGINT else Terminated

    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, each in before.items():
            signal.signal(number, each)
