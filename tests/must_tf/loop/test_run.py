"""A small plan is executed, interrupted, continued and changed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from must_tf.common.errors import UserError
from must_tf.data import manifest, record
from must_tf.loop import command, run
from tests.support import tiny
from tests.support.looping import in_this_process

RUN = command.RunFlags


def plan_file(folder: Path, **changes: Any) -> str:
    """Writes a plan of three tiny datasets and returns its path."""
    scenes = {"format": "scenes", "seed": 1, "validation": False}
    plan = {
        "out": str(folder / "out"),
        "datasets": {
            "rooms": {**scenes, "domain": "geometry", "count": 4},
            "kinds": {**scenes, "domain": "classification", "count": 3},
            "wild": {**scenes, "domain": "wild", "count": 3, "validation": {"seed": 2, "tasks": "all"}},
        },
        "teachers": {task: {"steps": 2} for task in ("classification", "depth", "normals")},
        "student": {"steps": 3},
        "settings": {**tiny.CONFIG, "trainer": {"optimizer_config": tiny.CONFIG["trainer"]["optimizer_config"]}},
        **changes,
    }
    path = folder / "plan.yaml"
    path.write_text(yaml.safe_dump(plan))
    return str(path)


@pytest.fixture(name="here")
def here_fixture(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Makes steps run in this process; the list gets their words."""
    return in_this_process(monkeypatch)


def commands(here: list[list[str]]) -> list[str]:
    """Returns the commands that were called since the last look."""
    names = [words[0] for words in here]
    here.clear()
    return names


def test_a_plan_runs_to_its_page_and_is_not_repeated(
    tmp_path: Path, here: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    path = plan_file(tmp_path)
    assert command.execute(RUN(path, force=True)) == 0
    assert commands(here) == ["convert"] * 4 + ["train"] * 3 + ["label"] * 3 + ["train"]
    out = tmp_path / "out"
    for name, lacking in {"rooms": {"classification"}, "kinds": {"depth", "normals"}}.items():
        described = manifest.read(str(out / "records" / f"{name}-labelled"))
        pseudo = {task for task, origins in described.origins.items() if any(map(record.is_pseudo, origins))}
        assert pseudo == lacking
        assert all(sum(origins.values()) == described.records for origins in described.origins.values())
    text = capsys.readouterr().out
    shown = [
        line.split()[0] for line in text.splitlines() if line.startswith(("  classification", "  depth", "  normals"))
    ]
    assert shown == ["classification", "depth", "normals"]
    assert (out / "report.html").stat().st_size > 10_000
    assert command.execute(RUN(path, force=True)) == 0
    assert commands(here) == []
    assert capsys.readouterr().out.count("done already") == 11


def test_a_failed_step_stops_the_plan_and_the_same_command_goes_on(
    tmp_path: Path, here: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = plan_file(tmp_path)
    real = run.subprocesses.follow

    def failing(words: Sequence[str], log: str) -> int:
        return real(words, log) if words[3] == "convert" else (real(words, log), -9)[1]

    monkeypatch.setattr(run.subprocesses, "follow", failing)
    with pytest.raises(UserError, match=r"step 'teacher-classification' was killed by signal 9"):
        command.execute(RUN(path))
    monkeypatch.setattr(run.subprocesses, "follow", real)
    commands(here)
    assert command.execute(RUN(path, until="teacher-depth")) == 0
    assert commands(here) == ["train", "train"]  # the killed one again, which finds itself finished
    assert "is finished: 2 of 2 steps" in capsys.readouterr().out


def test_one_step_only(tmp_path: Path, here: list[list[str]]) -> None:
    path = plan_file(tmp_path)
    assert command.execute(RUN(path, only="convert rooms")) == 0
    assert commands(here) == ["convert"]
    with pytest.raises(UserError, match="'convert room' is not a step. Did you mean 'convert rooms'"):
        command.execute(RUN(path, only="convert room"))


def test_unfit_labels_stop_the_plan(
    tmp_path: Path, here: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = run.subprocesses.follow
    monkeypatch.setattr(run.subprocesses, "follow", lambda words, log: 1 if words[3] == "label" else real(words, log))
    with pytest.raises(UserError, match="unfit to train on, for the reasons above. To train on them, add --force"):
        command.execute(RUN(plan_file(tmp_path)))


def test_a_changed_plan_runs_what_has_changed(tmp_path: Path, here: list[list[str]]) -> None:
    command.execute(RUN(plan_file(tmp_path), until="teacher-classification"))
    commands(here)
    teachers = {"classification": {"steps": 2}, "depth": {"steps": 4}, "normals": {"steps": 2}}
    command.execute(RUN(plan_file(tmp_path, teachers=teachers), until="teacher-depth"))
    assert commands(here) == ["train"]
    params = yaml.safe_load((tmp_path / "out" / "teacher-depth" / "params.yaml").read_text())
    assert params["trainer"]["train_steps"] == 4


def test_hours_become_steps(tmp_path: Path, here: list[list[str]]) -> None:
    path = plan_file(tmp_path, student={"hours": 0.001})
    command.execute(RUN(path, force=True, until="measure the student's pace"))
    metrics = tmp_path / "out" / "pace" / "metrics.jsonl"
    last = json.loads(metrics.read_text().splitlines()[-1])
    # 0.9 * 3.6 s at 50 images a second and 2 images a step are 81 steps, in loops of 20.
    metrics.write_text(json.dumps(last | {"images_per_second": 50.0}) + "\n")
    command.execute(RUN(path, force=True, until="student"))
    params = yaml.safe_load((tmp_path / "out" / "student" / "params.yaml").read_text())
    assert params["trainer"]["train_steps"] == 80
