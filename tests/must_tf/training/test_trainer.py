"""Training: a killed run resumes to the same bits, a step that is not finite stops the run, every loop is logged."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from official.modeling import optimization

from must_tf.cli import train
from must_tf.common import progress, run_files
from must_tf.common.errors import UserError
from must_tf.data import input as input_lib
from must_tf.data import record
from must_tf.shared import html_report
from must_tf.training import training_log
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
    """Runs a training and kills it between its first and its last checkpoint."""
    process = subprocess.Popen(**command(flags, [sys.executable], eager=True))
    while not (run / "checkpoint").exists():
        assert process.poll() is None, "the run ended before it was killed"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not list(run.glob("ckpt-2.*")), "the run was killed too late"


def mixed_flags(tiny: Tiny, run: Path) -> list[str]:
    """A training of all six heads in mixed precision."""
    override = data(f"{tiny.records}/*.tfrecord") | {"runtime": {"mixed_precision_dtype": "bfloat16"}}
    return arguments(tiny.config, run, "must_student", override, "train")


@pytest.fixture(scope="module")
def mixed(tiny_records: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That run, which nothing interrupted."""
    run = tmp_path_factory.mktemp("mixed") / "run"
    trained(mixed_flags(tiny_records, run), eager=True)
    return run


def test_killed_and_resumed_is_bit_for_bit_the_run_that_was_not(
    tiny_records: Tiny, mixed: Path, tmp_path: Path
) -> None:
    """All six heads, with momenta and moving statistics. test_averages.py has the same for a graph and fewer heads.

    The killed process had another seed of hashes.
    """
    flags = mixed_flags(tiny_records, tmp_path)
    killed_after_first_checkpoint(flags, tmp_path)
    trained(flags, eager=True)
    expected, found = weights(mixed / "ckpt-2"), weights(tmp_path / "ckpt-2")
    assert expected.keys() == found.keys() and len(expected) > 400
    for name, value in expected.items():
        assert value.tobytes() == found[name].tobytes(), name
    logged = [json.loads(line) for line in Path(tmp_path, run_files.METRICS).read_text().splitlines()]
    assert [line["step"] for line in logged] == [1, 2]
    assert (mixed / run_files.TENSORFLOW_LOG).is_file()


def test_every_loop_is_logged_whole(tiny: Tiny) -> None:
    """Terms, weights, gradient norms, learning rate and speed. TensorBoard has the same values."""
    lines = [json.loads(line) for line in Path(tiny.run, run_files.METRICS).read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    for line in lines:
        assert all(math.isfinite(value) for value in line.values())
        heads = [value for name, value in line.items() if name.startswith("gradient_norm/") and name.count("/") == 1]
        assert len(heads) == 9  # all, backbone, decoder and six heads
        parts = [value for name, value in line.items() if name.startswith("gradient_norm/") and "all" not in name]
        # The modules have all variables and share none, so the squares of their norms add up.
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


def test_lines_of_repeated_steps_are_removed(tmp_path: Path) -> None:
    """So is a last line that is cut off."""
    path = tmp_path / run_files.METRICS
    path.write_text('{"step": 10}\n{"step": 20}\n{"step": 30}\n{"st')
    assert training_log.kept_lines(str(path), 20) == ['{"step": 10}', '{"step": 20}']
    assert training_log.kept_lines(str(tmp_path / "none"), 20) == []


def poisoned(monkeypatch: pytest.MonkeyPatch, index: int) -> None:
    """Gives the image at this index of the training order an infinite weight."""
    element = input_lib.Reader.element

    def infinite(self: Any, serialized: tf.Tensor, place: tf.Tensor, warp_of: Any) -> dict[str, Any]:
        result = element(self, serialized, place, warp_of)
        targets = result["targets"]["normals"]
        targets["weight"] = tf.where(place == index, np.float32("inf"), targets["weight"])
        return result

    monkeypatch.setattr(input_lib.Reader, "element", infinite)


def test_an_infinite_loss_stops_the_run_in_its_step(
    tiny_records: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not wait for the end of the loop. The error names step, task and image; the batch is saved."""
    poisoned(monkeypatch, 3)  # in the second batch of two images
    runners = []
    build = train._build

    def remembered(*arguments: Any) -> Any:
        runners.append(build(*arguments))
        return runners[-1]

    monkeypatch.setattr(train, "_build", remembered)
    override = data(f"{tiny_records.records}/*.tfrecord")
    override["trainer"] = {"train_steps": 10, "steps_per_loop": 10, "summary_interval": 10}
    with pytest.raises(UserError, match="step 2: the loss of normals is NaN or infinite .images") as caught:
        train.main(arguments(tiny_records.config, tmp_path / "run", "must_teacher_normals", override, "train"))
    trainer = runners[0].trainer
    assert (int(trainer.global_step), int(trainer.optimizer.iterations)) == (1, 1)
    assert all(np.isfinite(variable.numpy()).all() for variable in trainer.model.trainable_variables)
    folder = tmp_path / "run" / "failed" / "step-0000002"
    assert str(folder) in str(caught.value)
    saved = [serialized.numpy() for serialized in tf.data.TFRecordDataset(str(folder / "records.tfrecord"))]
    ids = [record.info_of(tf.train.Example.FromString(serialized)).source_id for serialized in saved]
    with np.load(folder / "batch.npz") as batch:
        assert batch["index"].tolist() == [2, 3]
        assert batch["image"].shape == (2, 128, 128, 3)
    report = json.loads((folder / "found.json").read_text())
    assert report == {"tasks": ["normals"], "source_ids": ids, "bad_ids": ids[1:]}
    assert f"(images {ids[1]})." in str(caught.value)


def test_a_nan_in_the_log_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled steps cannot stop by themselves. The log stops the run after the loop, without writing the line."""
    log = training_log.TrainingLog(str(tmp_path), total=10, start=0, batch_size=2)
    monkeypatch.setattr(tf.summary.experimental, "get_step", lambda: tf.constant(5))
    with pytest.raises(UserError, match="between steps 0 and 5: NaN or infinite depth/silog"):
        log({"training_loss": 1.0, "depth/silog": float("nan")})
    assert not (tmp_path / run_files.METRICS).exists()


def test_the_progress_goes_on_within_a_loop_of_steps(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the loss of the loop before. Nothing is shown while no step ends, as in an evaluation."""
    monkeypatch.setattr(training_log, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.0)
    steps = iter([4, 4, 5, 5, 6, 6])
    looked = threading.Event()

    def step() -> int:
        value = next(steps, None)
        if value is None:
            looked.set()
        return value or 6

    log = training_log.TrainingLog("", total=10, start=0, batch_size=2)
    tf.summary.experimental.set_step(tf.Variable(4, dtype=tf.int64))
    log({"training_loss": 1.5, "input_wait": 0.25})
    with log.watching(step):
        assert looked.wait(20)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("train ")]
    assert [line.split(" images ")[0] for line in lines] == ["train 8/20", "train 10/20", "train 12/20"]
    assert all(line.endswith(f"step {n} · loss 1.500 · 25% waiting for input") for n, line in enumerate(lines, 4))
    assert not any(thread.name.endswith("(watch)") for thread in threading.enumerate())


def test_a_lost_device_ends_the_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The training itself says so."""
    monkeypatch.setattr(training_log, "LOOK_SECONDS", 0.01)
    called = threading.Event()

    def step() -> int:
        called.set()
        raise tf.errors.UnavailableError(None, None, "lost")

    with training_log.TrainingLog("", total=10, start=0, batch_size=2).watching(step):
        assert called.wait(20)


def test_adamw_clips_the_sum_over_the_replicas() -> None:
    """Model Garden's AdamW clips only if it also sums, which is done before. The norm of [300, 400] is 500."""
    optimizer = optimization.OptimizerFactory(
        optimization.OptimizationConfig(
            {"optimizer": {"type": "adamw"}, "learning_rate": {"type": "constant", "constant": {"learning_rate": 0.1}}}
        )
    ).build_optimizer(0.1)
    gradients = clipped(optimizer, [tf.constant([300.0, 400.0]), None], tf.constant(500.0))
    assert gradients[0] is not None
    np.testing.assert_allclose(gradients[0], [0.6, 0.8], rtol=1e-6)
    assert gradients[1] is None


def test_mixed_bfloat16_trains_all_heads(tiny: Tiny, mixed: Path) -> None:
    """Weights stay float32. The first loss is that of float32, up to bfloat16's 8 bits."""
    first, expected = (
        json.loads((Path(run) / run_files.METRICS).read_text().splitlines()[0]) for run in (mixed, tiny.run)
    )
    assert first["training_loss"] != expected["training_loss"]
    assert first["training_loss"] == pytest.approx(expected["training_loss"], rel=0.03)
    assert all(math.isfinite(value) for value in first.values())
    floats = [value for value in weights(mixed / "ckpt-2").values() if value.dtype.kind == "f" or value.dtype == object]
    assert len(floats) > 400 and all(value.dtype == np.float32 for value in floats)
