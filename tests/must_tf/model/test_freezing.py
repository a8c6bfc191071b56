"""Frozen modules: no variable of theirs changes, and the backward pass does not run through them."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import yaml

from must_tf.cli import train
from must_tf.common import upstream
from must_tf.common.errors import UserError
from must_tf.config import values as config_values
from must_tf.experiments import experiment_config
from must_tf.model import freezing
from must_tf.training import memory_estimate, preflight
from must_tf.training.task import StudentTask
from tests.support.mistakes import merged
from tests.support.session.graphs import eagerly
from tests.support.tiny import CONFIG, Tiny, arguments, data

HEADS = ("depth", "normals")


def test_the_trunk_is_its_two_parts() -> None:
    assert freezing.expanded(["trunk", "depth"]) == {"backbone", "decoder", "depth"}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["bakbone"], "task.freeze: 'bakbone' is not a module of this model. Did you mean 'backbone'?"),
        (["normals"], "'normals' is not a module of this model. Known: trunk, backbone, decoder, depth."),
        (["trunk", "depth"], "names every module"),
        (["depth", "decoder", "backbone"], "names every module"),
    ],
)
def test_mistakes(names: list[str], message: str) -> None:
    """A module of another model, and nothing to train."""
    assert message in freezing.problems(names, ["depth"])[0]
    assert freezing.problems(["backbone"], ["depth"]) == []


def settings(tiny: Tiny, freeze: list[str], **more: Any) -> Any:
    """The config of a student with two heads, which reads the tiny records."""
    params = experiment_config.load("must_student", [tiny.config])
    tasks = {name: {"enabled": name in HEADS} for name in CONFIG["task"]["tasks"]} | {
        "classification": {"enabled": False}
    }
    values = merged(data(f"{tiny.records}/*.tfrecord"), {"task": {"tasks": tasks, "freeze": freeze, **more}})
    config_values.apply(params, values, "test")
    params.trainer.optimizer_config.warmup.linear.warmup_learning_rate = (
        0.01  # otherwise the first step changes nothing
    )
    return params


def test_refused_before_the_run(tiny_records: Tiny) -> None:
    """With everything else that is wrong."""
    with pytest.raises(UserError, match="task.freeze: 'bacbone' is not .*'backbone'"):
        preflight.settle(settings(tiny_records, ["bacbone"]), "train")


def changed(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> set[str]:
    return {name for name, value in after.items() if not np.array_equal(before[name], value)}


def module_of(name: str) -> str:
    """Returns the module of a variable in a checkpoint: model/trunk/backbone/... or model/heads/depth/..."""
    parts = name.split("/")
    return parts[2] if parts[0] == "model" else ""


CASES = {
    "backbone": ["backbone"],
    "trunk": ["trunk"],
    "backbone and a head": ["backbone", "depth"],
    "decoder": ["decoder"],
}


@pytest.fixture(scope="module")
def batch(tiny_records: Tiny) -> Any:
    """Two images with labels; what is frozen does not matter."""
    params = settings(tiny_records, [])
    preflight.settle(params, "train")
    return next(iter(StudentTask(params.task).build_inputs(params.task.train_data)))


@pytest.mark.parametrize("case", CASES)
def test_one_step(case: str, tiny_records: Tiny, batch: Any) -> None:
    """Every trained module changes, also its statistics; no variable of a frozen one does, in a real step."""
    frozen = freezing.expanded(CASES[case])
    params = settings(tiny_records, CASES[case])
    task, model, optimizer = built(params)
    modules = {"backbone": model.trunk.backbone, "decoder": model.trunk.decoder} | dict(model.heads)
    before = {name: [v.numpy() for v in module.variables] for name, module in modules.items()}
    task.train_step(batch, model, optimizer)
    for name, module in modules.items():
        same = [np.array_equal(a, b.numpy()) for a, b in zip(before[name], module.variables, strict=True)]
        assert all(same) if name in frozen else np.mean(same) < 0.2, name
    slots = {slot.name for slot in upstream.create_slots(optimizer, model.trainable_variables)}
    assert len(slots) > len(model.trainable_variables)
    for name in frozen:
        assert not modules[name].trainable_variables and not modules[name].losses
        assert not any(v.name.split(":")[0] in slot for v in modules[name].variables for slot in slots)


def built(params: Any) -> tuple[StudentTask, Any, Any]:
    """Returns the task, its model and the optimizer."""
    preflight.settle(params, "train")
    task = StudentTask(params.task)
    return task, task.build_model(), task.create_optimizer(params.trainer.optimizer_config)


def test_the_backward_pass_ends_at_a_frozen_trunk(
    tiny_records: Tiny, batch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It keeps the activations of the heads only. A frozen backbone spares most of the memory."""
    kept = {}
    spec = tf.nest.map_structure(tf.TensorSpec.from_tensor, batch)
    for case, freeze in {"": [], **CASES}.items():
        task, model, optimizer = built(settings(tiny_records, freeze))
        monkeypatch.setattr(task, "build_model", functools.partial(next, iter([model])))  # not built once more
        (memory,) = memory_estimate.estimates(task, optimizer, spec, [2])
        kept[case] = memory.activations
        assert memory.gradients == sum(int(np.prod(v.shape)) * 4 for v in model.trainable_variables)
    assert kept["backbone"] < 0.5 * kept[""]
    assert kept["trunk"] < 0.95 * kept["backbone and a head"]  # 0.88; without the end at the FPN it is 0.9999
    assert kept["backbone and a head"] < kept["backbone"]
    assert kept["decoder"] > 0.8 * kept[""]  # the way to the backbone leads through it


def test_a_run(tiny_records: Tiny, tmp_path: Path) -> None:
    """The checkpoints of a run of two steps; its params.yaml has the setting."""
    override = merged(
        data(f"{tiny_records.records}/*.tfrecord"),
        {"task": {"freeze": ["backbone"]}, "trainer": {"checkpoint_interval": 1, "max_to_keep": 3}},
    )
    run = tmp_path / "run"
    with eagerly():
        train.main(arguments(tiny_records.config, run, "must_teacher_depth", override, "train"))
    first, last = (weights(run / f"ckpt-{step}") for step in (1, 2))
    assert first.keys() == last.keys()
    assert {module_of(name) for name in changed(first, last)} == {"", "decoder", "depth"}
    assert not [name for name in last if "backbone" in name and ".OPTIMIZER_SLOT" in name]
    assert [name for name in last if "decoder" in name and ".OPTIMIZER_SLOT" in name]
    assert yaml.safe_load((run / "params.yaml").read_text())["task"]["freeze"] == ["backbone"]


def weights(prefix: Path) -> dict[str, np.ndarray]:
    """All numbers of a checkpoint by name."""
    reader = tf.train.load_checkpoint(str(prefix))
    names = [name for name in reader.get_variable_to_shape_map() if not name.startswith("_CHECKPOINTABLE")]
    return {name: reader.get_tensor(name) for name in names}


def test_the_loss_of_a_frozen_head_is_logged(tiny_records: Tiny, batch: Any) -> None:
    """Whether others change what it predicts is worth knowing."""
    params = settings(tiny_records, ["trunk", "depth"])
    task, model, _ = built(params)
    outputs = model(batch, training=True)
    task.build_losses(batch, outputs, model.losses)
    assert {"depth/silog", "weight/depth"} <= outputs["logged"].keys()
