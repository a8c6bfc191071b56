"""The whole train step of the paper's student (640 pixels, bfloat16) compiles for an accelerator.

Its backbone has 2, 1, 1 and 1 blocks here, not the 3, 8, 36 and 3 of ResNet-152: the same kinds of layers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from official.modeling import optimization
from official.vision.modeling.backbones import resnet
from official.vision.modeling.heads import dense_prediction_heads

from benchmarks.lowered import lower
from must_tf.config import values as config_values
from must_tf.experiments import experiment_config

PAPER = Path(__file__).resolve().parents[2] / "experiments" / "paper"
FILES = [str(PAPER / name) for name in ("shared.yaml", "student_imagenet.yaml", "on_tpu.yaml")]
SIX = {
    "task": {
        "tasks": {"masks": {"enabled": True}, "normals": {"enabled": True}},  # not in the paper's student
        "model": {"backbone": {"resnet": {"model_id": 50}}},
    }
}
BATCH = 2


@pytest.fixture
def float32_again() -> Iterator[None]:
    """Restores the precision, which is global in the process."""
    yield
    tf_keras.mixed_precision.set_global_policy("float32")


@pytest.mark.usefixtures("float32_again")
def test_full_size_step_has_static_shapes_and_never_asks_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """The StableHLO has no size that is known only at run time, and no call to Python or out of the device."""
    short = [("bottleneck", filters, blocks) for filters, blocks in ((64, 2), (128, 1), (256, 1), (512, 1))]
    monkeypatch.setitem(resnet.RESNET_SPECS, 50, short)
    params = experiment_config.load("must_student", FILES)
    config_values.apply(params, SIX, "test")
    lower.settle(params, 80)
    program = lower.lower(params, BATCH)
    assert not lower.DYNAMIC.findall(program)
    assert not lower.HOST.findall(program)
    # It is the whole step: images as input, the backbone's 20 convolutions, and two gradients of each.
    assert re.search(rf"tensor<{BATCH}x640x640x3xui8>", program)
    assert program.count("stablehlo.convolution") > 3 * 20
    assert re.search(r"stablehlo\.convolution.*tensor<[0-9x]+xbf16>", program)


def test_a_dynamic_program_is_seen() -> None:
    """The patterns match dynamic sizes and calls to the host, and nothing else."""
    assert lower.DYNAMIC.findall("%0 = stablehlo.add %a, %b : tensor<?x4xf32>")
    assert lower.DYNAMIC.findall("tensor<8x4xf32, #stablehlo.bounds<8, ?>>")
    assert not lower.DYNAMIC.findall("stablehlo.dynamic_slice %a : tensor<8x4xf32>")
    assert lower.HOST.findall("stablehlo.custom_call @xla_python_cpu_callback(%0)")
    assert lower.HOST.findall("stablehlo.outfeed")


def step_of(model: object, optimizer: object) -> lower.Step:
    return lower.Step(None, lambda: None, [], (model, optimizer, []))


@pytest.mark.parametrize(("warmup", "expected"), [({"type": "linear", "linear": {"warmup_steps": 500}}, 500), ({}, 0)])
def test_values_are_taken_where_the_learning_rate_is_whole(warmup: dict[str, object], expected: int) -> None:
    """At step 0 of a warm-up from 0 no weight changes, so any program would agree."""
    params = experiment_config.load("must_student")
    params.trainer.optimizer_config.warmup = optimization.OptimizationConfig({"warmup": warmup}).warmup
    rate = optimization.OptimizerFactory(params.trainer.optimizer_config).build_learning_rate()
    assert (float(rate(0)) == 0.0) == bool(warmup)
    optimizer = SimpleNamespace(iterations=tf.Variable(0, dtype=tf.int64))
    step_of(None, optimizer).past_warmup(params)
    assert int(optimizer.iterations) == expected
    assert float(rate(optimizer.iterations)) == pytest.approx(0.08, rel=1e-3)


def test_an_untrained_rpns_scores_are_driven_apart() -> None:
    """Only the kernel of the scores in Model Garden's RPN changes."""
    rpn = dense_prediction_heads.RPNHead(3, 4, 3, num_filters=4)
    rpn({"3": tf.zeros([1, 8, 8, 4]), "4": tf.zeros([1, 4, 4, 4])})
    before = {each.name: each.numpy() for each in rpn.trainable_variables}
    step_of(rpn, None).without_ties()
    factors = {
        each.name: each.numpy() / np.where(before[each.name] == 0.0, 1.0, before[each.name])
        for each in rpn.trainable_variables
    }
    moved = {name for name, factor in factors.items() if not np.isin(factor, [0.0, 1.0]).all()}
    assert len(moved) == 1 and "rpn-scores" in min(moved)
    np.testing.assert_allclose(factors[min(moved)], 1000.0, rtol=1e-6)
