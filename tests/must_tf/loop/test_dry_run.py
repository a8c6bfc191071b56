"""`--dry_run` estimates minutes, gigabytes and memory from a few images, and writes nothing."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from must_tf.common.errors import Mistakes, UserError
from must_tf.config import yaml_files
from must_tf.data import manifest
from must_tf.loop import command, costs, disk, facts, pace, plan_file, steps
from must_tf.loop.plan import Plan, PlannedDataset
from must_tf.loop.records import Folders, RecordFolder
from must_tf.loop.trainings import Trainings
from tests.support import tiny as tiny_lib
from tests.support.tiny import Tiny
from tfrecords_tools.sources import Sample
from tfrecords_tools.sources.scenes import Scenes
from tfrecords_tools.writing.counts import Account
from tfrecords_tools.writing.items import Item

RATE, START, MEMORY = 8.0, 20.0, 1.5  # images per second and seconds before that, of every training; GB
COMMAND = 10.0  # seconds of a command without a network
CHECKPOINT = 30_000_000  # bytes
STEPS = ("convert", "merge", "teacher", "label", "student", "transfers", "export", "in all")


@pytest.fixture(autouse=True)
def few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rendering scenes takes most of these tests' time."""
    monkeypatch.setattr(facts, "SAMPLED", 2)


@pytest.fixture(name="plan")
def plan_fixture(tmp_path: Path) -> str:
    """A plan of 400 generated scenes with labels, 100 of other classes, and 100 without."""
    scenes = {"format": "scenes", "seed": 1}
    kinds = {**scenes, "domain": "classification"}
    plan = {
        "out": str(tmp_path / "out"),
        "datasets": {
            "kinds": {**kinds, "count": 400, "validation": 0.25},
            "more": {**kinds, "count": 100, "seed": 2, "validation": False, "rename": ["cave=grotto"]},
            "wild": {**scenes, "domain": "wild", "count": 100},
        },
        "teachers": {"classification": {"steps": 60}},
        "student": {"steps": 120},
        "compare": {"longer": {"steps": 240}},
        "transfer": {
            "other": {**kinds, "count": 20, "validation": 0.5, "task": "classification", "steps": 40, "seeds": 2}
        },
        "export": True,
        "settings": {"task": tiny_lib.CONFIG["task"]},
    }
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump(plan))
    return str(path)


def played(trained: list[dict[str, Any]]) -> Callable[..., pace.Call]:
    """Returns a function that plays `must`: trainings only write what is looked at. The list gets their settings."""

    def call(words: Iterable[str], output: str = "") -> pace.Call:
        kind, *rest = words
        if kind != "train":
            return pace.Call(COMMAND, MEMORY, 5e7 if output else 0.0)
        given = dict(word.lstrip("-").split("=", 1) for word in rest if "=" in word)
        assert given["mode"] == "train"
        values = yaml.safe_load(Path(given["config_file"]).read_text())
        trained.append(values)
        os.makedirs(given["model_dir"])
        with open(os.path.join(given["model_dir"], "metrics.jsonl"), "w") as file:
            json.dump({"step": 12, "images_per_second": RATE}, file)
        with open(os.path.join(given["model_dir"], "ckpt-12.data"), "wb") as file:
            file.truncate(CHECKPOINT)
        return pace.Call(START + 24 / RATE, MEMORY)  # 12 steps of 2 images

    return call


def test_costs_follow_from_what_was_measured(
    plan: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained: list[dict[str, Any]] = []
    monkeypatch.setattr(pace, "_call", played(trained))
    monkeypatch.setattr(steps.subprocesses, "follow", lambda *_: pytest.fail("a step was run"))
    with pytest.raises(UserError, match="--until 'studnet' is not a step. Did you mean 'student'"):
        command.execute(command.RunFlags(plan, dry_run=True, until="studnet"))
    assert command.execute(command.RunFlags(plan, dry_run=True)) == 0
    assert not (tmp_path / "out").exists()
    assert [values["trainer"]["train_steps"] for values in trained] == [12, 12, 12]
    steps_shown, _, table = capsys.readouterr().out.rpartition("GB of memory")
    assert "] teacher-classification · 60 steps of 2 images · 128 pixels\n" in steps_shown
    assert "] student · 120 steps of 2 images · 128 pixels\n" in steps_shown
    shown = {" ".join(line.split()[:-3]): line.split()[-3:] for line in table.splitlines() if line.startswith(STEPS)}
    minutes = {name: cells[0] for name, cells in shown.items()}

    def trained_for(images: float) -> float:
        return (START + images / RATE) / 60

    # Steps of 2 images, and 4 evaluations of 100 images at a third of the cost.
    assert minutes["teacher-classification"] == f"{trained_for(120 + 400 / 3):.2f}"
    assert minutes["student"] == f"{trained_for(240 + 400 / 3):.2f}"
    assert minutes["student longer"] == f"{trained_for(480 + 400 / 3):.2f}"
    # Four rows (random weights, the teacher, both students), two seeds, and 10 photos to validate on.
    assert minutes["transfers"] == f"{8 * trained_for(80 + 40 / 3):.2f}"
    assert minutes["label wild"] == f"{COMMAND / 60 + trained_for(100) / 3:.2f}"
    assert minutes["export"] == f"{COMMAND / 60:.2f}"
    assert float(minutes["merge kinds+more"]) >= round(COMMAND / 60, 2)
    # The checkpoints of steps 100 and 120, and the best of the only task.
    assert shown["student"][1:] == ["0.09", "1.50"] and shown["export"][1:] == ["0.05", "1.50"]
    assert all("-" not in cells for cells in shown.values())
    summed = sum(float(cells[0]) for name, cells in shown.items() if name != "in all")
    assert float(minutes["in all"]) == pytest.approx(summed, abs=0.6)


def test_a_training_of_hours_takes_hours() -> None:
    """As the other students do, unless they have steps of their own."""
    datasets = {"kinds": {"format": "classes", "root": "kinds"}}
    more = {"student": {"hours": 2}, "compare": {"alike": {}, "short": {"steps": 20}}}
    plan = plan_file.Reader("plan.yaml", {"out": "o", "datasets": datasets, **more}, Mistakes()).plan()
    assert costs.planned_minutes(plan) == {"student": 120, "student alike": 120}


def test_a_sample_has_the_labels_of_its_dataset(tmp_path: Path) -> None:
    options = {"domain": "geometry", "count": 100, "seed": 1}
    facts.write_sample(PlannedDataset("x", "scenes", options), str(tmp_path / "x"))
    described = manifest.read(str(tmp_path / "x"))
    assert described.origins["depth"] == {"real:scenes-geometry": facts.SAMPLED}
    found = facts.of_source(PlannedDataset("x", "scenes", options), "x")
    assert (found.images, found.side) == (100, 128)
    assert found.labelled == {"depth": 100, "normals": 100} and not found.objects


def test_only_a_few_generated_images_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Making them takes a while, and they are alike. A dry run trains on as many as of other datasets."""
    monkeypatch.setattr(facts, "SAMPLED", 4)
    monkeypatch.setattr(facts, "GENERATED", 2)
    loaded: list[str] = []
    load = Scenes.load

    def counted(self: Scenes, item: Item, account: Account) -> Sample:
        loaded.append(item.source_id)
        return load(self, item, account)

    monkeypatch.setattr(Scenes, "load", counted)
    options = {"domain": "geometry", "count": 100, "seed": 1}
    facts.of_source(PlannedDataset("x", "scenes", options), "x")
    assert loaded == ["geometry-1-0", "geometry-1-50"]
    facts.write_sample(PlannedDataset("x", "scenes", options), str(tmp_path / "x"))
    assert manifest.read(str(tmp_path / "x")).records == 4


def test_objects_are_counted_in_the_fullest_image(tiny: Tiny) -> None:
    """Before the conversion and after it."""
    described = facts.of_records(tiny.records)
    assert 2 <= described.objects < sum(manifest.read(tiny.records).objects["detection"].values())
    options = {"domain": "detection", "count": 8, "seed": 1}
    found = facts.of_source(PlannedDataset("x", "scenes", options), "x")
    assert 2 <= found.objects <= 20


@pytest.mark.parametrize(("free", "counted"), [(1000, 0), (10**9, 1)], ids=["records", "checkpoints"])
def test_a_full_disk_is_noticed_before_any_work(
    plan: str, free: int, counted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The records alone, or with the checkpoints of a network of 100 million parameters."""
    built: list[Any] = []

    def parameters(*given: Any) -> int:
        built.append(given)
        return 10**8

    monkeypatch.setattr(disk, "parameters", parameters)
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: type("Usage", (), {"free": free}))
    monkeypatch.setattr(steps.subprocesses, "follow", lambda *_: pytest.fail("a step was run"))
    with pytest.raises(UserError) as error:
        command.execute(command.RunFlags(plan))
    assert f"but {free / 1e9:.1f} GB are free" in str(error.value)
    # Of 4 bytes, with AdamW's two values beside each: 8 transfers with 4 checkpoints each.
    assert ("38.4 of them for the step 'transfers'" in str(error.value)) == bool(counted) == bool(built)


def test_a_checkpoint_is_as_large_as_counted(tiny: Tiny) -> None:
    """Momentum keeps one value beside each parameter; the rest of the file is small."""
    folder = RecordFolder("all", tiny.records, facts.of_records(tiny.records))
    trainings = Trainings(Plan("plan.yaml", "o", "", {}), Folders((folder,), ()), {})
    params = yaml_files.read_yaml(os.path.join(tiny.run, "params.yaml"))
    assert params["trainer"]["optimizer_config"]["optimizer"]["type"] == "sgd"
    counted = 2 * disk.FLOAT * disk.parameters(trainings, params)
    (path,) = glob.glob(os.path.join(tiny.run, "ckpt-2.data-*"))
    assert counted == pytest.approx(os.path.getsize(path), rel=0.05)
