"""The automatic batch size: the largest power of two that fits, chosen once for a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from must_tf.cli import train
from must_tf.common import devices
from must_tf.common.errors import UserError
from must_tf.config import values as config_values
from must_tf.experiments import experiment_config
from must_tf.runs import restore
from must_tf.training import batch_size, memory_estimate, preflight
from must_tf.training.batch_size import Devices
from must_tf.training.task import StudentTask
from tests.support.session.graphs import eagerly
from tests.support.tiny import Tiny, arguments, data

# Half of 1,000 bytes: 100 whatever the batch, and 400 / 50 = 8 images.
ONE = Devices(1, 1000)


@pytest.mark.parametrize(
    ("found", "fixed", "image", "most", "rows"),
    [
        (ONE, 100, 50, 1000, 8),
        (ONE, 101, 50, 1000, 4),  # 501 bytes are more than half
        (ONE, 100, 50, 7, 4),  # of seven images
        (ONE, 0, 1, 1000, 64),  # the most
        (ONE, 900, 50, 1000, 1),  # not even one fits
        (Devices(4, 1000), 100, 1, 1000, 16),  # 64 on four GPUs
        (Devices(3, 1000), 100, 50, 1000, 8),
        (Devices(100, 1000), 100, 50, 1000, 1),  # at least one on each
    ],
)
def test_the_largest_that_fits(found: Devices, fixed: int, image: int, most: int, rows: int) -> None:
    """By hand."""
    assert batch_size.fitting(found, fixed, image, most) == rows


def params_of(tiny: Tiny, experiment: str = "must_teacher_detection", **override: Any) -> Any:
    params = experiment_config.load(experiment, [tiny.config])
    config_values.apply(params, data(f"{tiny.records}/*.tfrecord"), "test")
    config_values.apply(params, override, "test")
    return params


def test_memory_is_linear_in_the_images(tiny_records: Tiny) -> None:
    """The estimates for one and two images give the one for five, also for a head of two stages."""
    params = params_of(tiny_records, task={"model": {"max_level": 4}})  # fewer levels are traced sooner
    preflight.settle(params, "train")
    task = StudentTask(params.task)
    optimizer = task.create_optimizer(params.trainer.optimizer_config)
    spec = task.build_inputs(params.task.train_data).element_spec
    one, two, five = memory_estimate.estimates(task, optimizer, spec, (1, 2, 5))
    assert five.total == pytest.approx(one.total + 4 * (two.total - one.total), rel=1e-3)
    assert two.activations > 1.5 * one.activations > 0


def flags(tiny: Tiny, run: Path, size: int) -> list[str]:
    override = data(f"{tiny.records}/*.tfrecord")
    override["task"]["train_data"]["global_batch_size"] = size
    # The paper's weights depend on the batch size.
    own = {"teacher_batch_size": 8, "teacher_learning_rate": 0.01}
    override["task"] |= {"balance": "paper", "tasks": {"classification": own}}
    return arguments(tiny.config, run, "must_teacher_classification", override, "train")


def test_a_chosen_size_is_that_size(
    tiny_records: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run with it is the run with the number, bit for bit. With other memory it goes on with the same number."""
    monkeypatch.setattr(devices, "free_memory", lambda: 10**12)
    with eagerly():
        train.main(flags(tiny_records, tmp_path / "auto", 0))
    assert "task.train_data.global_batch_size: chose 4. A step needs at least" in capsys.readouterr().out  # of 5 images
    with eagerly():
        train.main(flags(tiny_records, tmp_path / "given", 4))
    for name in (folder := ("auto", "given")):
        config = restore.read_config(str(tmp_path / name))
        assert config.train_data.global_batch_size == 4
        assert config.tasks.classification.weight == pytest.approx(0.5)  # 4 * 0.01 / (8 * 0.01)
    first, second = (tf.train.load_checkpoint(str(tmp_path / name / "ckpt-2")) for name in folder)
    names = [name for name in first.get_variable_to_shape_map() if name.startswith("model/")]
    assert len(names) > 60
    assert all(np.array_equal(first.get_tensor(name), second.get_tensor(name)) for name in names)
    capsys.readouterr()
    monkeypatch.setattr(devices, "free_memory", lambda: 1)
    train.main(flags(tiny_records, tmp_path / "auto", 0))
    assert "is finished: 2 of 2 steps" in (said := capsys.readouterr().out) and ": chose " not in said


def test_too_little_memory_is_said(
    tiny_records: Tiny, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One image is tried all the same."""
    monkeypatch.setattr(devices, "free_memory", lambda: 10**6)
    params = params_of(tiny_records, "must_teacher_classification")
    batch_size.choose(params, preflight.settle(params, "train"))
    assert params.task.train_data.global_batch_size == 1
    said = capsys.readouterr().out
    assert "chose 1." in said and "MORE than it should: lower task.input_size" in said


def test_where_nothing_can_be_chosen(tiny_records: Tiny, tmp_path: Path) -> None:
    """On several machines, which must all agree; and for an evaluation."""
    automatic = {"train_data": {"global_batch_size": 0}}
    params = params_of(tiny_records, task=automatic, runtime={"distribution_strategy": "multi_worker_mirrored"})
    with pytest.raises(UserError, match="one machine, not runtime.distribution_strategy=multi_worker_mirrored"):
        batch_size.check(params.runtime)
    params = params_of(tiny_records, task={"validation_data": {"global_batch_size": 0}})
    with pytest.raises(UserError, match="task.validation_data.global_batch_size=0 is out of range"):
        preflight.settle(params, "train_and_eval")


def test_the_limit_of_a_container(tmp_path: Path) -> None:
    """The files of both versions of cgroups, and none."""
    machine = devices.free_memory(str(tmp_path))
    for folder, (limit, used) in zip(("", "memory"), devices.CONTAINER_MEMORY, strict=True):
        group = tmp_path / "sys/fs/cgroup" / folder
        group.mkdir(parents=True, exist_ok=True)
        (group / limit).write_text("5000\n")
        (group / used).write_text("1800\n")
        assert devices.free_memory(str(tmp_path)) == 3200
        (group / limit).write_text("max\n")
        assert devices.free_memory(str(tmp_path)) > machine / 2


@pytest.mark.parametrize(
    ("own", "folder"),
    [
        ("1:name=systemd:/x\n4:memory:/job_7/step_0\n0::/\n", "memory/job_7"),
        ("0::/job_7/step_0\n", "job_7"),
        ("4:memory,cpu:/job_7/step_0\n", "memory/job_7/step_0"),
    ],
)
def test_the_limit_of_a_job(own: str, folder: str, tmp_path: Path) -> None:
    """A batch system limits a group of processes on a machine without limits, and starts this one in a group below.

    Of its 1,800 bytes, 700 are files that Linux gives up for programs, those of the groups below included.
    """
    group = tmp_path / "sys/fs/cgroup" / folder
    group.mkdir(parents=True)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(own)
    names = devices.CONTAINER_MEMORY[folder.startswith("memory")]
    for name, text in zip(names, ("5000\n", "1800\n"), strict=True):
        (group / name).write_text(text)
    assert devices.free_memory(str(tmp_path)) == 3200
    (group / "memory.stat").write_text("cache 900\ninactive_file 600\nactive_file 200\ntotal_inactive_file 700\n")
    assert devices.free_memory(str(tmp_path)) == 3900
