"""The shortcuts before the first step change nothing: variables, optimizer slots and gradient norms stay the same."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import yaml
from official.modeling import optimization

from benchmarks.lowered import lower
from must_tf.common import upstream
from must_tf.config import values as config_values
from must_tf.experiments import experiment_config
from must_tf.model import student
from must_tf.training import gradients
from tests.support.tiny import ALL, CONFIG

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"momentum": 0.9},
    "adamw": {"weight_decay_rate": 0.1},
    "lars": {},
    "sgd_experimental": {"momentum": 0.9},
}


def test_a_call_creates_no_variables(tmp_path: Any) -> None:
    """Heads are built on the smallest pyramid. A forward pass at another size adds no variables."""
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(CONFIG))
    params = experiment_config.load("must_student", [str(tmp_path / "tiny.yaml")])
    config_values.apply(params, {"task": {"tasks": {name: {"enabled": True} for name in ALL}}}, "test")
    params.task.input_size = 256  # twice the smallest
    lower.settle(params, 3)
    model = student.build(params.task)
    before = [(variable.name, tuple(variable.shape)) for variable in model.variables]
    assert all(head.trainable_variables for head in model.heads.values())
    image, shape = tf.zeros([1, 256, 256, 3], tf.uint8), tf.fill([1, 2], 256.0)
    predictions = model({"image": image, "image_shape": shape}, training=False)["predictions"]
    assert [(variable.name, tuple(variable.shape)) for variable in model.variables] == before
    assert predictions["depth"]["metres"].shape[1] == 256 // 4  # of this input, not of the smallest


def optimizer_of(kind: str) -> Any:
    settings = {
        "optimizer": {"type": kind, kind: OPTIMIZERS[kind]},
        "learning_rate": {"type": "constant", "constant": {"learning_rate": 0.1}},
    }
    factory = optimization.OptimizerFactory(optimization.OptimizationConfig(settings))
    return factory.build_optimizer(factory.build_learning_rate())


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_slots_created_early_are_those_of_the_first_step(kind: str) -> None:
    """The function that applies gradients is traced once, creates no variables, and gives the same bits."""
    results, traced = [], []
    for early in (True, False):
        variables = [tf.Variable([1.0, -2.0], name="kernel"), tf.Variable([[0.5]], name="bias")]
        optimizer = optimizer_of(kind)
        if early:
            upstream.create_slots(optimizer, variables)
            count = len(optimizer.variables())

        @tf.function
        def step(optimizer: Any = optimizer, variables: Any = variables, early: bool = early) -> None:
            if early:
                traced.append(1)
            optimizer.apply_gradients([(tf.ones_like(variable) * 0.3, variable) for variable in variables])

        for _ in range(3):
            step()
        if early:
            assert len(optimizer.variables()) == count > len(variables)
        results.append([variable.numpy().tobytes() for variable in [*variables, *optimizer.variables()]])
    assert results[0] == results[1]
    assert len(traced) == 1


def test_gradient_norms_are_those_of_numpy() -> None:
    rng = np.random.default_rng(0)
    variables = [tf.Variable(rng.random(shape, np.float32)) for shape in ((3, 4), (5,), (2, 2), (7,))]
    slopes = [tf.constant(rng.standard_normal(variable.shape, np.float32)) for variable in variables[:3]] + [None]
    part = [SimpleNamespace(trainable_variables=variables[i : i + 1]) for i in range(4)]
    trunk = SimpleNamespace(backbone=part[0], decoder=part[1])
    heads = {"depth": part[2], "normals": part[3]}
    model: Any = SimpleNamespace(trainable_variables=variables, trunk=trunk, heads=heads)
    norms = {name: float(value) for name, value in gradients.norms(model, slopes).items()}
    lengths = [float(np.linalg.norm(slope.numpy())) for slope in slopes[:3]]
    expected = dict(zip(("backbone", "decoder", "depth"), lengths, strict=True)) | {"normals": 0.0}
    expected["all"] = float(np.linalg.norm(lengths))
    assert norms == pytest.approx({f"gradient_norm/{name}": value for name, value in expected.items()}, rel=1e-6)
