"""Measures the phases between the start of a process and its first training steps, for the log.

It is imported before TensorFlow, because that import is the first phase.
"""

from __future__ import annotations

import itertools
import time

from must_tf.common.progress import clock

_ended = {"": time.monotonic()}  # {phase: time of its end}; the first entry is the start of the process


def restart() -> None:
    """Forgets everything: the process starts now, as a fork of one that has imported all."""
    _ended.clear()
    _ended[""] = time.monotonic()


def begin() -> None:
    """Ends the phase of imports and forgets all others. A second run in the same process has nothing to import."""
    now = time.monotonic()
    start = _ended[""] if len(_ended) == 1 else now
    _ended.clear()
    _ended.update({"": start, "imports": now})


def ended(phase: str) -> None:
    """Marks the end of a phase. Only the first call for a phase counts."""
    _ended.setdefault(phase, time.monotonic())


def line(steps: int) -> str:
    """Returns a line with the time until the end of the first `steps` steps, and the seconds of each phase."""
    pairs = itertools.pairwise(_ended.items())
    phases = [f"{phase} {end - before:.1f} s" for (_, before), (phase, end) in pairs]
    what = "first step" if steps == 1 else f"first {steps} steps"
    return f"{what} after {clock(time.monotonic() - _ended[''])}: {', '.join(phases)}"
