"""What the time from the start of a process to its first steps goes to, for the run's log.

Imported before TensorFlow, whose import is the first phase.
"""

from __future__ import annotations

import itertools
import time

from must_tf.common.progress import clock

_ended = {"": time.monotonic()}  # phase -> when; first the process's start


def begin() -> None:
    """All is imported. A further run of the same process starts now: it has nothing to import."""
    now = time.monotonic()
    start = _ended[""] if len(_ended) == 1 else now
    _ended.clear()
    _ended.update({"": start, "imports": now})


def ended(phase: str) -> None:
    """A phase has ended, and the next begun. Each is noted once in a run."""
    _ended.setdefault(phase, time.monotonic())


def said(steps: int) -> str:
    """One line: how long it took to the end of the first `steps` steps, and each phase's seconds."""
    pairs = itertools.pairwise(_ended.items())
    phases = [f"{phase} {end - before:.1f} s" for (_, before), (phase, end) in pairs]
    what = "first step" if steps == 1 else f"first {steps} steps"
    return f"{what} after {clock(time.monotonic() - _ended[''])}: {', '.join(phases)}"
