"""The whole train step of the paper's student (ResNet-152-FPN, 640 pixels, bfloat16) compiles for an accelerator."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import tf_keras

from benchmarks import lowered
from must_tf import config

PAPER = Path(__file__).resolve().parent.parent / "experiments" / "paper"
FILES = [str(PAPER / name) for name in ("shared.yaml", "student_imagenet.yaml", "on_tpu.yaml")]
SIX = {"task": {"tasks": {"masks": {"enabled": True}, "normals": {"enabled": True}}}}  # the paper's student has no such
BATCH = 2


@pytest.fixture
def float32_again() -> Iterator[None]:
    """The precision is one for the whole process."""
    yield
    tf_keras.mixed_precision.set_global_policy("float32")


@pytest.mark.usefixtures("float32_again")
def test_full_size_step_has_static_shapes_and_never_asks_the_host() -> None:
    """As StableHLO: no size that is known only while it runs, no call back to Python or out of the device."""
    params = config.load("must_student", FILES)
    config.apply(params, SIX, "test")
    lowered.settle(params, 80)
    program = lowered.lower(params, BATCH)
    assert not lowered.DYNAMIC.findall(program)
    assert not lowered.HOST.findall(program)
    # It is the whole step: images come in, the convolutions of ResNet-152 are there, and two gradients of each.
    assert re.search(rf"tensor<{BATCH}x640x640x3xui8>", program)
    assert program.count("stablehlo.convolution") > 3 * 155
    assert re.search(r"stablehlo\.convolution.*tensor<[0-9x]+xbf16>", program)


def test_a_dynamic_program_is_seen() -> None:
    """The patterns find what they are for."""
    assert lowered.DYNAMIC.findall("%0 = stablehlo.add %a, %b : tensor<?x4xf32>")
    assert lowered.DYNAMIC.findall("tensor<8x4xf32, #stablehlo.bounds<8, ?>>")
    assert not lowered.DYNAMIC.findall("stablehlo.dynamic_slice %a : tensor<8x4xf32>")
    assert lowered.HOST.findall("stablehlo.custom_call @xla_python_cpu_callback(%0)")
    assert lowered.HOST.findall("stablehlo.outfeed")
