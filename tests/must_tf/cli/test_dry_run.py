"""--dry_run: counts checked by hand, labels drawn in the right places, and no file but the picture."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from must_tf.cli import dry_run, train
from must_tf.common import upstream
from must_tf.common.errors import UserError
from must_tf.data import geometry, scenes
from must_tf.data import input as input_lib
from must_tf.evaluation import batch_picture
from must_tf.experiments import experiment_config
from must_tf.runs import checkpoints
from must_tf.tasks import discover
from must_tf.training import memory_estimate
from tests.support.tiny import ALL, SIZES, Tiny, arguments, data, scene_record, write_set

FLOAT = 4  # bytes


def two_layers(reshaped: bool) -> Any:
    """x [4, 8] -> relu [4, 16] -> relu [4, 3] -> sum of squares."""
    first, second = tf.Variable(tf.ones([8, 16])), tf.Variable(tf.ones([16, 3]))

    def step(x: tf.Tensor, mark: Any) -> Any:
        with tf.GradientTape() as tape:
            hidden = tf.nn.relu(tf.matmul(x, first))
            out = tf.nn.relu(tf.matmul(hidden, second))
            loss = tf.reduce_sum(tf.square(tf.reshape(out, [-1]) if reshaped else out))
        mark()
        return tape.gradient(loss, [first, second])

    return step


@pytest.mark.parametrize("reshaped", [False, True])
def test_what_is_kept_for_the_backward_pass(reshaped: bool) -> None:
    """Both activations, which ReLU, the second product and the square need; not weights, inputs or reshaped copies."""
    expected = (4 * 16 + 4 * 3) * FLOAT
    assert memory_estimate.kept(two_layers(reshaped), tf.TensorSpec([4, 8])) == (expected, 0)


def test_what_has_no_known_size_is_counted_apart() -> None:
    """Both activations, when the batch is of any size."""
    assert memory_estimate.kept(two_layers(False), tf.TensorSpec([None, 8])) == (0, 2)


@pytest.mark.parametrize(
    ("optimizer", "slots"),
    [
        (tf_keras.optimizers.legacy.SGD(0.1, momentum=0.9), 1),
        (tf_keras.optimizers.legacy.SGD(0.1), 0),
        (tf_keras.optimizers.legacy.Adam(0.1), 2),
        (tf_keras.optimizers.Adam(0.1), 2),
    ],
)
def test_an_optimizers_slots(optimizer: Any, slots: int) -> None:
    """Momentum is one number per weight, Adam's moments two; counters of a few bytes come on top."""
    found = sum(map(memory_estimate._bytes, upstream.create_slots(optimizer, [tf.Variable(tf.zeros([100, 10]))])))
    assert 0 <= found - slots * 1000 * FLOAT <= 16


def test_labels_are_drawn_where_they_are() -> None:
    """A scene of 96 x 144 that is only fitted: 85 x 128 of the input show it, labels as they were rendered."""
    configs = {task: spec.Config(enabled=True) for task, spec in discover().items() if task in ALL}
    for task, names in scenes.CLASSES.items():
        configs[task].classes = tuple(names)
    reader = input_lib.Reader({task: discover()[task] for task in configs}, configs, 128)
    serialized = scene_record(1, [task for task in ALL if task != "normals"])
    element = reader.element(tf.constant(serialized), tf.constant(1, tf.int64), lambda size: geometry.fit(size, 128))
    row = batch_picture.row_of(element, configs)
    scene = scenes.render("wild", 5, 1, SIZES[1])
    assert row.image.shape == (85, 128, 3)
    assert set(row.labels) == set(ALL) - {"normals"}  # not labelled
    np.testing.assert_allclose(row.labels["detection"]["boxes"], scene.labels["detection"]["boxes"], atol=0.01)
    there, drawn = scene.labels["segmentation"]["classes"], row.labels["segmentation"]["classes"]
    rows, columns = np.arange(85) * 96 // 85, np.arange(128) * 144 // 128
    assert (drawn == there[rows][:, columns]).mean() > 0.95
    metres = row.labels["depth"]["metres"]
    np.testing.assert_allclose(np.median(metres), np.median(scene.labels["depth"]["metres"]), rtol=0.02)


def test_a_dry_run(tiny_records: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The numbers of the plan are checked by hand. Afterwards the directory contains only the picture."""
    run, override = tmp_path / "run", data(f"{tiny_records.records}/*.tfrecord")
    override["task"]["tasks"] = {"classification": {"loss_weight": 2.5}}
    override["task"]["model"] = {"norm_activation": {"use_sync_bn": True}}
    override["trainer"], override["runtime"] = {"train_steps": 10}, {"distribution_strategy": "mirrored"}
    given = arguments(tiny_records.config, run, "must_teacher_classification", override, "train_and_eval")
    train.main([*given, "--dry_run"])
    said = capsys.readouterr().out
    assert [path.name for path in run.iterdir()] == ["dry_run.png"]
    assert not checkpoints.listed(str(run))
    assert tf.io.decode_png((run / "dry_run.png").read_bytes()).shape[0] > 400  # two rows of 320-pixel tiles
    assert "starts" not in said and f"{run} is new" in said
    assert "5 images; classification 5 real:scenes" in said
    assert "WARNING: 5 of the validation images are also in the training data" in said  # they are the same records
    assert re.search(r"classification +2.5 +4 +cross_entropy", said)
    assert re.search(r"heads/classification +0\.001 M", said)  # 128 of C5 x 4 classes + 4 = 516
    assert "steps 10, 2.5 per epoch of 5 images: 4 epochs" in said  # batches of 2
    # linear warm-up over one step to the cosine's value there: 0.01 * (1 + cos(pi / 8)) / 2 = 0.00962
    assert "learning rate 0 at step 0, 0.00962 at step 1" in said
    assert "MirroredStrategy, 1 replica: CPU:0" in said
    memory_line = re.search(r"parameters (.+) MB, gradients (.+) MB, optimizer (.+) MB, batch (.+) MB, kept", said)
    assert memory_line
    total, trained, slots, inputs = map(float, memory_line.groups())
    assert trained == slots <= total  # momentum: one number per trained weight
    assert inputs == pytest.approx(2 * 128 * 128 * 3 / 1e6, abs=0.05)  # two uint8 images


def test_photos_that_are_trained_and_validated_on_are_counted(tmp_path: Path) -> None:
    """By content, whatever their ids; a set without sidecars tells nothing."""
    scenes_in = {"train": [[0, 1], [2]], "val": [[5, 2, 2], [1]], "other": [[6]]}
    globs = {
        name: write_set(tmp_path / name, [[scene_record(index, ["depth"]) for index in file] for file in files])
        for name, files in scenes_in.items()
    }
    task = experiment_config.load("must_teacher_depth").task
    task.train_data.input_path = globs["train"]

    def told(validation: str, mode: str = "train_and_eval") -> list[str]:
        task.validation_data.input_path = globs[validation]
        return [line.split(" also")[0] for line in dry_run.shared_photos(task, mode)]

    assert told("val") == ["WARNING: 3 of the validation images are"]
    assert told("other") == told("val", "train") == []
    shutil.rmtree(tmp_path / "train" / ".shards")
    assert told("val") == []


def test_a_dry_run_is_for_training(tiny_records: Tiny, tmp_path: Path) -> None:
    """Also flags that contradict each other."""
    override = data(f"{tiny_records.records}/*.tfrecord")

    def given(mode: str) -> list[str]:
        return arguments(tiny_records.config, tmp_path / "run", "must_teacher_depth", override, mode)

    with pytest.raises(UserError, match="--dry_run needs --mode=train"):
        train.main([*given("eval"), "--dry_run"])
    with pytest.raises(UserError, match="--extend continues the old run and --overwrite deletes it"):
        train.main([*given("train"), "--extend", "--overwrite"])
    assert not (tmp_path / "run").exists()
