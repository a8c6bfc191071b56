"""Initial weights from other checkpoints, also Model Garden's: they are compared before anything is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from official.vision.configs import image_classification, retinanet
from official.vision.modeling import factory

from must_tf.common.errors import UserError
from must_tf.config import values as config_values
from must_tf.experiments import experiment_config
from must_tf.model import student
from must_tf.runs import checkpoint_match, init_weights, restore
from tests.support.mistakes import merged
from tests.support.tiny import Tiny
from tests.support.weights import like, same, values

SPEC = tf_keras.layers.InputSpec(shape=[None, 128, 128, 3])


def fresh(tiny_records: Tiny, *heads: str, **settings: Any) -> student.Student:
    """An untrained student of the tiny shape with these heads."""
    params = experiment_config.load("must_student", [tiny_records.config])
    tasks = {name: {"enabled": name in heads} for name in student.enabled(params.task)}
    config_values.apply(params, {"task": merged({"tasks": tasks}, settings)}, "test")
    return student.build(params.task)


def shared(tiny_records: Tiny) -> dict[str, Any]:
    """The settings that a Model Garden model must share with the tiny student."""
    model = experiment_config.load("must_student", [tiny_records.config]).task.model
    return {"backbone": model.backbone, "norm_activation": model.norm_activation}


@pytest.fixture(scope="module")
def retina(tiny_records: Tiny) -> tf_keras.Model:
    """Model Garden's RetinaNet."""
    decoder = experiment_config.load("must_student", [tiny_records.config]).task.model.decoder
    settings = retinanet.RetinaNet(num_classes=3, input_size=[128, 128, 3], decoder=decoder, **shared(tiny_records))
    settings.head.num_filters = 16
    return factory.build_retinanet(SPEC, settings)


@pytest.fixture(scope="module")
def classifier(tiny_records: Tiny) -> tf_keras.Model:
    """Model Garden's classifier."""
    settings = image_classification.ImageClassificationModel(num_classes=3, **shared(tiny_records))
    return factory.build_classification_model(SPEC, settings)


# Model Garden's trainer saves the model and its `checkpoint_items`; published checkpoints have only the parts.
SAVED = {
    "trainer": lambda model: {"model": model, "global_step": tf.Variable(7, dtype=tf.int64)} | model.checkpoint_items,
    "model alone": lambda model: {"model": model},
    "parts": lambda model: model.checkpoint_items,
}


@pytest.mark.parametrize("how", SAVED)
def test_a_retinanet_of_model_garden(how: str, retina: tf_keras.Model, tiny_records: Tiny, tmp_path: Path) -> None:
    """Backbone and FPN are loaded bit by bit. The head keeps its random weights."""
    path = tf.train.Checkpoint(**SAVED[how](retina)).write(str(tmp_path / "ckpt-7"))
    model = fresh(tiny_records, "depth")
    head = values(model.heads["depth"])
    report = init_weights.load(model, path, "trunk")
    assert same(values(model.trunk.backbone), values(retina.backbone))
    assert same(values(model.trunk.decoder), values(retina.decoder))
    assert same(values(model.heads["depth"]), head)
    assert ["trunk/decoder", str(len(retina.decoder.variables)), "0", "0"] in [
        line.split() for line in report.splitlines()
    ]
    assert "random weights: heads/depth" in report


def test_a_classifier_of_model_garden(classifier: tf_keras.Model, tiny_records: Tiny, tmp_path: Path) -> None:
    """It has no FPN. The error names the setting that works."""
    parts = {"backbone": classifier.backbone, "model": classifier}
    path = tf.train.Checkpoint(**parts).write(str(tmp_path / "ckpt"))
    model = fresh(tiny_records, "depth")
    before = values(model)
    with pytest.raises(UserError, match="has no trunk/decoder.*task.init_modules=backbone"):
        init_weights.load(model, path, "trunk")
    assert same(values(model), before)
    report = init_weights.load(model, path, "backbone")
    assert same(values(model.trunk.backbone), values(classifier.backbone))
    assert "random weights: trunk/decoder" in report


def test_a_list_of_modules(tiny: Tiny) -> None:
    """The trunk and one head. The other head keeps its random weights."""
    source, model = restore.load(tiny.run).model, like(tiny.run, ("depth", "normals"))
    fresh_head = values(model.heads["normals"])
    init_weights.load(model, tiny.run, ["trunk", "depth"])
    assert same(values(model.trunk), values(source.trunk))
    assert same(values(model.heads["depth"]), values(source.heads["depth"]))
    assert same(values(model.heads["normals"]), fresh_head)


@pytest.fixture(scope="module")
def depth_student(tiny: Tiny) -> student.Student:
    """An untrained student for depth."""
    return like(tiny.run, ("depth",))


@pytest.mark.parametrize(
    ("modules", "expected"),
    [
        ("bakbone", "init_modules='bakbone' is unknown. Did you mean 'backbone'"),
        (["trunk", "dpeth"], "'dpeth' is unknown. Did you mean 'depth'"),
        ("", "init_modules='' is unknown"),
        (["normals"], "names normals, which is not enabled in this run"),
    ],
)
def test_an_unknown_module(modules: str | list[str], expected: str, tiny: Tiny, depth_student: student.Student) -> None:
    """Neither a part nor a task, or a task without a head in the model."""
    with pytest.raises(UserError, match=expected):
        init_weights.load(depth_student, tiny.run, modules)


def test_a_head_that_the_checkpoint_lacks(tiny_records: Tiny, tmp_path: Path) -> None:
    """It is an error to name it. With "all" the head keeps its random weights."""
    path = tf.train.Checkpoint(model=fresh(tiny_records, "depth")).write(str(tmp_path / "ckpt-1"))
    model = fresh(tiny_records, "depth", "normals")
    with pytest.raises(UserError, match="has no heads/normals"):
        init_weights.load(model, path, ["trunk", "normals"])
    assert "random weights: heads/normals" in init_weights.load(model, path, "all")


def test_the_table_of_a_checkpoint_that_does_not_fit(tiny_records: Tiny, tmp_path: Path) -> None:
    """The FPN has other widths, and so has the head's input. Nothing is read, not even the backbone, which fits."""
    path = tf.train.Checkpoint(model=fresh(tiny_records, "depth")).write(str(tmp_path / "ckpt-1"))
    model = fresh(tiny_records, "depth", model={"decoder": {"fpn": {"num_filters": 8}}})
    before = values(model)
    with pytest.raises(UserError) as refused:
        init_weights.load(model, path, "all")
    lines = [line.split() for line in str(refused.value).splitlines()]
    assert ["trunk/backbone", str(len(model.trunk.backbone.variables)), "0", "0"] in lines
    counts = next(line for line in lines if line[0] == "trunk/decoder")
    assert [int(n) for n in counts[1:]] == [0, 0, len(model.trunk.decoder.variables)]  # each has the FPN's width
    assert "[16] in the checkpoint, [8] in the model" in str(refused.value)
    assert same(values(model), before)


def test_counting_by_hand(tmp_path: Path) -> None:
    """Two of four variables fit, one has another shape, one is missing."""

    def module(**shapes: list[int]) -> tf.Module:
        root = tf.Module()
        for name, shape in shapes.items():
            setattr(root, name, tf.Variable(tf.zeros(shape), name=name))
        return root

    saved = tf.train.Checkpoint(part=module(a=[2], b=[3], c=[4, 5], unused=[1]))
    graph = checkpoint_match.CheckpointGraph(saved.write(str(tmp_path / "ckpt")))
    match = checkpoint_match.compare(module(a=[2], b=[3], c=[5, 4], d=[6]), graph, ("part",))
    assert match.restored == ("a:0", "b:0")
    assert match.missing == ("d:0",)
    assert match.mismatched == ("c:0 [4, 5] in the checkpoint, [5, 4] in the model",)
    nowhere = checkpoint_match.compare(module(a=[2]), graph, ("other",))
    assert (nowhere.restored, nowhere.missing) == ((), ("a:0",))


def test_the_whole_model_of_a_run(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    """The table counts every variable of the model as restored."""
    model = restore.load(tiny.run).model
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if "/" in line.split()[0]]
    assert sum(int(line[1]) for line in lines) == len(model.variables)
    assert all(line[2:] == ["0", "0"] for line in lines)
    assert {line[0] for line in lines} == {
        "trunk/backbone",
        "trunk/decoder",
        *(f"heads/{name}" for name in model.heads),
    }


def test_variables_of_replicas_and_mixed_precision_match(tiny_records: Tiny, tmp_path: Path) -> None:
    """Their variables are wrapped, but the same ones are restored."""
    path = tf.train.Checkpoint(model=fresh(tiny_records, "depth")).write(str(tmp_path / "ckpt-1"))
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        mirrored = fresh(tiny_records, "depth")
    restored = restore.match(mirrored, path, "this")
    tf_keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        assert restore.match(fresh(tiny_records, "depth"), path, "this") == restored
    finally:
        tf_keras.mixed_precision.set_global_policy("float32")
    saved = tf.train.load_checkpoint(path)
    name = next(key for key in saved.get_variable_to_shape_map() if key.startswith("model/trunk/decoder"))
    assert any(np.array_equal(saved.get_tensor(name), value) for value in values(mirrored.trunk.decoder))
