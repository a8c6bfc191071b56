"""Progress of a long job on stderr: a bar in a terminal, plain lines in a log."""

from __future__ import annotations

import os
import sys
import time

from must_tf.common.text import shown, unfiltered

BAR_WIDTH = 24  # letters
TERMINAL_SECONDS, LOG_SECONDS = 0.2, 10.0  # between two updates


def clock(seconds: float) -> str:
    """Returns seconds as h:mm:ss or m:ss."""
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Progress:
    """Counts what is done and shows it with the rate and the time left.

    Both are those since the first count, and at the end of the whole: what comes before the first one, such as loading
    weights and building graphs, comes only once, and would make the times left many times too long.

    It starts no thread, because worker processes are forked meanwhile, and it does not touch the cursor's visibility,
    because a job that fails does not close it.
    """

    def __init__(self, total: int, verb: str, unit: str = "images", done: int = 0):
        """Starts the clock.

        Args:
          total: how many there are to do, with those that are done already.
          verb: what is done with them, as "convert".
          unit: what they are.
          done: how many an earlier run did; they do not count for the rate.
        """
        self._total, self._verb, self._unit = total, verb, unit
        self._start_count = self._done = done
        self._start = self._shown = time.monotonic()
        self._first: tuple[float, int] | None = None  # when the first count came, and what was done then
        self._terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    def advance(self, count: int = 1, note: str = "") -> None:
        """Counts `count` more and updates the display if the last update was long enough ago. `note` is shown last."""
        self._done += count
        if count and not self._first:  # worker processes are watched while they start: nothing is counted then
            self._first = time.monotonic(), self._done
        if self._done >= self._total and not self._terminal:
            return  # `close` writes the last line
        pause = TERMINAL_SECONDS if self._terminal else LOG_SECONDS
        if time.monotonic() - self._shown >= pause:
            self._show(note, "\r" if self._terminal else "\n")

    def close(self, note: str = "") -> None:
        """Shows the last state, with the total time."""
        self._show(note, "\n")

    def _show(self, note: str, end: str) -> None:
        self._shown = time.monotonic()
        unfinished = self._done < self._total
        since, count = self._first if self._first and unfinished else (self._start, self._start_count)
        passed = max(self._shown - since, 1e-6)
        rate = (self._done - count) / passed  # 0: nothing was left to do, or nothing is known yet
        pace = f"{rate:.1f} {self._unit}/s" if rate else ""
        left = (
            f"{clock((self._total - self._done) / rate)} left" if rate else f"{clock(self._shown - self._start)} so far"
        )
        parts = [f"{self._done}/{self._total} {self._unit}", pace, left if unfinished else clock(passed), note]
        text = shown(" · ".join(part for part in parts if part))
        line = self._bar(text) if self._terminal else f"{self._verb} {text}"
        print(line, end=end, file=unfiltered(sys.stderr), flush=True)

    def _bar(self, text: str) -> str:
        """Returns a line that replaces the terminal's current one, cut to its width."""
        from rich.console import Console  # here: logs need none of it
        from rich.progress_bar import ProgressBar

        console = Console(file=sys.stderr)
        with console.capture() as capture:
            console.print(ProgressBar(max(self._total, 1), self._done if self._total else 1, width=BAR_WIDTH), end="")
        bar = capture.get().strip("\n").ljust(BAR_WIDTH)  # without colours, rich leaves out the remainder
        room = max(console.width - len(self._verb) - BAR_WIDTH - 2, 0)
        return f"\x1b[2K{self._verb} {bar} {text[:room]}"
