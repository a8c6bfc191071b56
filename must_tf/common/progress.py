"""One line of progress: how far, how fast, how long still."""

from __future__ import annotations

import sys
import time


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss or m:ss."""
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Progress:
    """Rewrites its line on a terminal; elsewhere (logs, CI) writes a new one every ten seconds."""

    def __init__(self, total: int, what: str, unit: str = "images", done: int = 0):
        self._total, self._what, self._unit = total, what, unit
        self._start_count = self._done = done
        self._start = self._shown = time.monotonic()
        self._terminal = sys.stderr.isatty()

    def advance(self, count: int = 1, note: str = "") -> None:
        """`count` more are done; `note` is shown behind the figures."""
        self._done += count
        if self._done >= self._total and not self._terminal:
            return  # the last line is `close`'s
        pause = 0.2 if self._terminal else 10.0
        if time.monotonic() - self._shown >= pause:
            self._show(note, "\r" if self._terminal else "\n")

    def close(self, note: str = "") -> None:
        """The last line, with the whole time."""
        self._show(note, "\n")

    def _show(self, note: str, end: str) -> None:
        self._shown = time.monotonic()
        passed = max(self._shown - self._start, 1e-6)
        rate = (self._done - self._start_count) / passed
        left = (
            clock((self._total - self._done) / rate) + " left" if rate and self._done < self._total else clock(passed)
        )
        line = f"{self._what} {self._done}/{self._total} {self._unit} · {rate:.1f} {self._unit}/s · {left}"
        line = f"{line} · {note}" if note else line
        print(line.ljust(100) if self._terminal else line, end=end, file=sys.stderr, flush=True)
