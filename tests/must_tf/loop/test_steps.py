"""Steps that run at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from must_tf.common.errors import UserError
from must_tf.loop import steps
from must_tf.loop.steps import Step, StepRunner

SECONDS = 20  # after which a test that waits for another thread fails


def played(monkeypatch: pytest.MonkeyPatch, play: Callable[[str], int]) -> None:
    """Plays the steps: calls `play` with a step's first word, which returns the exit code."""

    def follow(words: Sequence[str], log: str, name: str = "") -> int:
        Path(log).parent.mkdir(parents=True, exist_ok=True)
        Path(log).touch()
        assert name == words[3]
        code = play(words[3])
        Path(words[-1]).mkdir(parents=True, exist_ok=True)
        return code

    monkeypatch.setattr(steps.subprocesses, "follow", follow)


def test_steps_run_at_once_but_after_what_each_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meeting = threading.Barrier(2)  # the first two steps get here only together
    ended: list[str] = []

    def play(name: str) -> int:
        if name in ("teacher-a", "teacher-b"):
            meeting.wait(SECONDS)
        if name == "label":
            assert {"teacher-a", "teacher-b"} <= {*ended}
        ended.append(name)
        return 0

    played(monkeypatch, play)
    out = {name: str(tmp_path / name) for name in ("teacher-a", "teacher-b", "label", "student")}
    needs = {"label": ("teacher-a", "teacher-b"), "student": ("label",)}
    plan = [
        (f"{place}/4", Step(name, (name, path), path, needs=tuple(out[need] for need in needs.get(name, ()))))
        for place, (name, path) in enumerate(out.items(), 1)
    ]
    runner = StepRunner(str(tmp_path))
    runner.run_all(plan, 3)
    assert ended[2:] == ["label", "student"] and {*runner.seconds} == {*out}
    StepRunner(str(tmp_path)).run_all(plan, 3)  # done already, also for another process
    assert len(ended) == 4


def test_a_step_that_fails_ends_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running, told = threading.Event(), threading.Event()

    def play(name: str) -> int:
        if name == "fails":
            assert running.wait(SECONDS)
            return 2
        running.set()
        return -15 if told.wait(SECONDS) else 0

    played(monkeypatch, play)
    monkeypatch.setattr(steps.subprocesses, "end_all", told.set)
    runner = StepRunner(str(tmp_path))
    plan = [(name, Step(name, (name, str(tmp_path / name)), str(tmp_path / name))) for name in ("fails", "runs")]
    with pytest.raises(UserError, match="step 'fails' failed with exit code 2"):
        runner.run_all(plan, 2)
    assert told.is_set() and runner.seconds == {}
