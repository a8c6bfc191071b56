"""Teachers that a process has loaded."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from tfrecords_tools.label import job
from tfrecords_tools.teachers import About


class Described(NamedTuple):
    """A teacher that notes when it is loaded."""

    about: About
    loads: list[str]

    def load(self) -> Any:
        """Returns its name instead of a network."""
        self.loads.append(self.about.path)
        return self.about.path


def test_teachers_are_kept_for_the_next_dataset(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those that it does not need, up to a number; a teacher that has trained on is loaded again."""
    monkeypatch.setattr(job, "_loaded", {})
    loads: list[str] = []
    teachers = {name: Described(About(name, ("depth",), name, {}), loads) for name in "abcdefg"}
    assert job.loaded([teachers["a"], teachers["b"]]) == ["a", "b"]
    assert job.loaded([teachers["c"]]) == ["c"]
    assert job.loaded([teachers["b"], teachers["a"]]) == ["b", "a"]
    assert loads == ["a", "b", "c"]
    trained_on = teachers["a"]._replace(about=teachers["a"].about._replace(id="later"))
    job.loaded([trained_on])
    assert loads == ["a", "b", "c", "a"]
    job.loaded([teachers[name] for name in "abcdefg"])  # more than are kept
    assert loads[4:] == ["d", "e", "f", "g"]
