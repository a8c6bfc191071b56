"""Teachers only add missing labels; a killed run ends with the same bytes."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from must_tf.common import run_files
from must_tf.common.errors import UserError
from must_tf.data import input as input_lib
from must_tf.data import manifest, record
from must_tf.evaluation.evaluator import Evaluator
from must_tf.model.student import StudentConfig, enabled
from must_tf.runs import restore
from must_tf.tasks import discover
from tests.support.session.forked_python import INTERPRETER
from tests.support.tiny import ALL, ROOT, Tiny, scene_record, write_set
from tfrecords_tools import teachers
from tfrecords_tools.label import results
from tfrecords_tools.label.arguments import LabelRequest, parse_request
from tfrecords_tools.label.run import label_records

# The tasks with real labels, image by image, in three files.
REAL_TASKS = (
    (ALL, ("detection",)),
    ((),),
    (("detection", "masks"), ("segmentation", "depth")),
)
# Masks share the objects of detection: a teacher's do not fit real boxes.
STAYS_EMPTY = {1: {"masks"}}
# Labels in a process in which TensorFlow has not computed before. Only there does `parallelism.settle` have its full
# effect, so that the bytes do not depend on the number of threads.
LABEL = f"""
import sys
from tfrecords_tools.label import arguments, run
records, teacher, out = sys.argv[1:]
request = arguments.parse_request(records, [task + "=" + teacher for task in {ALL!r}])
run.label_records(request, out, ["test"])
"""
# The process kills itself between the first and the last record of the last file.
KILLED = f"""
import os, signal
from tfrecords_tools.label import job
whole = job.labelled
def until_killed(path, *rest):
    for record in whole(path, *rest):
        yield record
        if "00002-of" in path:
            os.kill(os.getpid(), signal.SIGKILL)
job.labelled = until_killed
{LABEL}
"""


class LabelledSet(NamedTuple):
    """The records before and after, the origin of the new labels, and the times of the files that a killed run left."""

    source: str
    out: Path
    teacher: str
    before: list[bytes]
    after: list[bytes]
    left: dict[str, int]


def serialized(pattern: str) -> list[bytes]:
    """Returns all records of these files."""
    return list(tf.data.TFRecordDataset(sorted(tf.io.gfile.glob(pattern))).as_numpy_iterator())


def comparable(written: manifest.Manifest) -> manifest.Manifest:
    """Returns the manifest without times and commands, which differ from run to run."""
    teachers = {key: {**entry, "time": ""} for key, entry in written.teachers.items()}
    return dataclasses.replace(written, command=[], teachers=teachers)


def all_tasks(records: str, run: str) -> LabelRequest:
    """Returns the request that one teacher labels all tasks."""
    return parse_request(records, [f"{task}={run}" for task in ALL])


def run_script(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a Python script in a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run([*INTERPRETER, "-c", script, *arguments], capture_output=True, text=True, env=environment)


@pytest.fixture(scope="module")
def labelled(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> LabelledSet:
    """A set with missing labels, completed by a teacher: by a run that is killed within the last file, and another."""
    folder = tmp_path_factory.mktemp("label")
    files, index = [], 0
    for file in REAL_TASKS:
        files.append([scene_record(index + i, tasks) for i, tasks in enumerate(file)])
        index += len(file)
    source = write_set(folder / "in", files)
    out = folder / "out"
    done = run_script(KILLED, source, tiny.run, str(out))
    assert done.returncode == -signal.SIGKILL, done.stderr
    left = {path.name: path.stat().st_mtime_ns for path in out.iterdir() if path.suffix != "" and path.is_file()}
    done = run_script(LABEL, source, tiny.run, str(out))
    assert done.returncode == 0, done.stderr
    teacher = f"pseudo:{restore.identity(tiny.run, restore.read_config(tiny.run))}"
    return LabelledSet(source, out, teacher, serialized(source), serialized(str(out / "*.tfrecord")), left)


def test_missing_labels_are_added_with_their_origin(labelled: LabelledSet) -> None:
    """The origin of existing labels stays real; new labels have the teacher's."""
    real_tasks = [tasks for file in REAL_TASKS for tasks in file]
    assert len(labelled.after) == len(real_tasks)
    for index, (tasks, one) in enumerate(zip(real_tasks, labelled.after, strict=True)):
        expected = {task: "real:scenes" if task in tasks else labelled.teacher for task in ALL}
        expected = {task: origin for task, origin in expected.items() if task not in STAYS_EMPTY.get(index, ())}
        assert record.origins_of(tf.train.Example.FromString(one)) == expected


def test_real_labels_and_pixels_are_untouched(labelled: LabelledSet) -> None:
    """Every feature from before is kept, bit by bit."""
    for before, after in zip(labelled.before, labelled.after, strict=True):
        kept = tf.train.Example.FromString(after).features.feature
        for key, feature in tf.train.Example.FromString(before).features.feature.items():
            assert kept[key] == feature, key
    assert labelled.after[0] == labelled.before[0]  # nothing was missing


def test_the_manifest_counts_what_was_written(labelled: LabelledSet, tiny: Tiny) -> None:
    """By hand from REAL_TASKS: five images, of which two have depth, two have masks, and one never gets masks."""
    written = manifest.read(str(labelled.out))
    assert written.records == 5
    assert written.origins["depth"] == {labelled.teacher: 3, "real:scenes": 2}
    assert written.origins["masks"] == {labelled.teacher: 2, "real:scenes": 2}
    assert written.classes == manifest.read(tiny.records).classes
    request = all_tasks(labelled.source, tiny.run)
    by_task = results.per_task(manifest.read(request.directory), written, request)
    assert by_task["masks"][:1] + by_task["masks"][2:7] == (2, 0, 2, 0, 0, 1)
    assert by_task["depth"] == (3, 0, 0, 2, 0, 0, 0, "")
    (line,) = [one for one in results.lines(by_task, request) if "masks by" in one]
    assert "1 left without labels, because its detection labels come from another source" in line


def test_pseudo_labels_are_no_truth(labelled: LabelledSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On the completed set, depth is measured on the two images with real labels, not on the teacher's."""
    config = StudentConfig(input_size=128, pictures=0)
    config.validation_data.override({"input_path": str(labelled.out / "*.tfrecord"), "global_batch_size": 1})
    config.tasks.depth.enabled = True
    evaluator, reader = Evaluator(config, 5), input_lib.Reader({}, {}, config.input_size)
    for batch in input_lib.evaluation(reader, config.validation_data, 5, None):
        predictions = {"depth": {"metres": tf.ones([1, 32, 32])}}
        evaluator.add({"index": batch["index"], "image_info": batch["image_info"], "predictions": predictions})
    evaluator.finish(str(tmp_path), 1)
    assert json.loads((tmp_path / run_files.EVALUATION).read_text())["labelled"]["depth"] == 2
    assert "2 labelled images, 3 with pseudo labels left out" in capsys.readouterr().out


def test_written_labels_are_the_teachers_predictions(labelled: LabelledSet, tiny: Tiny) -> None:
    """They are read back within the precision on disk, for the image that had no labels."""
    teacher = teachers.describe(tiny.run, ALL).load()
    one = labelled.after[2]
    image = record.decode_image(tf.train.Example.FromString(one).features.feature["image/encoded"].bytes_list.value[0])
    expected = teachers.label(teacher, [image], ["x"])[0]
    labels = record.read_labels(one, discover(), enabled(restore.read_config(tiny.run)))
    assert set(labels) == set(ALL)
    np.testing.assert_allclose(labels["depth"].labels["metres"], expected["depth"]["metres"], atol=5.1e-4)
    np.testing.assert_array_equal(labels["segmentation"].labels["classes"], expected["segmentation"]["classes"])
    np.testing.assert_allclose(labels["detection"].labels["boxes"], expected["detection"]["boxes"], atol=1e-6)
    np.testing.assert_allclose(labels["detection"].labels["scores"], expected["detection"]["scores"], atol=1e-6)
    assert len(labels["masks"].labels["crops"]) == len(expected["masks"]["crops"]) > 0
    for crop, other in zip(labels["masks"].labels["crops"], expected["masks"]["crops"], strict=True):
        np.testing.assert_array_equal(crop, other)


def test_a_killed_run_goes_on(labelled: LabelledSet) -> None:
    """SIGKILL within the last file: the finished files are not made again, the unfinished one is."""
    *names, last = sorted(labelled.left)
    assert names == ["records-00000-of-00003.tfrecord", "records-00001-of-00003.tfrecord"]
    assert last.startswith("records-00002-of-00003.tfrecord.") and last.endswith(".partial")
    for name in names:
        assert (labelled.out / name).stat().st_mtime_ns == labelled.left[name]
    assert not list(labelled.out.glob("*.partial"))


def test_two_processes_write_the_bytes_of_a_run_that_was_killed(
    labelled: LabelledSet, tiny: Tiny, tmp_path: Path
) -> None:
    """Run by the command, whose seed of hashes is another one.

    Stdout has only JSON; one worker shows what it restored, the main process builds no model.
    """
    out, given = tmp_path / "out", sum((["--teacher", f"{task}={tiny.run}"] for task in ALL), [])
    command = [sys.executable, "-m", "tfrecords_tools", "label", "--records", labelled.source, *given, "--json"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command += ["--out", str(out), "--workers", "2"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["tasks"]["masks"]["left"] == 1
    assert done.stderr.count("restored from") == 1
    for path in labelled.out.glob("*.tfrecord"):
        assert (out / path.name).read_bytes() == path.read_bytes(), path.name
    assert comparable(manifest.read(str(out))) == comparable(manifest.read(str(labelled.out)))
    entries = manifest.read(str(out)).teachers
    (entry,) = entries.values()
    assert (list(entries), entry["kind"], entry["step"], entry["tasks"]) == (
        *([labelled.teacher.partition(":")[2]], "run directory", 2, sorted(ALL)),
    )


def test_another_teacher_does_not_go_on_in_the_same_folder(labelled: LabelledSet, tiny: Tiny, tmp_path: Path) -> None:
    """Labels of two teachers must not be mixed silently."""
    out = shutil.copytree(labelled.out, tmp_path / "out")
    with pytest.raises(UserError, match="another command"):
        label_records(parse_request(labelled.source, [f"depth={tiny.run}"]), str(out), ["test"])


@pytest.mark.parametrize("batch_size", [1, 2, 3, 8])
def test_evaluation_has_every_image_exactly_once(tiny_records: Tiny, batch_size: int) -> None:
    """Five images with any batch size. The last batch is filled up with index -1."""
    settings = input_lib.Data(input_path=f"{tiny_records.records}/*.tfrecord", global_batch_size=batch_size)
    batches = input_lib.evaluation(input_lib.Reader(discover(), {}, 128), settings, 5, None)
    indices = [int(index) for batch in batches for index in batch["index"]]
    assert [index for index in indices if index >= 0] == [0, 1, 2, 3, 4]
    assert len(indices) == -(-5 // batch_size) * batch_size
