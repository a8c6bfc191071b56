"""What a start needs, and that a run with other settings is refused before its first step."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from official.vision.configs import backbones, common, image_classification
from official.vision.modeling import factory

from must_tf.common.errors import UserError
from must_tf.config import values as config_values
from must_tf.experiments import experiment_config
from must_tf.model import student
from must_tf.runs import init_weights, restore, start, trunk_settings
from tests.support import efficientnet_reference as reference
from tests.support.tiny import Tiny
from tests.support.torch_files import tensors, zip_format
from tests.support.weights import same, values

LITE0 = {
    "backbone": {"type": "efficientnet", "efficientnet": {"model_id": "b0", "se_ratio": 0.0}},
    "norm_activation": {"activation": "relu6", "norm_epsilon": 0.001},
    "normalisation": {"mean": [127.0, 127.0, 127.0], "deviation": [128.0, 128.0, 128.0]},
}


def config(tiny: Tiny, *settings: dict[str, Any]) -> student.StudentConfig:
    """Returns the config of a depth teacher of the tiny shape with these settings on top."""
    params = experiment_config.load("must_teacher_depth", [tiny.config])
    for nested in settings:
        config_values.apply(params, nested, "test")
    return params.task


@pytest.fixture
def lite0(tmp_path: Path) -> str:
    """A weight file of random weights."""
    path = tmp_path / "lite0.pth"
    path.write_bytes(zip_format(tensors(reference.random_weights(has_se=False))))
    return str(path)


def test_a_weight_file(lite0: str, tiny_records: Tiny) -> None:
    """Its settings make a student that it fits. The FPN and the head keep their random weights."""
    settings = start.settings(lite0)
    assert settings == {"task": {"model": LITE0, "init_checkpoint": lite0, "init_modules": "backbone"}}
    task = config(tiny_records, settings)
    model = student.build(task)
    before = values(model.trunk.decoder), values(model.heads["depth"])
    assert init_weights.check(task.init_checkpoint, task.init_modules, task.model) == lite0
    report = init_weights.load(model, task.init_checkpoint, task.init_modules)
    count = str(len(model.trunk.backbone.variables))
    assert ["trunk/backbone", count, "0", "0"] in [line.split() for line in report.splitlines()]
    assert "EfficientNet-Lite0 of pytorch" in report and "random weights: trunk/decoder, heads/depth" in report
    assert same(before[0], values(model.trunk.decoder)) and same(before[1], values(model.heads["depth"]))
    norms = [v.numpy() for v in model.trunk.backbone.variables if "moving_variance" in v.name]
    expected = reference.random_weights(has_se=False)
    np.testing.assert_array_equal(norms[0], expected["_bn0.running_var"])
    np.testing.assert_array_equal(norms[-1], expected["_blocks.15._bn2.running_var"])


def test_the_published_weights() -> None:
    """By their name, wherever the package is."""
    assert start.settings("efficientnet-lite0")["task"] == {
        "model": LITE0,
        "init_checkpoint": "efficientnet-lite0",
        "init_modules": "backbone",
    }


def test_random_weights() -> None:
    assert start.settings("random") == {"task": {"init_checkpoint": ""}}


WRONG = {
    "normalisation": ({"normalisation": {"mean": [123.675, 116.28, 103.53]}}, "normalisation.mean=[127.0,127.0,127.0]"),
    "activation": ({"norm_activation": {"activation": "relu"}}, "norm_activation.activation=relu6"),
    "gates": ({"backbone": {"efficientnet": {"se_ratio": 0.25}}}, "backbone.efficientnet.se_ratio=0.0"),
    "backbone": (
        {"backbone": {"type": "resnet"}},
        "backbone.type=efficientnet,task.model.backbone.efficientnet.model_id=b0,"
        "task.model.backbone.efficientnet.se_ratio=0.0",
    ),
    "epsilon": ({"norm_activation": {"norm_epsilon": 1e-4}}, "norm_activation.norm_epsilon=0.001"),
}


@pytest.mark.parametrize("case", WRONG)
def test_other_settings_are_refused(case: str, lite0: str, tiny_records: Tiny) -> None:
    """The message has the one that differs, with the value that fits."""
    settings, expected = WRONG[case]
    task = config(tiny_records, start.settings(lite0), {"task": {"model": settings}})
    with pytest.raises(UserError) as refused:
        init_weights.check(lite0, "backbone", task.model)
    assert str(refused.value).endswith(f"Give: task.model.{expected}")


def test_nothing_is_loaded_into_another_model(lite0: str, tiny_records: Tiny) -> None:
    """Also without the check before a run."""
    model = student.build(config(tiny_records))
    before = values(model)
    with pytest.raises(UserError, match="Give: task.model.backbone.type=efficientnet,.*se_ratio=0.0,"):
        init_weights.load(model, lite0, "backbone")
    assert same(before, values(model))


def test_a_weight_file_has_no_fpn(lite0: str) -> None:
    with pytest.raises(UserError, match="has a backbone only. Set task.init_modules=backbone"):
        init_weights.check(lite0, "trunk")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("efficientnet-lite1", "Did you mean 'efficientnet-lite0'"),
        ("nowhere", "no checkpoint in 'nowhere'"),
        ("nowhere.safetensors", "nowhere.safetensors: no such file"),
    ],
)
def test_no_such_start(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        start.settings(name)


def test_a_run_that_does_not_exist_gets_its_neighbour(tiny: Tiny) -> None:
    folder = os.path.dirname(tiny.run)
    hint = f" does not exist. Did you mean '{tiny.run}'"
    with pytest.raises(UserError, match=f"no checkpoint in '{folder}/rum'. It{hint}.*Give a run directory"):
        init_weights.checkpoint_path(f"{folder}/rum")
    with pytest.raises(UserError, match=f"{folder}/rum/params.yaml{hint}.*--model_dir"):
        restore.read_config(f"{folder}/rum")


def test_a_run(tiny: Tiny) -> None:
    """The settings of its own trunk, whatever they are; a checkpoint in it is the same."""
    for place in (tiny.run, f"{tiny.run}/ckpt-2"):
        settings = start.settings(place)["task"]
        assert (settings["init_checkpoint"], settings["init_modules"]) == (place, "trunk")
        other = {"task": {"model": {"norm_activation": {"activation": "swish"}}}}
        model = config(tiny, other, {"task": settings}).model
        assert config_values.plain(model.as_dict()) == config_values.plain(
            restore.read_config(tiny.run).model.as_dict()
        )
        assert init_weights.check(place, "trunk", model) == f"{tiny.run}/ckpt-2"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"normalisation": {"deviation": [255.0, 255.0, 255.0]}}, r"normalisation.deviation=\[58.395,57.12,57.375\]"),
        ({"norm_activation": {"activation": "relu6"}}, "norm_activation.activation=relu$"),
    ],
)
def test_a_run_with_other_settings(settings: dict[str, Any], message: str, tiny: Tiny) -> None:
    """Its shapes fit, but its weights would see other pixels or activations."""
    task = config(tiny, {"task": {"model": settings}})
    with pytest.raises(UserError, match=message):
        init_weights.check(tiny.run, "trunk", task.model)
    with pytest.raises(UserError, match=message):
        init_weights.load(student.build(task), tiny.run, "trunk")
    shallower = {"backbone": {"resnet": {"stochastic_depth_drop_rate": 0.2}}}  # a matter of training only
    init_weights.check(tiny.run, "trunk", config(tiny, {"task": {"model": shallower}}).model)


def classifier() -> tf_keras.Model:
    """Model Garden's classifier on Lite0."""
    backbone = backbones.Backbone(type="efficientnet", efficientnet=backbones.EfficientNet(model_id="b0"))
    norm = common.NormActivation(activation="relu6", norm_epsilon=0.001, use_sync_bn=False)
    settings = image_classification.ImageClassificationModel(num_classes=3, backbone=backbone, norm_activation=norm)
    return factory.build_classification_model(tf_keras.layers.InputSpec(shape=[None, 128, 128, 3]), settings)


def bits(variables: list[tf.Variable]) -> list[bytes]:
    """Returns the values, without their order."""
    return [variable.numpy().tobytes() for variable in variables]


def test_an_efficientnet_of_model_garden(tiny_records: Tiny, tmp_path: Path) -> None:
    """It has one more convolution, for its classes, which no level of the FPN uses. The others are restored."""
    theirs = classifier()
    prefix = tf.train.Checkpoint(backbone=theirs.backbone, model=theirs).write(str(tmp_path / "ckpt-3"))
    assert start.settings(prefix)["task"] == {"model": {}, "init_checkpoint": prefix, "init_modules": "backbone"}
    (tmp_path / "params.yaml").write_text(
        "task: {model: {num_classes: 3, backbone: {type: efficientnet, efficientnet: {se_ratio: 0.0}}, "
        "norm_activation: {activation: relu6, norm_epsilon: 0.001}}}"
    )
    settings = start.settings(prefix)
    assert list(settings["task"]["model"]) == ["backbone", "norm_activation"]
    model = student.build(config(tiny_records, settings))
    init_weights.load(model, prefix, "backbone")
    loaded = [v for v in theirs.backbone.variables if v.shape[-1] != 1280]
    assert sorted(bits(model.trunk.backbone.variables)) == sorted(bits(loaded))
    assert len(loaded) == len(theirs.backbone.variables) - 5


def test_keys_of_an_older_run_have_their_defaults(tmp_path: Path) -> None:
    """A params.yaml from before a setting existed."""
    (tmp_path / "params.yaml").write_text("task: {model: {min_level: 3}, tasks: {}}")
    assert trunk_settings.of_checkpoint(str(tmp_path / "ckpt-1"))["normalisation"]["mean"] == [123.675, 116.28, 103.53]
    assert trunk_settings.of_checkpoint(str(tmp_path / "elsewhere" / "ckpt-1")) == {}
