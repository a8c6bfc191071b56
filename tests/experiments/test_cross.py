"""The recipe across datasets, run small: three datasets, each completed by the others' teachers."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest
import tensorflow as tf

from experiments import cross, loop, summary
from experiments import plan as plan_lib
from must_tf.cli import train
from must_tf.common import run_files
from must_tf.data import input as input_lib
from must_tf.data import manifest, record
from must_tf.runs import restore
from must_tf.tasks import discover
from tests.support.converting import must_records
from tests.support.tiny import write_config

IMAGES = {"classification": 6, "detection": 3, "geometry": 4}
# By hand: the datasets whose teachers label the missing tasks of a dataset.
COMPLETED = {
    "classification": {"detection": "detection", "masks": "detection", "depth": "geometry"},
    "detection": {"classification": "classification", "depth": "geometry"},
    "geometry": {"classification": "classification", "detection": "detection", "masks": "detection"},
}


class Done(NamedTuple):
    """The finished recipe and its commands."""

    plan: plan_lib.Plan
    commands: list[loop.Command]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """Runs everything up to the student in this process: two training steps for teachers, three for the student."""
    folder = tmp_path_factory.mktemp("cross")
    size = cross.Size(IMAGES, 3, 2, 3, (write_config(folder / "tiny.yaml"),))
    plan = cross.plan(str(folder), size)
    commands = [*loop.prepared(plan), loop.student(plan)]
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name, (_, *words) in commands:
            if words[0].endswith("train.py"):
                train.main(words[1:])
            else:
                assert must_records(words[2:], monkeypatch) == 0, name
    return Done(plan, commands)


def examples(done: Done, name: str) -> list[tf.train.Example]:
    """Returns the records of a dataset."""
    files = sorted(Path(done.plan.path("records", name)).glob("*.tfrecord"))
    return [tf.train.Example.FromString(one) for one in tf.data.TFRecordDataset(files).as_numpy_iterator()]


def test_each_set_is_given_to_the_teachers_of_the_other_two(done: Done) -> None:
    for name, tasks in COMPLETED.items():
        words = dict(done.commands)[f"label: {name}"]
        given = [words[place + 1] for place, word in enumerate(words) if word == "--teacher"]
        assert given == [f"{task}={done.plan.path(f'teacher-{other}')}" for task, other in tasks.items()]


def test_every_image_has_every_task_and_what_was_real_stays_real(done: Done) -> None:
    teachers: dict[str, set[str]] = {name: set() for name in COMPLETED}  # ids of the images, by dataset
    for name, tasks in COMPLETED.items():
        before = {record.info_of(one).source_id: record.origins_of(one) for one in examples(done, name)}
        after = {record.info_of(one).source_id: record.origins_of(one) for one in examples(done, f"{name}-labelled")}
        assert before.keys() == after.keys() and len(after) == IMAGES[name]
        for source_id, origins in after.items():
            real = dict.fromkeys(cross.REAL[name], f"real:scenes-{name}")
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
    data = restore.read_config(done.plan.path("student")).train_data
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
    lines = [json.loads(line) for line in Path(done.plan.path("student"), run_files.METRICS).read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3]
    seen = {name for line in lines for name in line}
    for term in ("classification/cross_entropy", "detection/rpn_score", "depth/silog"):
        assert {f"{term}_real", f"{term}_pseudo"} & seen
        for line in lines:
            parts = [line[name] for name in (f"{term}_real", f"{term}_pseudo") if name in line]
            assert parts and all(map(math.isfinite, parts))
            assert min(parts) * 0.999 <= line[term] <= max(parts) * 1.001  # a weighted mean of both
    figures = plan_lib.evaluation(done.plan, "student")["figures"]
    assert {f"{task}/{discover()[task].Metric.headline}" for task in cross.ALL} <= figures.keys()
    listed = [manifest.read(os.path.dirname(path)).records for path in restore_paths(done)]
    assert listed == list(IMAGES.values())


def restore_paths(done: Done) -> list[str]:
    """Returns the patterns of the student's training records."""
    return list(restore.read_config(done.plan.path("student")).train_data.input_path)


def test_the_table_sets_the_student_beside_the_teachers(done: Done, capsys: pytest.CaptureFixture[str]) -> None:
    summary.write(done.plan, {}, 1.0)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    shown = [row[0] for row in rows if len(row) >= 4 and row[0] in discover()]
    assert shown == ["classification", "detection", "masks", "depth"]
    assert Path(done.plan.path("report.html")).stat().st_size > 10_000
