"""The trunk's own settings: what its backbone gets of a pixel, also in the export."""

from __future__ import annotations

import types
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from must_tf.config import values as config_values
from must_tf.experiments import experiment_config
from must_tf.model import student
from must_tf.model.trunk import TrunkConfig, problems
from must_tf.runs import restore
from must_tf.serving.saved_model import FITTED, Server
from tests.support.tiny import Tiny
from tests.support.trunks import images, stages, trunk

TINY = {"backbone": {"type": "resnet", "resnet": {"model_id": 10, "depth_multiplier": 0.25}}}
OTHER = {"normalisation": {"mean": [127.0, 100.0, 90.0], "deviation": [128.0, 64.0, 32.0]}}


def test_the_normalisation() -> None:
    """Pixels of the other normalisation, put into the usual trunk, give the same features."""
    usual, other = trunk(TINY), trunk(TINY | OTHER)
    for mine, theirs in zip(other.backbone.variables, usual.backbone.variables, strict=True):
        mine.assign(theirs)
    pixels = images().astype(np.float32)
    normalised = (pixels - [127.0, 100.0, 90.0]) / [128.0, 64.0, 32.0]
    expected = stages(usual, normalised * [58.395, 57.12, 57.375] + [123.675, 116.28, 103.53])
    for level, found in stages(other, images()).items():
        np.testing.assert_allclose(found, expected[level], rtol=1e-3, atol=1e-4)
    assert not np.allclose(stages(usual, images())["5"], expected["5"], atol=1e-2)


def test_the_levels_of_an_efficientnet() -> None:
    """Strides 4 to 32, with the channels of the paper's table 1, and nothing behind them: no unused convolution."""
    lite = trunk({"backbone": {"type": "efficientnet", "efficientnet": {"model_id": "b0"}}})
    shapes = {level: value.shape[1:] for level, value in stages(lite, images(1)).items()}
    assert shapes == {"2": (32, 32, 24), "3": (16, 16, 40), "4": (8, 8, 112), "5": (4, 4, 320)}
    assert not [v.name for v in lite.backbone.variables if v.shape[-1] == 1280]
    pyramid = lite(images(1))
    assert {level: value.shape[1] for level, value in pyramid.levels.items()} == {
        "3": 16,
        "4": 8,
        "5": 4,
        "6": 2,
        "7": 1,
    }
    assert pyramid.c5.shape[1:] == (4, 4, 320) == lite.empty().c5.shape[1:]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"normalisation": {"mean": [127.0]}}, "task.model.normalisation.mean has 1 numbers. Give 3"),
        ({"se_activation": "swish"}, "task.model.se_activation=swish needs task.model.backbone.type=efficientnet"),
        ({"min_level": 6, "max_level": 4}, "task.model.min_level=6 is above task.model.max_level=4."),
        ({"backbone": {"type": "vit"}}, "task.model.backbone.type=vit has no features of strides 4, 8, 16 and 32"),
        ({"decoder": {"type": "identity"}}, "task.model.decoder.type=identity gives the heads no pyramid of"),
    ],
)
def test_settings_that_do_not_fit(settings: dict[str, object], message: str) -> None:
    config = TrunkConfig()
    assert problems(config) == []
    config_values.apply(config, settings, "test")
    assert [text[: len(message)] for text in problems(config)] == [message]


def test_the_export_normalises_alike(tiny_records: Tiny) -> None:
    """Its outputs are those of the model, whose normalisation is not the usual one."""
    params = experiment_config.load("must_teacher_depth", [tiny_records.config])
    config_values.apply(params, {"task": {"model": OTHER}}, "test")
    model = student.build(params.task)
    for variable in model.heads["depth"].trainable_variables:  # so that depth depends on the image
        variable.assign(4.0 * variable)
    inputs = {"image": tf.constant(images()), "image_shape": tf.fill([2, 2], 128.0)}
    expected = model(inputs, training=False)["predictions"]["depth"]["metres"]
    served = Server(model, params.task).signatures()[FITTED](**inputs)["depth/metres"]
    np.testing.assert_allclose(served, expected, rtol=1e-5)
    config_values.apply(params, {"task": {"model": {"normalisation": TrunkConfig().normalisation.as_dict()}}}, "test")
    usual = student.build(params.task)
    usual.set_weights(model.get_weights())
    assert not np.allclose(usual(inputs, training=False)["predictions"]["depth"]["metres"], expected, rtol=1e-3)


def test_the_id_of_a_run_is_that_of_earlier_versions(tiny: Tiny) -> None:
    """Settings that they did not have count only if they are not the defaults: labels know their teacher by the id."""
    config = restore.read_config(tiny.run)
    before = restore.identity(tiny.run, config)
    config_values.apply(config, {"model": {"normalisation": TrunkConfig().normalisation.as_dict()}}, "test")
    assert restore.identity(tiny.run, config) == before
    without = config.as_dict()
    assert {"normalisation", "se_activation"} < set(without["model"])
    for task in ("depth", "normals"):
        for key in ("confidence_threshold", "weighting"):
            del without["tasks"][task][key]
    earlier: Any = types.SimpleNamespace(as_dict=lambda: without)
    assert restore.identity(tiny.run, earlier) == before
    config_values.apply(config, {"tasks": {"depth": {"weighting": "confidence"}}}, "test")
    assert restore.identity(tiny.run, config) != before
    config_values.apply(config, {"model": OTHER}, "test")
    assert restore.identity(tiny.run, config) != before
