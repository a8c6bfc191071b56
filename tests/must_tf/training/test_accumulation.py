"""A batch in several parts is one step, the same as of the whole batch.

The normalisation of this network is frozen: otherwise each part would be normalised by its own statistics.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from must_tf.cli import train
from must_tf.common import upstream
from must_tf.common.errors import UserError
from must_tf.config import values as config_values
from must_tf.experiments import experiment_config
from must_tf.runs import checkpoints
from must_tf.training import fine_tuning, preflight
from must_tf.training import task as task_lib
from must_tf.training.accumulation import Accumulation
from tests.support.session.forked_python import INTERPRETER
from tests.support.tiny import Tiny, arguments, data, scene_record, write_config, write_set

# The tasks that each image has labels for. No part has as many as another; the images 1 and 2 show objects.
BOXES = ("detection", "masks")
LABELLED = (("depth", "classification"), ("classification", "depth", *BOXES), ("segmentation", "normals", *BOXES), ())
# parts and replicas: of the whole batch, of parts, and both
KINDS = {"whole": (1, 1), "halves": (2, 1), "halves on two": (2, 2)}
# Of float32 sums in another order, for each variable by itself. Measured: 2e-5.
TOLERANCE = 1e-3


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, np.ndarray]]:
    """The changes of all variables in one step, and what is logged. Two devices need a process of their own."""
    root = tmp_path_factory.mktemp("accumulation")
    write_config(root / "tiny.yaml")
    write_set(root / "records", [[scene_record(index, tasks) for index, tasks in enumerate(LABELLED)]])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [*INTERPRETER, "-W", "ignore", "-m", "tests.must_tf.training.test_accumulation", str(root)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return {kind: dict(np.load(root / f"{kind}.npz")) for kind in KINDS}


def parts_of(steps: dict[str, dict[str, np.ndarray]], kind: str, logged: bool) -> dict[str, np.ndarray]:
    return {name: value for name, value in steps[kind].items() if name.startswith("logged ") is logged}


@pytest.mark.parametrize("kind", list(KINDS)[1:])
def test_parts_are_one_step(steps: dict[str, dict[str, np.ndarray]], kind: str) -> None:
    """For every loss and its count: of images, pixels, anchors, coordinates, and of proposals."""
    whole, parts = (parts_of(steps, each, logged=False) for each in ("whole", kind))
    changed = [name for name, value in whole.items() if np.any(value)]
    assert len(changed) > 70 and whole.keys() == parts.keys()
    for name in changed:
        assert np.linalg.norm(parts[name] - whole[name]) < TOLERANCE * np.linalg.norm(whole[name]), name
    logged, expected = (parts_of(steps, each, logged=True) for each in (kind, "whole"))
    assert {"logged depth/silog", "logged masks/cross_entropy", "logged detection/box"} < expected.keys()
    for name, value in expected.items():
        assert value != 0, name  # otherwise nothing of it was labelled
        np.testing.assert_allclose(logged[name], value, rtol=1e-3, err_msg=name)


def step(strategy: tf.distribute.Strategy, root: Path, parts: int) -> dict[str, np.ndarray]:
    """One step of plain gradient descent: the change of each variable by position and name, and what is logged."""
    tf_keras.backend.clear_session()
    params = experiment_config.load("must_student", [str(root / "tiny.yaml")])
    train_data = {"input_path": str(root / "records" / "*.tfrecord"), "global_batch_size": len(LABELLED)}
    settings = {"task": {"train_data": train_data, "accumulate_steps": parts, "balance": "learned"}}
    config_values.apply(params, settings, "test")
    preflight.settle(params, "train")
    tf_keras.utils.set_random_seed(1)
    with strategy.scope():
        task = task_lib.StudentTask(params.task)
        model = task.build_model()
        fine_tuning.freeze_batch_norm(model)
        optimizer = tf_keras.optimizers.legacy.SGD(1.0)
        upstream.create_slots(optimizer, model.trainable_variables)
        metrics = task.build_metrics()
        accumulation = Accumulation(task, model, optimizer) if parts > 1 else None
    batch = next(
        iter(strategy.distribute_datasets_from_function(lambda c: task.build_inputs(params.task.train_data, c)))
    )
    before = [variable.numpy() for variable in model.variables]
    with strategy.scope():
        if accumulation:
            accumulation.accumulate(batch)
            strategy.run(lambda: accumulation.apply(metrics))
        else:
            strategy.run(lambda mine: task.train_step(mine, model, optimizer, metrics), args=(batch,))
    names = [f"{place} {variable.name}" for place, variable in enumerate(model.variables)]
    changes = {name: old - new.numpy() for name, old, new in zip(names, before, model.variables, strict=True)}
    return changes | {f"logged {metric.name}": metric.result().numpy() for metric in metrics}


def main() -> None:
    """Writes the step of every kind."""
    root = Path(sys.argv[1])
    tf.config.run_functions_eagerly(True)
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    for kind, (parts, replicas) in KINDS.items():
        devices = [f"CPU:{number}" for number in range(replicas)]
        strategy = tf.distribute.MirroredStrategy(devices) if replicas > 1 else tf.distribute.OneDeviceStrategy("CPU:0")
        np.savez(root / f"{kind}.npz", **step(strategy, root, parts))  # type: ignore[arg-type]


def flags(tiny: Tiny, run: Path, steps: int, **task: Any) -> list[str]:
    override = data(f"{tiny.records}/*.tfrecord")
    override["task"] |= {"accumulate_steps": 2, **task}
    override["trainer"] = {"train_steps": steps, "checkpoint_interval": 1}
    return arguments(tiny.config, run, "must_teacher_classification", override, "train")


def test_a_training_goes_on_as_if_it_had_not_been_interrupted(tiny_records: Tiny, tmp_path: Path) -> None:
    """Its steps are those of the optimizer. These run as graphs."""
    train.main(flags(tiny_records, tmp_path / "whole", 3))
    shutil.copytree(tmp_path / "whole", tmp_path / "again")
    for prefix in checkpoints.listed(str(tmp_path / "again"))[:-1]:
        for path in (tmp_path / "again").glob(f"{Path(prefix).name}.*"):
            path.unlink()
    upstream.write_checkpoint_state(str(tmp_path / "again"), [f"{tmp_path}/again/ckpt-1"])
    train.main(flags(tiny_records, tmp_path / "again", 3))
    readers = [tf.train.load_checkpoint(f"{tmp_path}/{name}/ckpt-3") for name in ("whole", "again")]
    values = [name for name in readers[0].get_variable_to_shape_map() if name.endswith("VARIABLE_VALUE")]
    for name in values:
        first, second = (reader.get_tensor(name) for reader in readers)
        np.testing.assert_array_equal(first, second, err_msg=name)
    assert checkpoints.step_of(f"{tmp_path}/whole/ckpt-3") == 3


def test_counting_changes_nothing(tiny_records: Tiny) -> None:
    """The forward pass that only counts leaves the statistics of batch normalisation to the other one."""
    params = experiment_config.load("must_teacher_classification", [tiny_records.config])
    train_data = {"input_path": f"{tiny_records.records}/*.tfrecord"}
    config_values.apply(params, {"task": {"train_data": train_data, "accumulate_steps": 2}}, "test")
    preflight.settle(params, "train")
    task = task_lib.StudentTask(params.task)
    model = task.build_model()
    accumulation = Accumulation(task, model, tf_keras.optimizers.legacy.SGD(1.0))
    before = [variable.numpy() for variable in model.variables]
    batch = next(iter(task.build_inputs(params.task.train_data)))
    accumulation._repeat(accumulation._count, batch)
    assert accumulation._counts["classification/cross_entropy"].numpy() == 2
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value, err_msg=variable.name)


@pytest.mark.parametrize(
    ("task", "runtime", "said"),
    [
        ({"train_data": {"global_batch_size": 3}}, {}, "global_batch_size=3 must be a multiple of task.accumulate_st"),
        ({"train_data": {"global_batch_size": 0}}, {}, "accumulate_steps=2 needs a number for .*not 0"),
        ({}, {"distribution_strategy": "tpu"}, "accumulate_steps=2 does not run on a TPU"),
        ({"accumulate_steps": 0}, {}, "accumulate_steps=0.*at least 1"),
    ],
)
def test_what_cannot_be_accumulated_is_refused(
    tiny_records: Tiny, tmp_path: Path, task: dict[str, Any], runtime: dict[str, str], said: str
) -> None:
    override = data(f"{tiny_records.records}/*.tfrecord")
    override["task"]["train_data"] |= task.get("train_data", {})
    override["task"] |= {"accumulate_steps": task.get("accumulate_steps", 2)}
    override["runtime"] = runtime
    given = arguments(tiny_records.config, tmp_path / "run", "must_teacher_classification", override, "train")
    with pytest.raises(UserError, match=said):
        train.main(given)
    assert not (tmp_path / "run").exists()


def test_a_batch_is_divided_among_devices_first() -> None:
    from must_tf.training import accumulation

    params = mock.MagicMock()
    params.task.accumulate_steps, params.task.train_data.global_batch_size = 4, 12
    accumulation.check_size(params, 1)
    with pytest.raises(
        UserError, match="global_batch_size=12 must be a multiple of task.accumulate_steps=4 times 2 dev"
    ):
        accumulation.check_size(params, 2)


if __name__ == "__main__":
    main()
