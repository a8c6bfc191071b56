"""Progress of a long job in a log and in a terminal."""

from __future__ import annotations

import re
import threading

import pytest

from must_tf.common import progress


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that the test sets."""
    seconds = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: seconds[0])
    return seconds


def test_rate_and_time_left_are_of_what_was_done_since_the_start(
    now: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    line = progress.Progress(100, "label", done=40)
    line.advance(0)
    now[0] = 5.0
    line.advance(5)
    now[0] = 10.0
    line.advance(15)
    assert capsys.readouterr().err == "label 60/100 images · 3.0 images/s · 0:13 left\n"


def test_nothing_has_no_rate(now: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    """All was done before: "0.0 images/s" would look like a fault."""
    line = progress.Progress(100, "label", done=100)
    now[0] = 1.0
    line.close()
    assert capsys.readouterr().err == "label 100/100 images · 0:01\n"


def test_every_line_can_be_told_from_other_output(now: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    """By " · ", without which `must run` would keep it from the terminal, also while nothing is counted yet."""
    line = progress.Progress(100, "label")
    for count in (0, 0, 10, 0, 10):
        now[0] += 30.0
        line.advance(count)
    line.close()
    assert [each.split(" · ", 1)[1] for each in capsys.readouterr().err.splitlines()] == [
        "0:30 so far",
        "1:00 so far",
        "1:30 so far",
        "2:00 so far",
        "0.2 images/s · 8:00 left",
        "0.2 images/s · 8:00 left",
    ]


def test_what_comes_before_the_first_count_does_not_come_again(
    now: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    """A minute to load weights, 8 images, then 4 images a second. The last line has the time of it all.

    Worker processes are asked while they start, and have nothing to count.
    """
    line = progress.Progress(128, "label")
    line.advance(0)
    now[0] = 60.0
    line.advance(8)
    now[0] = 80.0
    line.advance(80)
    now[0] = 90.0
    line.advance(40)
    line.close()
    first, *others = capsys.readouterr().err.splitlines()
    assert first == "label 8/128 images · 1:00 so far"
    assert [each.split(" · ", 1)[1] for each in others] == [
        "4.0 images/s · 0:10 left",
        "1.4 images/s · 1:30",
    ]


def test_a_log_has_a_line_every_ten_seconds_and_the_last_one_once(
    now: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    line = progress.Progress(40, "convert", "records")
    for _ in range(40):
        now[0] += 1.0
        line.advance()
    line.close("done")
    assert [each.split(" · ")[0] for each in capsys.readouterr().err.splitlines()] == [
        "convert 10/40 records",
        "convert 20/40 records",
        "convert 30/40 records",
        "convert 40/40 records",
    ]


@pytest.mark.parametrize(("seconds", "said"), [(0.4, "0:00"), (61, "1:01"), (3600, "1:00:00"), (36_061.4, "10:01:01")])
def test_seconds_are_a_clock(seconds: float, said: str) -> None:
    assert progress.clock(seconds) == said


def test_a_terminal_shows_a_bar_in_one_line(
    now: list[float], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every update replaces the line and fits the width; the last one ends it. No thread is started."""
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    threads = threading.active_count()
    line = progress.Progress(100, "label", done=0)
    for _ in range(2):
        now[0] += 5.0
        line.advance(25, "a note that is longer than what is left of the line")
    line.close()
    shown = capsys.readouterr().err
    updates = shown.split("\x1b[2K")
    assert len(updates) == 4 and not updates[0] and shown.count("\n") == 1 and shown.endswith("\n")
    plain = [re.sub(r"\x1b\[[0-9;]*m", "", update) for update in updates[1:]]
    assert all(len(update.rstrip("\r\n")) <= 80 for update in plain)
    assert all(update.startswith("label ━") for update in plain)
    assert "50/100 images · 5.0 images/s · 0:10 left" in plain[1]
    assert [update.count("━") > 0 for update in plain] == [True] * 3
    assert threading.active_count() == threads
