"""While a run trains: killed and resumed to the same bits, stopped within a bad step, logged without gaps."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from official.modeling import optimization

from must_tf.cli import train
from must_tf.common import run_files
from must_tf.common.errors import UserError
from must_tf.data import input as input_lib
from must_tf.data import record
from must_tf.shared import html_report
from must_tf.training import trainer as trainer_lib
from must_tf.training.gradients import clipped
from tests.support.tiny import Tiny, arguments, command, data, trained


def weights(checkpoint: Path) -> dict[str, np.ndarray]:
    """All variables of a checkpoint: weights, moving statistics, momenta, steps."""
    reader = tf.train.load_checkpoint(str(checkpoint))
    names = [
        name for name in reader.get_variable_to_shape_map() if not name.startswith(("save_counter", "_CHECKPOINTABLE"))
    ]
    return {name: reader.get_tensor(name) for name in names}


def killed_after_first_checkpoint(flags: list[str], run: Path) -> None:
    """SIGKILL between the first checkpoint and the last."""
    process = subprocess.Popen(**command(flags))
    while not (run / "checkpoint").exists():
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not list(run.glob("ckpt-2.*")), "it was killed too late to be a test"


def test_killed_and_resumed_is_bit_for_bit_the_run_that_was_not(tiny: Tiny, tmp_path: Path) -> None:
    """All six heads, momenta and moving statistics: `tiny` was trained without a stop."""
    flags = arguments(tiny.config, tmp_path, "must_student", data(f"{tiny.records}/*.tfrecord"), "train_and_eval")
    killed_after_first_checkpoint(flags, tmp_path)
    trained(flags)
    expected, found = weights(Path(tiny.run, "ckpt-2")), weights(tmp_path / "ckpt-2")
    assert expected.keys() == found.keys() and len(expected) > 400
    for name, value in expected.items():
        assert value.tobytes() == found[name].tobytes(), name
    logged = [json.loads(line) for line in Path(tmp_path, run_files.METRICS).read_text().splitlines()]
    assert [line["step"] for line in logged] == [1, 2]


def test_every_loop_is_logged_whole(tiny: Tiny) -> None:
    """Terms, weights, gradient norms, learning rate and speed; TensorBoard has the same."""
    lines = [json.loads(line) for line in Path(tiny.run, run_files.METRICS).read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    for line in lines:
        assert all(math.isfinite(value) for value in line.values())
        heads = [value for name, value in line.items() if name.startswith("gradient_norm/") and name.count("/") == 1]
        assert len(heads) == 9  # all, backbone, decoder and six heads
        parts = [value for name, value in line.items() if name.startswith("gradient_norm/") and "all" not in name]
        # The modules share no variable, and nothing else has any: squares of their norms add up to that of all.
        assert math.hypot(*parts) == pytest.approx(line["gradient_norm/all"], rel=1e-3)
        assert line["weight/depth"] == 1.0
        assert 0.0 <= line["input_wait"] <= 1.0
        assert line["images_per_second"] > 0.0
        assert {"learning_rate", "training_loss", "depth/silog", "detection/rpn_score"} <= line.keys()
    curves = html_report.read_curves(tiny.run)
    for name, value in lines[-1].items():
        if name != "step":
            steps, values = curves[f"train/{name}"]
            assert steps == [line["step"] for line in lines if name in line], (
                name
            )  # masks may have had nothing to count
            assert values[-1] == pytest.approx(value, rel=1e-6), name


def test_lines_of_steps_that_are_done_again_are_taken_back(tmp_path: Path) -> None:
    """And so is a line that the kill cut off."""
    path = tmp_path / run_files.METRICS
    path.write_text('{"step": 10}\n{"step": 20}\n{"step": 30}\n{"st')
    assert trainer_lib.kept_lines(str(path), 20) == ['{"step": 10}', '{"step": 20}']
    assert trainer_lib.kept_lines(str(tmp_path / "none"), 20) == []


def poisoned(monkeypatch: pytest.MonkeyPatch, index: int) -> None:
    """The image at this place of the training order weighs infinitely much."""
    element = input_lib.Reader.element

    def worse(self: Any, serialized: tf.Tensor, place: tf.Tensor, warp_of: Any) -> dict[str, Any]:
        made = element(self, serialized, place, warp_of)
        targets = made["targets"]["normals"]
        targets["weight"] = tf.where(place == index, np.float32("inf"), targets["weight"])
        return made

    monkeypatch.setattr(input_lib.Reader, "element", worse)


def test_a_loss_that_is_no_number_stops_in_its_step(
    tiny_records: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not at the end of its loop; named are step, task and image, the batch is saved, and no weight is changed."""
    poisoned(monkeypatch, 3)  # of batches of two: in the second
    runners, build = [], train._build
    monkeypatch.setattr(train, "_build", lambda *given: runners.append(build(*given)) or runners[-1])
    override = data(f"{tiny_records.records}/*.tfrecord")
    override["trainer"] = {"train_steps": 10, "steps_per_loop": 10, "summary_interval": 10}
    with pytest.raises(UserError, match="step 2: the loss of normals is NaN or infinite .images") as caught:
        train.main(arguments(tiny_records.config, tmp_path / "run", "must_teacher_normals", override, "train"))
    trainer = runners[0].trainer
    assert (int(trainer.global_step), int(trainer.optimizer.iterations)) == (1, 1)
    assert all(np.isfinite(variable.numpy()).all() for variable in trainer.model.trainable_variables)
    folder = tmp_path / "run" / "failed" / "step-0000002"
    assert str(folder) in str(caught.value)
    saved = [one.numpy() for one in tf.data.TFRecordDataset(str(folder / "records.tfrecord"))]
    ids = [record.info_of(tf.train.Example.FromString(one)).source_id for one in saved]
    batch = np.load(folder / "batch.npz")
    assert batch["index"].tolist() == [2, 3]
    assert batch["image"].shape == (2, 128, 128, 3)
    found = json.loads((folder / "found.json").read_text())
    assert found == {"tasks": ["normals"], "source_ids": ids, "bad_ids": ids[1:]}
    assert f"(images {ids[1]})." in str(caught.value)


def test_a_loop_that_could_not_stop_by_itself_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled steps go on; the log sees it after the loop, and writes no such line."""
    log = trainer_lib.TrainingLog(str(tmp_path), total=10, start=0, batch_size=2)
    monkeypatch.setattr(tf.summary.experimental, "get_step", lambda: tf.constant(5))
    with pytest.raises(UserError, match="between steps 0 and 5: NaN or infinite depth/silog"):
        log({"training_loss": 1.0, "depth/silog": float("nan")})
    assert not (tmp_path / run_files.METRICS).exists()


def test_adamw_clips_what_the_replicas_add_up_to() -> None:
    """Model Garden's clips by itself only where it adds up, which is done before: [300, 400] has a norm of 500."""
    optimizer = optimization.OptimizerFactory(
        optimization.OptimizationConfig(
            {"optimizer": {"type": "adamw"}, "learning_rate": {"type": "constant", "constant": {"learning_rate": 0.1}}}
        )
    ).build_optimizer(0.1)
    gradients = clipped(optimizer, [tf.constant([300.0, 400.0]), None])
    np.testing.assert_allclose(gradients[0], [0.6, 0.8], rtol=1e-6)
    assert gradients[1] is None


def test_mixed_bfloat16_trains_all_heads(tiny: Tiny, tmp_path: Path) -> None:
    """Weights stay float32, and the first loss is that of float32 but for bfloat16's 8 bits."""
    override = data(f"{tiny.records}/*.tfrecord") | {"runtime": {"mixed_precision_dtype": "bfloat16"}}
    command = arguments(tiny.config, tmp_path, "must_student", override, "train")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    # In a process of its own: the policy is one for the whole process.
    subprocess.run([sys.executable, "-m", "tests.support.run_train", *command], env=environment, check=True)
    first, expected = (
        json.loads((Path(run) / run_files.METRICS).read_text().splitlines()[0]) for run in (tmp_path, tiny.run)
    )
    assert first["training_loss"] != expected["training_loss"]
    assert first["training_loss"] == pytest.approx(expected["training_loss"], rel=0.03)
    assert all(math.isfinite(value) for value in first.values())
    floats = [
        value for value in weights(tmp_path / "ckpt-2").values() if value.dtype.kind == "f" or value.dtype == object
    ]
    assert len(floats) > 400 and all(value.dtype == np.float32 for value in floats)
