"""The line about the first steps, with a clock that the test sets."""

from __future__ import annotations

import pytest

from must_tf.common import startup_times


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The current time; the process started at 100."""
    now = [100.0]
    monkeypatch.setattr(startup_times.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(startup_times, "_ended", {"": 100.0})
    return now


def test_phases_add_up_to_the_time_since_the_process_started(clock: list[float]) -> None:
    clock[0] = 106.25
    startup_times.begin()
    for phase, seconds in (("building", 4.5), ("tracing", 8.0), ("tracing", 1.0), ("running", 60.0)):
        clock[0] += seconds  # traced again: that is of the phase after the first trace
        startup_times.ended(phase)
    assert (
        startup_times.line(1) == "first step after 1:20: imports 6.2 s, building 4.5 s, tracing 8.0 s, running 61.0 s"
    )
    assert startup_times.line(100).startswith("first 100 steps after 1:20: ")


def test_a_second_run_of_a_process_starts_anew(clock: list[float]) -> None:
    startup_times.begin()
    startup_times.ended("building")
    clock[0] = 500.0
    startup_times.begin()
    clock[0] = 503.0
    startup_times.ended("building")
    assert startup_times.line(2) == "first 2 steps after 0:03: imports 0.0 s, building 3.0 s"
