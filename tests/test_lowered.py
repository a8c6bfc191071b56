"""The whole train step of the full-size student (ResNet-152-FPN, six heads, 640 pixels) compiles for an accelerator."""

from __future__ import annotations

import re

from benchmarks import lowered
from must_tf import config

FULL = {"task": {"input_size": 640, "model": {"backbone": {"resnet": {"model_id": 152}}}}}
BATCH = 2


def test_full_size_step_has_static_shapes_and_never_asks_the_host() -> None:
    """As StableHLO: no size that is known only while it runs, no call back to Python or out of the device."""
    params = config.load("must_student")
    config.apply(params, FULL, "test")
    lowered.settle(params, 80)
    program = lowered.lower(params, BATCH)
    assert not lowered.DYNAMIC.findall(program)
    assert not lowered.HOST.findall(program)
    # It is the whole step: images come in, the convolutions of ResNet-152 are there, and two gradients of each.
    assert re.search(rf"tensor<{BATCH}x640x640x3xui8>", program)
    assert program.count("stablehlo.convolution") > 3 * 155


def test_a_dynamic_program_is_seen() -> None:
    """The patterns find what they are for."""
    assert lowered.DYNAMIC.findall("%0 = stablehlo.add %a, %b : tensor<?x4xf32>")
    assert lowered.DYNAMIC.findall("tensor<8x4xf32, #stablehlo.bounds<8, ?>>")
    assert not lowered.DYNAMIC.findall("stablehlo.dynamic_slice %a : tensor<8x4xf32>")
    assert lowered.HOST.findall("stablehlo.custom_call @xla_python_cpu_callback(%0)")
    assert lowered.HOST.findall("stablehlo.outfeed")
