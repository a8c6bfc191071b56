"""The recipe across datasets, run small: three datasets, each completed by the others' teachers."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import math
import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest
import tensorflow as tf
import yaml

from must_tf.common import run_files
from must_tf.data import input as input_lib
from must_tf.data import manifest, record
from must_tf.loop import command, report
from must_tf.runs import restore
from must_tf.tasks import discover
from tests.support.looping import in_this_process
from tests.support.session.graphs import eager_functions, eagerly
from tests.support.tiny import CONFIG, ROOT

IMAGES = {"classification": 6, "detection": 3, "geometry": 4}
MEASURED = 2  # images of the validation set
# By hand: the datasets whose teachers label the missing tasks of a dataset.
COMPLETED = {
    "classification": {"detection": "detection", "masks": "detection", "depth": "geometry"},
    "detection": {"classification": "classification", "depth": "geometry"},
    "geometry": {"classification": "classification", "detection": "detection", "masks": "detection"},
}


REAL = {"classification": ("classification",), "detection": ("detection", "masks"), "geometry": ("depth",)}
TASKS = tuple(task for tasks in REAL.values() for task in tasks)


class Done(NamedTuple):
    """The folder of the finished recipe, the words of its commands, and what it printed."""

    out: Path
    commands: list[list[str]]
    text: str


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """Runs everything up to the student in this process: one training step for teachers, two for the student."""
    folder = tmp_path_factory.mktemp("cross")
    plan = yaml.safe_load((ROOT / "experiments" / "cross.yaml").read_text())
    for name, dataset in plan["datasets"].items():
        dataset["count"] = IMAGES.get(name, MEASURED)
    plan["settings"] = {**CONFIG, "trainer": {"optimizer_config": CONFIG["trainer"]["optimizer_config"]}}
    plan["settings"]["trainer"]["steps_per_loop"] = 1
    for teacher in plan["teachers"].values():
        teacher["steps"] = 1
    plan["student"]["steps"] = 2
    path = folder / "plan.yaml"
    path.write_text(yaml.safe_dump(plan))
    with pytest.MonkeyPatch.context() as monkeypatch:
        commands = in_this_process(monkeypatch)
        monkeypatch.setattr(restore, "load", functools.cache(restore.load))  # two datasets have the same teacher
        with contextlib.redirect_stdout(io.StringIO()) as text, eagerly(), eager_functions():
            assert command.execute(command.RunFlags(str(path), str(folder / "out"), force=True)) == 0
    return Done(folder / "out", commands, text.getvalue())


def examples(done: Done, name: str) -> list[tf.train.Example]:
    """Returns the records of a dataset."""
    files = sorted((done.out / "records" / name).glob("*.tfrecord"))
    return [tf.train.Example.FromString(one) for one in tf.data.TFRecordDataset(files).as_numpy_iterator()]


def test_each_set_is_given_to_the_teachers_of_the_other_two(done: Done) -> None:
    labels = {words[2].split(os.sep)[-2]: words for words in done.commands if words[0] == "label"}
    teachers = {"classification": "classification", "detection": "masks", "geometry": "depth"}
    for name, tasks in COMPLETED.items():
        given = [word for flag, word in zip(labels[name], labels[name][1:], strict=False) if flag == "--teacher"]
        paths = {f"{task}={done.out / f'teacher-{teachers[other]}'}" for task, other in tasks.items()}
        assert set(given) == paths


def test_every_image_has_every_task_and_what_was_real_stays_real(done: Done) -> None:
    teachers: dict[str, set[str]] = {name: set() for name in COMPLETED}  # ids of the images, by dataset
    for name, tasks in COMPLETED.items():
        before = {record.info_of(one).source_id: record.origins_of(one) for one in examples(done, name)}
        after = {record.info_of(one).source_id: record.origins_of(one) for one in examples(done, f"{name}-labelled")}
        assert before.keys() == after.keys() and len(after) == IMAGES[name]
        for source_id, origins in after.items():
            real = dict.fromkeys(REAL[name], f"real:scenes-{name}")
            assert before[source_id] == real
            assert origins.keys() == {"classification", "detection", "masks", "depth"}
            assert real.items() <= origins.items()
            for task, other in tasks.items():
                teachers[other].add(origins[task])
    # One teacher per dataset, for all labelled datasets, and for both tasks of the detection dataset.
    ids = [next(iter(found)) for found in teachers.values() if len(found) == 1]
    assert len(set(ids)) == 3 and all(one.startswith("pseudo:") for one in ids)


def test_every_image_of_the_union_is_as_likely(done: Done) -> None:
    """Each epoch has every image once: datasets are mixed in proportion to their sizes."""
    data = restore.read_config(str(done.out / "student")).train_data
    images = sum(IMAGES.values())
    records = input_lib.records_from(data, input_lib.Start()).take(2 * images)
    ids = [record.info_of(tf.train.Example.FromString(one)).source_id for one in records.as_numpy_iterator()]
    for epoch in (ids[:images], ids[images:]):
        assert len(set(epoch)) == images
        assert Counter(one.split("-")[0] for one in epoch) == IMAGES
        assert sorted(epoch, key=lambda one: list(IMAGES).index(one.split("-")[0])) != epoch
    assert ids[:images] != ids[images:]


def test_the_student_learns_from_all_of_them(done: Done) -> None:
    """Every head learns from real and from pseudo labels, logged separately, and every head is evaluated."""
    lines = [json.loads(line) for line in (done.out / "student" / run_files.METRICS).read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    seen = {name for line in lines for name in line}
    for term in ("classification/cross_entropy", "detection/rpn_score", "depth/silog"):
        assert {f"{term}_real", f"{term}_pseudo"} & seen
        for line in lines:
            parts = [line[name] for name in (f"{term}_real", f"{term}_pseudo") if name in line]
            assert parts and all(map(math.isfinite, parts))
            assert min(parts) * 0.999 <= line[term] <= max(parts) * 1.001  # a weighted mean of both
    figures = json.loads((done.out / "student" / run_files.EVALUATION).read_text())["figures"]
    assert {f"{task}/{discover()[task].Metric.headline}" for task in TASKS} <= figures.keys()
    listed = [manifest.read(os.path.dirname(path)).records for path in restore_paths(done)]
    assert listed == list(IMAGES.values())


def restore_paths(done: Done) -> list[str]:
    """Returns the patterns of the student's training records."""
    return list(restore.read_config(str(done.out / "student")).train_data.input_path)


def test_the_page_and_the_table_are_written(done: Done) -> None:
    assert (done.out / "report.html").stat().st_size > 10_000
    rows = [line.split() for line in done.text.rpartition("task ")[2].splitlines()[1:]]
    shown = [row[0] for row in rows if row and row[0] in discover()]
    assert shown == [task for task in discover() if task in TASKS]
    assert all(len(row) >= 4 for row in rows if row and row[0] in discover())


def test_nothing_is_repeated(done: Done, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        again = in_this_process(monkeypatch)
        monkeypatch.setattr(report, "write", lambda *given: None)
        command.execute(command.RunFlags(str(done.out.parent / "plan.yaml"), str(done.out), force=True))
    assert again == []
    assert capsys.readouterr().out.count("done already") == len(done.commands)
