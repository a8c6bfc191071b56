"""Averaged weights: their values are NumPy's, and everything but a resumed training uses them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from official.modeling import optimization

from must_tf.cli import export, train
from must_tf.common import run_files
from must_tf.common.errors import TERMINATED, UserError
from must_tf.config import values as config_values
from must_tf.experiments import experiment_config
from must_tf.model import student
from must_tf.runs import checkpoint_match, checkpoints, init_weights, restore
from must_tf.serving import saved_model
from must_tf.training import averages, preflight
from tests.support.session.forked_python import INTERPRETER
from tests.support.session.graphs import eagerly
from tests.support.tiny import Tiny, arguments, command, data, trained
from tests.support.weights import like, same, values

STEPS, DECAY, START = 5, 0.6, 2


EMA = {"average_decay": DECAY, "start_step": START}


def flags(tiny: Tiny, run: Path, mode: str = "train_and_eval", ema: Any = EMA, steps: int = STEPS) -> list[str]:
    """A depth teacher that starts from the tiny run, saves every step and evaluates every second."""
    override = data(f"{tiny.records}/*.tfrecord")
    override["task"] |= {"init_checkpoint": tiny.run, "init_modules": "all"}
    override["trainer"] = {
        "train_steps": steps,
        "checkpoint_interval": 1,
        "max_to_keep": 2 * STEPS,
        "optimizer_config": {"ema": ema},
    }
    return arguments(tiny.config, run, "must_teacher_depth", override, mode)


@pytest.fixture(scope="module")
def run(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished run."""
    folder = tmp_path_factory.mktemp("averages") / "run"
    trained(flags(tiny, folder))
    return folder


def saved(prefix: Path | str, root: str) -> dict[str, np.ndarray]:
    """The weights of a checkpoint below this name, without slots of the optimizer."""
    reader = tf.train.load_checkpoint(str(prefix))
    names = [name for name in reader.get_variable_to_shape_map() if name.startswith(f"{root}/")]
    return {name.removeprefix(root): reader.get_tensor(name) for name in names if ".OPTIMIZER_SLOT" not in name}


def decay(step: int) -> float:
    """d of a step, by hand: 0 before step 2, then 1/10, 2/11, 3/12, 4/13, and never above 0.6."""
    return 0.0 if step < START else min(DECAY, (1 + step - START) / (10 + step - START))


def test_the_averages_are_numpys(tiny: Tiny, run: Path) -> None:
    """Over the weights of every step, in float64. Statistics are averaged too."""
    expected = {name: value.astype(np.float64) for name, value in saved(run / "ckpt-1", "model").items()}
    assert len(expected) > 60
    for step in range(1, STEPS + 1):
        found, weights = (saved(run / f"ckpt-{step}", root) for root in ("average", "model"))
        assert found.keys() == expected.keys() == weights.keys()
        for name, weight in weights.items():
            expected[name] = decay(step) * expected[name] + (1 - decay(step)) * weight
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-7, err_msg=name)
    first, last = saved(run / "ckpt-1", "average"), saved(run / "ckpt-1", "model")
    assert all(np.array_equal(first[name], last[name]) for name in first)  # before `start_step`
    differing = [name for name, value in found.items() if not np.array_equal(value, weights[name])]
    assert any("moving_mean" in name for name in differing) and len(differing) > 0.9 * len(found)


def test_averages_start_at_the_initial_weights(tiny: Tiny, tmp_path: Path) -> None:
    """After one step, 2/11 of them is left: min(0.99, (1 + 1) / (10 + 1)). Not of zeros, nor of random weights."""
    with eagerly():
        train.main(flags(tiny, tmp_path / "run", "train", {"average_decay": 0.99}, steps=1))
    initial, weights = saved(Path(tiny.run) / "ckpt-2", "model"), saved(tmp_path / "run" / "ckpt-1", "model")
    for name, found in saved(tmp_path / "run" / "ckpt-1", "average").items():
        expected = 2 / 11 * initial[name].astype(np.float64) + 9 / 11 * weights[name]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7, err_msg=name)


def without_times(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl without the speeds."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("images_per_second", "input_wait")} for line in lines]


def test_an_interrupted_run_ends_with_the_same_bits(tiny: Tiny, run: Path, tmp_path: Path) -> None:
    """SIGTERM saves the step that was reached, and the same command goes on. Evaluation in between changed nothing."""
    folder = tmp_path / "run"
    given = [flag.replace("checkpoint_interval: 1,", f"checkpoint_interval: {STEPS},") for flag in flags(tiny, folder)]
    assert given != flags(tiny, folder)
    words = command(given, [sys.executable])
    process = subprocess.Popen(**words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    while not (folder / run_files.METRICS).exists():
        assert process.poll() is None, "the run ended before it was told to"
        time.sleep(0.01)
    assert not checkpoints.newest(str(folder))
    process.terminate()
    told, _ = process.communicate()
    assert process.returncode == TERMINATED, told
    (step,) = re.findall(r"^saved step (\d)$", told, re.MULTILINE)
    assert checkpoints.newest(str(folder)) == str(folder / f"ckpt-{step}") and int(step) < STEPS
    trained(given)
    expected, found = (tf.train.load_checkpoint(str(path / "ckpt-5")) for path in (run, folder))
    names = [name for name in expected.get_variable_to_shape_map() if not name.startswith(("save_counter", "_CHECK"))]
    assert sum(name.startswith("average/") for name in names) > 60
    for name in names:
        assert np.asarray(expected.get_tensor(name)).tobytes() == np.asarray(found.get_tensor(name)).tobytes(), name
    assert without_times(folder / run_files.METRICS) == without_times(run / run_files.METRICS)
    evaluations = [json.loads((path / run_files.EVALUATION).read_text()) for path in (run, folder)]
    assert evaluations[0] == evaluations[1]


def test_training_is_the_same_without_averages(tiny: Tiny, run: Path, tmp_path: Path) -> None:
    """Neither the averages nor the evaluations of them change a bit of the trained weights."""
    trained(flags(tiny, tmp_path / "run", "train", ema=None))
    expected, found = saved(run / "ckpt-5", "model"), saved(tmp_path / "run" / "ckpt-5", "model")
    assert not saved(tmp_path / "run" / "ckpt-5", "average")
    assert expected.keys() == found.keys()
    assert all(expected[name].tobytes() == found[name].tobytes() for name in expected)


def evaluated(tiny: Tiny, run: Path) -> dict[str, float]:
    """The metrics of --mode=eval, without the training's optimizer settings."""
    override = data(f"{tiny.records}/*.tfrecord")
    with eagerly():
        train.main(arguments(tiny.config, run, "must_teacher_depth", override, "eval"))
    figures: dict[str, float] = json.loads((run / run_files.EVALUATION).read_text())["figures"]
    return figures


def test_the_averages_are_evaluated(tiny: Tiny, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the training and by --mode=eval. The trained weights have other metrics."""
    expected = json.loads((run / run_files.EVALUATION).read_text())["figures"]
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    assert evaluated(tiny, copy) == pytest.approx(expected, rel=1e-5)
    monkeypatch.setattr(checkpoint_match.CheckpointGraph, "used", checkpoint_match.TRAINED)
    raw = evaluated(tiny, copy)
    assert abs(raw["depth/abs_rel"] - expected["depth/abs_rel"]) > 1e-3 * expected["depth/abs_rel"]


def test_the_averages_are_restored(run: Path) -> None:
    """By export and labelling, from the run and from its best checkpoint. The id is that of these weights."""
    for folder in (run, run / "best" / "overall"):
        loaded = restore.load(str(folder))
        stored = saved(folder / f"ckpt-{loaded.step}", "average")
        assert len(stored) > 60
        assert sorted(map(np.ndarray.tobytes, stored.values())) == sorted(map(np.ndarray.tobytes, values(loaded.model)))
        assert loaded.id == restore.identity(str(folder), loaded.config)


def test_the_id_is_of_the_weights_that_are_used(run: Path, tmp_path: Path) -> None:
    """A run without averages whose trained weights are these averages predicts the same, so it has the same id."""
    loaded = restore.load(str(run))
    plain, raw = tmp_path / "plain", student.build(loaded.config)
    for folder, model in ((plain, loaded.model), (tmp_path / "raw", raw)):
        if model is raw:
            restore.match(raw, str(run / "ckpt-5"), "", checkpoint_match.TRAINED)
        checkpoint = tf.train.Checkpoint(model=model, global_step=tf.Variable(5, dtype=tf.int64))
        tf.train.CheckpointManager(checkpoint, str(folder), 1).save(5)
    assert restore.identity(str(plain), loaded.config) == loaded.id
    assert restore.identity(str(tmp_path / "raw"), loaded.config) != loaded.id


def test_a_later_run_starts_from_the_averages(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = restore.load(str(run)).model
    model = like(str(run), ("depth", "normals"))
    report = init_weights.load(model, str(run), "all")
    assert same(values(model.trunk), values(source.trunk)) and same(
        values(model.heads["depth"]), values(source.heads["depth"])
    )
    assert f"loaded from {run}/ckpt-5, averaged weights" in report
    assert f"restored from {run}/ckpt-5, averaged weights" in capsys.readouterr().out


def test_the_export_serves_the_averages(tiny: Tiny, run: Path, tmp_path: Path) -> None:
    """Its values are those of the weights that the evaluation used, and not of the trained ones."""
    export.main([f"--model_dir={run}", f"--out={tmp_path / 'export'}"])
    image = tf.constant(np.random.default_rng(0).integers(0, 255, (1, 128, 128, 3), np.uint8))
    batch = {"image": image, "image_shape": tf.constant([[128.0, 128.0]])}
    served = tf.saved_model.load(str(tmp_path / "export")).signatures[saved_model.FITTED](**batch)
    for weights, equal in ((checkpoint_match.AVERAGED, True), (checkpoint_match.TRAINED, False)):
        model = student.build(restore.read_config(str(run)))
        restore.match(model, str(run / "ckpt-5"), "", weights)
        found = model(batch, training=False)["predictions"]["depth"]["metres"]
        assert np.allclose(found, served["depth/metres"], rtol=1e-4) == equal


def normalized() -> tf_keras.Model:
    """A layer and a batch normalization: two trained weights, gamma, beta and two statistics."""
    inputs = tf_keras.Input((2,))
    return tf_keras.Model(inputs, tf_keras.layers.BatchNormalization()(tf_keras.layers.Dense(3)(inputs)))


@pytest.mark.parametrize("only", [False, True])
def test_statistics_can_be_left_out(only: bool) -> None:
    """`trainable_weights_only` keeps those of the trained weights. Model Garden's own settings have it on."""
    config = optimization.EMAConfig() if only else averages.AveragesConfig()
    assert config.trainable_weights_only == only
    config.override({"dynamic_decay": False, "average_decay": 0.75})
    model = normalized()
    kept = averages.Averages(config, model, normalized())
    kept.start()
    before = [variable.numpy() for variable in model.variables]
    for variable in model.variables:
        variable.assign_add(tf.ones_like(variable))
    kept.update(kept.decay(tf.constant(1, tf.int64)))
    statistics = {variable.ref() for variable in model.non_trainable_variables}
    for average, variable, old in zip(kept.model.variables, model.variables, before, strict=True):
        moved = 1.0 if only and variable.ref() in statistics else 0.25
        np.testing.assert_allclose(average.numpy(), old + moved, rtol=1e-6)


def test_the_growing_decay_is_tensorflows() -> None:
    """An independent implementation: TensorFlow's own averages, with the number of updates."""
    model = normalized()
    kept = averages.Averages(averages.AveragesConfig({"average_decay": 0.5}), model, normalized())
    kept.start()
    kernel = model.trainable_variables[0]
    step = tf.Variable(0, dtype=tf.int64)
    theirs = tf.train.ExponentialMovingAverage(0.5, num_updates=step)
    theirs.apply([kernel])
    for number in range(1, 20):
        kernel.assign_add(tf.ones_like(kernel))
        step.assign(number)
        theirs.apply([kernel])
        kept.update(kept.decay(tf.constant(number, tf.int64)))
        np.testing.assert_allclose(kept.model.trainable_variables[0], theirs.average(kernel), rtol=1e-5)


REPLICAS = """
import numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from must_tf.training import averages
from tests.must_tf.training.test_averages import normalized
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    model, other = normalized(), normalized()
    kept = averages.Averages(averages.AveragesConfig({"average_decay": 0.75, "dynamic_decay": False}), model, other)
    kept.start()
before = [variable.numpy() for variable in model.variables]
@tf.function
def step():
    decay = kept.decay(tf.constant(1, tf.int64))
    def one():
        replica = tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, tf.float32)
        for variable in model.trainable_variables:
            variable.assign_add(tf.ones_like(variable))
        for variable in model.non_trainable_variables:
            variable.assign_add(tf.ones_like(variable) * (1.0 + 2.0 * replica))  # each replica has its own statistics
        kept.update(decay)
    strategy.run(one)
step()
learned = {variable.ref() for variable in model.trainable_variables}
for average, variable, old in zip(other.variables, model.variables, before):
    moved = 0.25 if variable.ref() in learned else 0.25 * (1.0 + 3.0) / 2.0
    np.testing.assert_allclose(average.numpy(), old + moved, rtol=1e-6)
    if variable.ref() in learned:
        first, second = strategy.experimental_local_results(average)
        np.testing.assert_array_equal(first.numpy(), second.numpy())
"""


def test_every_replica_has_the_averages() -> None:
    """Weights are the same everywhere. The averaged statistics are those of all replicas."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [*INTERPRETER, "-W", "ignore", "-c", REPLICAS], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize(
    ("ema", "words"),
    [
        ({"average_dekay": 0.9}, "ema.average_dekay: no such key. Did you mean 'average_decay'"),
        ({"average_decay": 1.0}, "ema.average_decay=1.0 is out of range: must be at least 0 and below 1"),
        ({"average_decay": "high"}, "ema.average_decay='high': must be a number"),
        (0.99, "ema=0.99: must be a group of keys"),
        ({"global_clipnorm": 1.0}, "ema.global_clipnorm would clip nothing"),
    ],
)
def test_wrong_settings(ema: Any, words: str, tiny_records: Tiny) -> None:
    """Model Garden accepts any key and value in a group that is off by default."""
    params = experiment_config.load("must_teacher_depth", [tiny_records.config])
    with pytest.raises(UserError, match=re.escape(words)):
        config_values.apply(params, {"trainer": {"optimizer_config": {"ema": ema}}}, "test")
        config_values.apply(params, data(f"{tiny_records.records}/*.tfrecord"), "test")
        preflight.settle(params, "train")
