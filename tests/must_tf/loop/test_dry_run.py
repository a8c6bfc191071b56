"""`--dry_run` estimates minutes, gigabytes and memory from a few images, and writes nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml

from must_tf.common.errors import UserError
from must_tf.data import manifest
from must_tf.loop import command, facts, pace, run, steps
from must_tf.loop import plan as plan_lib
from must_tf.loop.plan import PlannedDataset
from tests.support import tiny

RATE = 8.0  # images per second of every training
STEPS = ("convert", "teacher", "label", "student")


@pytest.fixture(autouse=True)
def few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rendering scenes takes most of these tests' time."""
    monkeypatch.setattr(facts, "SAMPLED", 2)


@pytest.fixture(name="plan")
def plan_fixture(tmp_path: Path) -> str:
    """A plan of 400 generated scenes with labels and 100 without."""
    scenes = {"format": "scenes", "seed": 1}
    plan = {
        "out": str(tmp_path / "out"),
        "datasets": {
            "kinds": {**scenes, "domain": "classification", "count": 400, "validation": 0.25},
            "wild": {**scenes, "domain": "wild", "count": 100},
        },
        "teachers": {"classification": {"steps": 60}},
        "student": {"steps": 120},
        "compare": {"longer": {"steps": 240}},
        "settings": {"task": tiny.CONFIG["task"]},
    }
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump(plan))
    return str(path)


def test_costs_follow_from_the_measured_rate(
    plan: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained: list[dict] = []

    def call(words: Iterable[str]) -> float:
        given = dict(word.lstrip("-").split("=", 1) for word in words if "=" in word)
        assert given["mode"] == "train"
        values = yaml.safe_load(Path(given["config_file"]).read_text())
        trained.append(values)
        for pattern in values["task"]["train_data"]["input_path"]:
            assert manifest.read(os.path.dirname(pattern)).records == facts.SAMPLED
        os.makedirs(given["model_dir"])
        with open(os.path.join(given["model_dir"], "metrics.jsonl"), "w") as file:
            json.dump({"step": 12, "images_per_second": RATE}, file)
        return 1.5

    monkeypatch.setattr(pace, "_call", call)
    monkeypatch.setattr(steps.subprocesses, "follow", lambda *_: pytest.fail("a step was run"))
    with pytest.raises(UserError, match="--until 'studnet' is not a step. Did you mean 'student'"):
        command.execute(command.RunFlags(plan, dry_run=True, until="studnet"))
    assert command.execute(command.RunFlags(plan, dry_run=True)) == 0
    assert not (tmp_path / "out").exists()
    assert [values["trainer"]["train_steps"] for values in trained] == [12, 12, 12]
    table = capsys.readouterr().out.rpartition("GB of memory")[2]
    costs = {" ".join(line.split()[:-3]): line.split()[-3:] for line in table.splitlines() if line.startswith(STEPS)}
    # 60 steps of 2 images, and 4 evaluations of 100 images at a third of the cost.
    assert costs["teacher-classification"] == [f"{(120 + 400 / 3) / RATE / 60:.2f}", "-", "1.50"]
    assert costs["student"] == [f"{(240 + 400 / 3) / RATE / 60:.2f}", "-", "1.50"]
    assert costs["student longer"] == [f"{(480 + 400 / 3) / RATE / 60:.2f}", "-", "1.50"]
    assert costs["label wild"] == [f"{100 / 3 / RATE / 60:.2f}", "-", "-"]
    assert costs["convert kinds"][1] != "-"


def test_a_training_of_hours_takes_hours() -> None:
    """As the other students do, unless they have steps of their own."""
    datasets = {"kinds": {"format": "classes", "root": "kinds"}}
    more = {"student": {"hours": 2}, "compare": {"alike": {}, "short": {"steps": 20}}}
    plan = plan_lib.Reader("plan.yaml", {"out": "o", "datasets": datasets, **more}).plan()
    assert pace.planned_minutes(plan) == {"student": 120, "student alike": 120}


def test_a_sample_has_the_labels_of_its_dataset(tmp_path: Path) -> None:
    options = {"domain": "geometry", "count": 100, "seed": 1}
    facts.write_sample(PlannedDataset("x", "scenes", options), str(tmp_path / "x"))
    described = manifest.read(str(tmp_path / "x"))
    assert described.origins["depth"] == {"real:scenes-geometry": facts.SAMPLED}
    found = facts.of_source(PlannedDataset("x", "scenes", options), "x")
    assert (found.images, found.side) == (100, 128)
    assert found.labelled == {"depth": 100, "normals": 100}


def test_a_full_disk_is_noticed_before_any_work(plan: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    monkeypatch.setattr(steps.subprocesses, "follow", lambda *_: pytest.fail("a step was run"))
    with pytest.raises(UserError, match="the records need about .* GB, but 0.0 GB are free"):
        command.execute(command.RunFlags(plan))
