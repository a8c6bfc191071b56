"""Ctrl-C and SIGTERM always end a command, also if Python ignores the exceptions that they raise.

Python calls hooks at a fork, finalisers and callbacks of weak references from places that cannot fail: an exception in
them is printed and forgotten, and the command would go on as if it had never come.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

INTERRUPTED = 130  # 128 and the number of SIGINT
TERMINATED = 143  # 128 and the number of SIGTERM
BOTH = (signal.SIGINT, signal.SIGTERM)
LEFT_ALONE = (None, signal.SIG_IGN)  # handlers that stay: of another library, or of a command in the background
WORDS = {signal.SIGINT: b"interrupted\n", signal.SIGTERM: b"terminated\n"}
AGAIN_SECONDS = 0.05  # until a signal that was lost is sent again: its hook or finaliser has ended by then
_stderr = 2  # file descriptor for the words of `end_at_once`


def speak_to(stderr: int) -> None:
    """Has the words of `end_at_once` written to this file descriptor."""
    global _stderr
    _stderr = stderr


class Terminated(SystemExit):
    """The process was told to end by SIGTERM. Like Ctrl-C, it passes through what is running, which cleans up."""

    def __init__(self) -> None:
        super().__init__(TERMINATED)


class Interrupted(SystemExit):
    """Ctrl-C, in a form that libraries for command lines let pass."""

    def __init__(self) -> None:
        super().__init__(INTERRUPTED)


@contextlib.contextmanager
def postponed() -> Iterator[None]:
    """Holds both signals back until the block ends, and keeps them from child processes that start in it.

    A child that is to handle them calls `admit` once it is ready. Does nothing outside of the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []
    parent = os.getpid()

    def note(number: int, frame: FrameType | None) -> None:
        del frame
        if os.getpid() == parent:
            arrived.append(number)
        elif number == signal.SIGTERM:
            os._exit(TERMINATED)

    # Blocking is for the children, of any kind. It is not enough here: another thread takes the signal.
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, BOTH)
    handlers = {number: signal.signal(number, note) for number in BOTH if signal.getsignal(number) is not None}
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)  # what waited comes to `note`
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for each in arrived:  # until a handler raises an exception
            signal.raise_signal(each)


def admit() -> None:
    """Makes a worker process ignore Ctrl-C, which its parent handles, and end by SIGTERM."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, BOTH)


def end_at_once(number: int, frame: FrameType | None) -> None:
    """Handles a signal by the end of the process."""
    del frame
    os.write(_stderr, WORDS[signal.Signals(number)])
    os._exit(128 + number)


@contextlib.contextmanager
def at_once() -> Iterator[None]:
    """Ends the process at once if one of the signals comes, with its word and exit code.

    For everything before a command begins to work, see `errors.exit_on_user_error`: nothing is written yet, and modules
    turn exceptions while they are imported into errors of their own. A signal that the process ignores stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {
        number: signal.signal(number, end_at_once) for number in BOTH if signal.getsignal(number) not in LEFT_ALONE
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def sent_again() -> Iterator[None]:
    """Sends a signal again if Python ignored its exception."""
    before = sys.unraisablehook

    def hook(lost: Any) -> None:
        number = {KeyboardInterrupt: signal.SIGINT, Terminated: signal.SIGTERM}.get(lost.exc_type)
        if number is None:
            before(lost)
            return
        timer = threading.Timer(AGAIN_SECONDS, os.kill, (os.getpid(), number))
        timer.daemon = True
        timer.start()

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before
