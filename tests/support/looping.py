"""Runs the steps of a plan in this process: importing TensorFlow for each of them would take most of a test's time."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from must_tf.cli import export, train
from must_tf.common.errors import exit_on_user_error
from must_tf.common.shared_process import SharedProcess
from must_tf.loop import steps
from tests.support.converting import must_records

COMMANDS = {"train": train.main, "export": export.main}


def call(words: Sequence[str]) -> int:
    """Runs `must WORDS` in this process; returns its exit code."""
    name, *rest = words
    if name in COMMANDS:
        return exit_on_user_error(lambda: COMMANDS[name](rest))
    with pytest.MonkeyPatch.context() as patch:
        return must_records([name, *rest], patch)


def in_this_process(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Makes `must run` call its steps in this process. Returns the list of their words, which grows with each call."""
    called: list[list[str]] = []

    def follow(words: Sequence[str], log: str, name: str = "", jobs: int = 1) -> int:
        assert list(words[:3]) == [sys.executable, "-m", "must_tf"]
        called.append(list(words[3:]))
        Path(log).parent.mkdir(parents=True, exist_ok=True)
        Path(log).write_text("the log\n")
        return call(words[3:])

    monkeypatch.setattr(steps.subprocesses, "follow", follow)
    not_shared(monkeypatch)
    return called


def not_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes `must run` call the steps that share a process like the others."""

    def follow(self: SharedProcess, words: Sequence[str], log: str, name: str, jobs: int = 1) -> int:
        return steps.subprocesses.follow([sys.executable, "-m", "must_tf", *words], log, name, jobs)

    monkeypatch.setattr(SharedProcess, "follow", follow)
