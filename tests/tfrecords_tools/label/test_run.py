"""Teachers label what is missing and nothing else; a killed run ends with the same bytes."""

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

from must_tf.cli import train
from must_tf.data import input as input_lib
from must_tf.data import manifest, record
from must_tf.model.student import enabled
from must_tf.runs import restore
from must_tf.tasks import discover
from tests.support.tiny import ALL, ROOT, Tiny, arguments, data, scene_record, write_set
from tfrecords_tools import teachers
from tfrecords_tools.label import results as label_results
from tfrecords_tools.label import run as label

# What somebody has looked for, image by image, in three files.
LOOKED = (
    (ALL, ("detection",)),
    ((),),
    (("detection", "masks"), ("segmentation", "depth")),
)
# Masks share the objects of detection: a teacher's do not fit real boxes.
STAYS_EMPTY = {1: {"masks"}}
# Kills itself between the first and the last record of the second file.
KILLED = """
import os, signal, sys
from tfrecords_tools import label, label_job
whole = label_job.labelled
def until_killed(path, *rest):
    for record in whole(path, *rest):
        yield record
        if "00002-of" in path:
            os.kill(os.getpid(), signal.SIGKILL)
label_job.labelled = until_killed
records, run, out = sys.argv[1:]
label.run(label.asked(records, [task + "=" + run for task in %r]), out, ["test"])
"""


class Labelled(NamedTuple):
    """The records before and after, and who labelled them."""

    source: str
    out: Path
    teacher: str
    before: list[bytes]
    after: list[bytes]


def serialized(pattern: str) -> list[bytes]:
    """All records of these files."""
    return list(tf.data.TFRecordDataset(sorted(tf.io.gfile.glob(pattern))).as_numpy_iterator())


def timeless(found: manifest.Manifest) -> manifest.Manifest:
    """The manifest without the one thing that differs from run to run."""
    return dataclasses.replace(found, teachers={key: {**said, "time": ""} for key, said in found.teachers.items()})


def ask(records: str, run: str) -> label.Asked:
    """All tasks by one teacher."""
    return label.asked(records, [f"{task}={run}" for task in ALL])


@pytest.fixture(scope="module")
def labelled(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Labelled:
    """A set that lacks labels, completed."""
    folder = tmp_path_factory.mktemp("label")
    files, index = [], 0
    for file in LOOKED:
        files.append([scene_record(index + i, tasks) for i, tasks in enumerate(file)])
        index += len(file)
    source = write_set(folder / "in", files)
    label.run(ask(source, tiny.run), str(folder / "out"), ["test"])
    teacher = f"pseudo:{restore.load(tiny.run).id}"
    return Labelled(source, folder / "out", teacher, serialized(source), serialized(str(folder / "out" / "*.tfrecord")))


def test_missing_labels_are_filled_and_say_by_whom(labelled: Labelled) -> None:
    """Origins: real where somebody looked, the teacher's elsewhere."""
    looked = [tasks for file in LOOKED for tasks in file]
    assert len(labelled.after) == len(looked)
    for index, (tasks, one) in enumerate(zip(looked, labelled.after, strict=True)):
        expected = {task: "real:scenes" if task in tasks else labelled.teacher for task in ALL}
        expected = {task: origin for task, origin in expected.items() if task not in STAYS_EMPTY.get(index, ())}
        assert record.origins_of(tf.train.Example.FromString(one)) == expected


def test_real_labels_and_pixels_are_untouched(labelled: Labelled) -> None:
    """Every feature that was there is there, bit by bit."""
    for before, after in zip(labelled.before, labelled.after, strict=True):
        kept = tf.train.Example.FromString(after).features.feature
        for key, feature in tf.train.Example.FromString(before).features.feature.items():
            assert kept[key] == feature, key
    assert labelled.after[0] == labelled.before[0]  # nothing was missing


def test_the_manifest_counts_what_was_written(labelled: Labelled, tiny: Tiny) -> None:
    """By hand from LOOKED: five images; depth was looked for in two of them, masks in two, and never added to one."""
    found = manifest.read(str(labelled.out))
    assert found.records == 5
    assert found.origins["depth"] == {labelled.teacher: 3, "real:scenes": 2}
    assert found.origins["masks"] == {labelled.teacher: 2, "real:scenes": 2}
    assert found.classes == manifest.read(tiny.records).classes
    asked = ask(labelled.source, tiny.run)
    results = label_results.of(manifest.read(asked.directory), found, asked)
    assert results["masks"][:1] + results["masks"][2:7] == (2, 0, 2, 0, 0, 1)
    assert results["depth"] == (3, 0, 0, 2, 0, 0, 0, "")
    (line,) = [one for one in label_results.lines(results, asked) if "masks by" in one]
    assert "1 images left without: their detection is somebody else's" in line


def test_pseudo_labels_are_no_truth(
    labelled: Labelled, tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Measured on the completed set: depth on the two images where somebody looked, by LOOKED, not on the teacher's."""
    run = str(shutil.copytree(tiny.run, tmp_path / "run"))
    override = data(str(labelled.out / "*.tfrecord"))
    train.main(arguments(tiny.config, run, "must_student", override, "eval"))
    assert json.loads(Path(run, "evaluation.json").read_text())["labelled"]["depth"] == 2
    assert "2 labelled images, 3 with pseudo labels left out" in capsys.readouterr().out


def test_written_labels_are_the_teachers_predictions(labelled: Labelled, tiny: Tiny) -> None:
    """Read back within the precision on disk, for the image that nobody had looked at."""
    teacher = teachers.describe(tiny.run, ALL).load()
    one = labelled.after[2]
    image = record.decode_image(tf.train.Example.FromString(one).features.feature["image/encoded"].bytes_list.value[0])
    expected = teachers.label(teacher, [image], ["x"])[0]
    found = record.read_labels(one, discover(), enabled(restore.load(tiny.run).config))
    assert set(found) == set(ALL)
    np.testing.assert_allclose(found["depth"].labels["metres"], expected["depth"]["metres"], atol=5.1e-4)
    np.testing.assert_array_equal(found["segmentation"].labels["classes"], expected["segmentation"]["classes"])
    np.testing.assert_allclose(found["detection"].labels["boxes"], expected["detection"]["boxes"], atol=1e-6)
    np.testing.assert_allclose(found["detection"].labels["scores"], expected["detection"]["scores"], atol=1e-6)
    assert len(found["masks"].labels["crops"]) == len(expected["masks"]["crops"]) > 0
    for crop, other in zip(found["masks"].labels["crops"], expected["masks"]["crops"], strict=True):
        np.testing.assert_array_equal(crop, other)


def test_killed_and_started_again_gives_the_same_bytes(labelled: Labelled, tiny: Tiny, tmp_path: Path) -> None:
    """SIGKILL amid the last file; the finished files are not made again, the unfinished one is."""
    out = tmp_path / "out"
    command = [sys.executable, "-c", KILLED % (ALL,), labelled.source, tiny.run, str(out)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == -signal.SIGKILL, done.stderr
    *names, last = sorted(path.name for path in out.iterdir() if path.suffix != "" and path.is_file())
    assert names == ["records-00000-of-00003.tfrecord", "records-00001-of-00003.tfrecord"]
    assert last.startswith("records-00002-of-00003.tfrecord.") and last.endswith(".partial")
    finished = (out / names[0]).stat().st_mtime_ns
    label.run(ask(labelled.source, tiny.run), str(out), ["test"])
    assert (out / names[0]).stat().st_mtime_ns == finished
    for path in labelled.out.glob("*.tfrecord"):
        assert (out / path.name).read_bytes() == path.read_bytes(), path.name
    assert timeless(manifest.read(str(out))) == timeless(manifest.read(str(labelled.out)))
    assert not list(out.glob("*.partial"))


def test_two_processes_write_the_same_bytes(labelled: Labelled, tiny: Tiny, tmp_path: Path) -> None:
    """By the command. JSON alone is on stdout; one of the processes shows what it restored, and the first shows none:
    it makes no model."""
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
    found = manifest.read(str(out)).teachers
    (said,) = found.values()
    assert (list(found), said["kind"], said["step"], said["tasks"]) == (
        *([labelled.teacher.partition(":")[2]], "run directory", 2, sorted(ALL)),
    )


def test_another_teacher_does_not_go_on_in_the_same_folder(labelled: Labelled, tiny: Tiny, tmp_path: Path) -> None:
    """Labels of two teachers must not be mixed without saying so."""
    out = shutil.copytree(labelled.out, tmp_path / "out")
    with pytest.raises(label.UserError, match="another command"):
        label.run(label.asked(labelled.source, [f"depth={tiny.run}"]), str(out), ["test"])


@pytest.mark.parametrize("batch_size", [1, 2, 3, 8])
def test_evaluation_has_every_image_exactly_once(tiny_records: Tiny, batch_size: int) -> None:
    """Five images, whatever the batch size; the last batch is filled up with index -1."""
    settings = input_lib.Data(input_path=f"{tiny_records.records}/*.tfrecord", global_batch_size=batch_size)
    batches = input_lib.evaluation(input_lib.Reader(discover(), {}, 128), settings, 5, None)
    indices = [int(index) for batch in batches for index in batch["index"]]
    assert [index for index in indices if index >= 0] == [0, 1, 2, 3, 4]
    assert len(indices) == -(-5 // batch_size) * batch_size
