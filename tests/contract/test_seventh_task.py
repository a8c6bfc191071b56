"""A seventh task, written here into a folder of its own, works everywhere with no edit elsewhere."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.tiny import ROOT, Tiny

# How bright the image is: one number, from C5.
BRIGHTNESS = '''
"""How bright an image is: `grey` float32 [1], the mean of all pixels, 0 to 1."""

import dataclasses

import numpy as np
import tensorflow as tf
import tf_keras

from must_tf.data import record
from must_tf.shared.masked_losses import per_image
from must_tf.spec import Ideal, TaskConfig, TaskSpec

KEY = "image/brightness/grey"


@dataclasses.dataclass
class Config(TaskConfig):
    """Attributes: scale: of the output."""

    scale: float = 1.0


def features(config):
    return {KEY: tf.io.FixedLenFeature([1], tf.float32, [0.0])}


def read(parsed, size, config):
    return {"grey": parsed[KEY]}


def write(labels, info):
    return {KEY: record.float_feature(labels["grey"])}


def targets(parsed, size, warp, config):
    return read(parsed, size, config)


class Head(tf_keras.layers.Layer):
    def __init__(self, settings):
        super().__init__(name="brightness")
        self._linear = tf_keras.layers.Dense(1, kernel_regularizer=settings.regularizer)

    def call(self, pyramid, given, training):
        return {"grey": tf.cast(self._linear(tf.reduce_mean(pyramid.c5, axis=[1, 2])), tf.float32)}


def loss(raw, targets, config):
    return {"squared": per_image(tf.reduce_sum((raw["grey"] - targets["grey"]) ** 2, axis=-1), targets["weight"])}


class Metric:
    headline = "error"
    higher_is_better = False

    def __init__(self, config):
        self._errors = []

    def add(self, labels, predictions, image):
        self._errors.append(float(np.abs(labels["grey"] - predictions["grey"]).mean()))

    def result(self):
        return {"error": float(np.mean(self._errors))} if self._errors else {}


def draw(image, labels, config):
    drawn = image.copy()
    drawn[: drawn.shape[0] // 8] = np.uint8(255 * np.clip(labels["grey"][0], 0, 1))
    return drawn


TASK = TaskSpec(
    name="brightness",
    needs=(),
    Config=Config,
    features=features,
    read=read,
    write=write,
    targets=targets,
    head=lambda config, settings: Head(settings),
    terms=lambda config: ("squared",),
    loss=loss,
    decode=lambda raw, given, config: {"grey": raw["grey"] * config.scale},
    restore=lambda predictions, frame: predictions,
    ideal=lambda targets, config: Ideal({"grey": targets["grey"]}),
    keep=lambda predictions, info, config: {"grey": np.asarray(predictions["grey"], np.float32)},
    Metric=Metric,
    draw=draw,
)
'''
# Discovers, writes records, trains two steps with another task, evaluates, exports, labels, serves.
USE = """
import json, os, sys
import numpy as np, tensorflow as tf
from must_tf import config, export, train
from must_tf.data import record, scenes
from must_tf.spec import ImageInfo
from must_tf.tasks import discover
from tests import tiny
from tfrecords_tools.label.arguments import parse_request
from tfrecords_tools.label.run import label_records

folder, settings = sys.argv[1:]
assert "brightness" in discover() and "depth" in discover()
def one(index, looked):
    image = scenes.render("wild", 5, index).image
    labels = {"grey": np.float32([image.mean() / 255])}
    labelled = {"brightness": record.Labelled(labels, "real:test")} if looked else {}
    return record.encode(tiny.image_bytes(image), ImageInfo(f"scene-{index}", 128, 128), labelled, discover())
pattern = tiny.write_set(folder + "/records", [[one(0, True), one(1, False)], [one(2, True)]], ())
run = folder + "/run"
override = tiny.data(pattern)
override["task"]["tasks"] = {"brightness": {"scale": 0.5, "loss_weight": 3.0}}
train.main(tiny.arguments(settings, run, "must_teacher_brightness", override, "train_and_eval"))
export.main(["--model_dir=" + run, "--out=" + folder + "/export"])
label_records(parse_request(pattern, ["brightness=" + run]), folder + "/labelled", ["test"])
signatures = tf.saved_model.load(folder + "/export").signatures
outputs = signatures["tf_example"](tf.constant([one(0, False)]))
labelled = tf.data.TFRecordDataset(sorted(tf.io.gfile.glob(folder + "/labelled/*.tfrecord"))).as_numpy_iterator()
configs = {"brightness": discover()["brightness"].Config()}
kept = [record.read_labels(each, discover(), configs)["brightness"] for each in labelled]
print("RESULT " + json.dumps({
    "experiments": config.experiments(),
    "params": config.read_params(run + "/params.yaml")["task"]["tasks"]["brightness"]["weight"],
    "outputs": {name: value.shape.as_list() for name, value in outputs.items()},
    "served": float(outputs["brightness/grey"][0, 0]),
    "evaluation": json.load(open(run + "/evaluation.json")),
    "origins": [each.origin.split(":")[0] for each in kept],
    "pictures": os.listdir(run + "/pictures"),
}))
"""


@pytest.fixture(scope="module")
def result(tiny_records: Tiny, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """Everything in one process, with the new folder beside the project's on the path."""
    folder = tmp_path_factory.mktemp("seventh")
    task = folder / "must_tf" / "tasks" / "brightness"
    task.mkdir(parents=True)
    (task / "__init__.py").write_text(BRIGHTNESS)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(folder)])}
    done = subprocess.run(
        [sys.executable, "-c", USE, str(folder / "work"), tiny_records.config],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(
        next(line for line in done.stdout.splitlines() if line.startswith("RESULT ")).removeprefix("RESULT ")
    )


def test_it_has_experiments_and_a_config(result: dict) -> None:
    """A teacher and a transfer by its name, its fields below task.tasks; 3.0 was given on the command line."""
    assert {"must_teacher_brightness", "must_transfer_brightness", "must_teacher_depth"} <= set(result["experiments"])
    assert result["params"] == 3.0


def test_it_is_trained_and_evaluated(result: dict) -> None:
    """Three images, two of them labelled; the figure by the task's own Metric."""
    evaluation = result["evaluation"]
    assert evaluation["step"] == 2
    assert evaluation["images"] == 3
    assert evaluation["labelled"] == {"brightness": 2}
    assert 0 <= evaluation["figures"]["brightness/error"] < 10
    assert result["pictures"] == ["step-0000002.png"]


def test_it_is_served(result: dict) -> None:
    """Its output stands in the SavedModel by <task>/<name>."""
    assert result["outputs"] == {"brightness/grey": [1, 1], "image/size": [1, 2]}
    assert -10 < result["served"] < 10


def test_it_labels(result: dict) -> None:
    """Only the image that lacked it, and what is written can be read."""
    assert result["origins"] == ["real", "pseudo", "real"]


def contract_of_a_copy(folder: Path, golden: bool) -> subprocess.CompletedProcess:
    """The contract tests on a copy of a task's folder under another name, beside the project's on the path."""
    source, copy = ROOT / "must_tf" / "tasks" / "normals", folder / "must_tf" / "tasks" / "tilt"
    copy.mkdir(parents=True)
    for path in source.glob("*.py"):
        (copy / path.name).write_text(path.read_text().replace("normals", "tilt"))
    if golden:
        cases = (ROOT / "tests" / "contract" / "golden" / "normals.py").read_text().replace("normals", "tilt")
        # Its labels in a scene are made from what the scene has.
        cases = cases.replace('scene.labels["tilt"]', '{"tilt": scene.labels["normals"]["normals"]}')
        own = folder / "tests" / "contract" / "golden" / "tilt.py"
        own.parent.mkdir(parents=True)
        own.write_text(cases.replace('CLASSES["tilt"]', "()"))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(folder)])}
    tests = [str(ROOT / "tests" / "contract" / f"test_{name}.py") for name in ("records", "targets", "losses")]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "tilt", *tests]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_a_copied_folder_is_held_to_the_contract(tmp_path: Path) -> None:
    """Tests that were never told about it run on it, and pass."""
    done = contract_of_a_copy(tmp_path, golden=True)
    assert done.returncode == 0, done.stdout[-3000:]
    assert int(re.search(r"(\d+) passed", done.stdout).group(1)) > 20


def test_a_folder_without_golden_cases_fails(tmp_path: Path) -> None:
    """It is not skipped."""
    done = contract_of_a_copy(tmp_path, golden=False)
    assert done.returncode not in (0, 5), done.stdout[-3000:]  # 5: pytest found no tests
    assert "golden" in done.stdout
