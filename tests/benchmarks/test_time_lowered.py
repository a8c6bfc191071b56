"""Timing of lowered programs, as far as it can be tested without a device: inputs, shares of the rate, differences."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.lowered import time_lowered

FILE = Path(time_lowered.__file__)


def like(kind: str, low: float, high: float, mean: float = 0.0, deviation: float = 0.0) -> dict[str, object]:
    return {"shape": [50, 40], "type": kind, "mean": mean, "deviation": deviation, "low": low, "high": high}


def test_inputs_have_the_type_the_range_and_the_spread_of_the_real_ones() -> None:
    rng = np.random.default_rng(0)
    weights = time_lowered.drawn(like("float32", -0.5, 0.5, 0.1, 0.02), rng)
    assert (weights.shape, weights.dtype) == ((50, 40), np.float32)
    assert weights.mean() == pytest.approx(0.1, abs=0.002) and weights.std() == pytest.approx(0.02, abs=0.002)
    variance = time_lowered.drawn(like("float32", 1.0, 1.0, 1.0, 0.0), rng)
    assert (variance == 1.0).all()  # a variance must not be negative
    clipped = time_lowered.drawn(like("float32", 0.0, 1.0, 0.5, 5.0), rng)
    assert clipped.min() == 0.0 and clipped.max() == 1.0
    image = time_lowered.drawn(like("uint8", 0, 255), rng)
    assert image.dtype == np.uint8 and image.min() < 10 and image.max() > 245
    classes = time_lowered.drawn(like("int32", -1, 3), rng)
    assert set(np.unique(classes)) == {-1, 0, 1, 2, 3}
    assert time_lowered.drawn(like("bool", 0, 1, mean=1.0), rng).all()
    assert time_lowered.drawn(like("bfloat16", 0.0, 1.0, 0.5, 0.1), rng).dtype.name == "bfloat16"


def test_bits_of_constants_become_bytes() -> None:
    """The lowest bit of 0b0101 and 0b1 is the first value. Constants that are not packed stay unchanged."""
    line = '%0 = stablehlo.constant dense<"0x0501"> : tensor<3x3xi1>'
    assert time_lowered.unpacked(line) == line.replace("0501", "010001000000000001")
    for same in ('dense<"0x0501"> : tensor<2xui8>', 'dense<"0x010001"> : tensor<3xi1>', "dense<true> : tensor<3xi1>"):
        assert time_lowered.unpacked(same) == same


def test_shares_by_hand() -> None:
    """8 images with 4 TFLOP in total take half a second on a device of 16 TFLOP/s: half of its rate."""
    about = {"images": 8, "precision": "bfloat16", "operations": 4e12}
    row = time_lowered.figures(about, 0.5, 16e12)
    assert (row["images_per_second"], row["share_of_matrix_rate"]) == (16.0, 0.5)
    printed = time_lowered.table([row | {"besides_bytes": 3 * 2**30, "device": "some device"}])
    assert (
        "16.0" in printed and "50.0%" in printed and "3.00 GiB" in printed and "some device: 16.00 TFLOP/s" in printed
    )


def test_agreement_is_measured_by_the_change() -> None:
    """A step changes a weight of 100 by 0.01. An error of 0.005 is half of the change, but tiny beside the weight."""
    before, after = np.array([100.0, 50.0], np.float32), np.array([100.01, 50.0], np.float32)
    change = time_lowered.moved(after, before)
    assert change == pytest.approx(0.01, rel=1e-3)
    assert time_lowered.off(after, after, change) == 0.0
    assert time_lowered.off(before + [0.005, 0.0], after, change) == pytest.approx(0.5, rel=1e-3)
    assert time_lowered.off(np.nextafter(after, np.float32(200)), after, change) == 0.0  # rounding of the weight
    assert time_lowered.moved(before, before) == time_lowered.moved(np.array([3e-12]), np.zeros(1)) == 0.0
    with pytest.raises(ValueError, match="shape"):
        time_lowered.moved(after[:1], after)


def test_only_changed_outputs_count() -> None:
    """Output 0 is the loss, which replaces no input. Output 1 is right, 2 is wrong; 3 and 4 must not change, and 3
    changes only by rounding."""
    inputs = [np.zeros(9), np.array([0.1]), np.array([0.2]), np.array([0.0]), np.array([5])]
    expected = [np.array([2.0]), np.array([0.2]), np.array([0.4]), np.array([3e-12]), np.array([5])]
    taken = {1: 1, 2: 2, 3: 3, 4: 4}
    assert time_lowered.agreement(expected, expected, inputs, taken) == (3, 0.0, (), ())
    found = [expected[0], np.array([0.2001]), np.array([0.35]), np.array([-2e-12]), np.array([6])]
    agreement = time_lowered.agreement(found, expected, inputs, taken)
    assert (agreement.changed, agreement.apart, agreement.strayed) == (3, (2,), (4,))
    assert agreement.worst == pytest.approx(0.25) and "2 of 3 changed outputs agree" in str(agreement)
    nothing = [np.array([np.nan]), *expected[1:]]
    assert time_lowered.agreement(nothing, expected, inputs, taken).apart == (0,)
    with pytest.raises(ValueError, match="has 1 outputs, but 5"):
        time_lowered.agreement(found[:1], expected, inputs, taken)


ALIAS = '{alias = {kind = "may_alias", parameter_index = array<i64>, parameter_number = %d : i64}, output_index = %s}'


def module(*pairs: tuple[int, int]) -> str:
    """Returns the head of a module as written by TensorFlow 2.20."""
    listed = ", ".join(ALIAS % (parameter, f"array<i64: {output}>") for parameter, output in pairs)
    attributes = f"mhlo.cross_program_prefetches = [], mhlo.input_output_alias = [{listed}], mhlo.is_dynamic = false"
    return f"#loc1 = loc(unknown)\nmodule @step attributes {{{attributes}}} {{\n}}\n"


def test_which_output_takes_which_inputs_place() -> None:
    assert time_lowered.places(module((31, 1), (33, 2), (40, 12))) == {1: 31, 2: 33, 12: 40}
    assert time_lowered.places("module @step {\n}") == time_lowered.places(module()) == {}
    with pytest.raises(ValueError, match="1 outputs replace an input, but only 0 could"):
        time_lowered.places(module((31, 1)).replace("array<i64: 1>", "array<i64>"))


class Counter:
    """A program that adds its first input to its second, and consumes the second like JAX."""

    places = {1: 1}

    def __init__(self) -> None:
        self.gone: list[int] = []

    def __call__(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        assert id(inputs[1]) not in self.gone, "used up by the last call"
        self.gone.append(id(inputs[1]))
        return [inputs[1] * 10, inputs[0] + inputs[1]]


def test_every_call_is_given_what_the_last_one_left() -> None:
    step = time_lowered.Training(Counter(), [np.array(2), np.array(5)])
    kept = [step() for _ in range(3)]  # so that no id is used twice
    assert [(int(ten), int(total)) for ten, total in kept] == [(50, 7), (70, 9), (90, 11)]


def test_memory_besides_the_inputs() -> None:
    """Outputs that replace an input need no memory."""
    sizes = {"temp": 7, "output": 100, "alias": 90, "argument": 120}
    stats = SimpleNamespace(**{f"{name}_size_in_bytes": size for name, size in sizes.items()})
    program = time_lowered.Program.__new__(time_lowered.Program)
    program._executable = SimpleNamespace(get_compiled_memory_stats=lambda: stats)
    assert program.memory() == {"argument_bytes": 120, "besides_bytes": 17}


def test_matrices_are_random() -> None:
    one, other = time_lowered.matrices("bfloat16", 64)
    assert one.shape == other.shape == (64, 64) and one.dtype.name == "bfloat16"
    for each in (one, other):
        assert each.astype(np.float32).std() == pytest.approx(1.0, abs=0.1)
    assert not np.array_equal(one, other)


def test_jax_runs_a_program_again_and_again(tmp_path: Path) -> None:
    """If jax is installed: a step that consumes its input is timed, and the result is that of the number of calls."""
    jax = pytest.importorskip("jax")
    function = "func.func @main(%x: tensor<f32>, %w: tensor<2xf32>) -> (tensor<f32>, tensor<2xf32>) {"
    body = "%s = stablehlo.add %w, %w : tensor<2xf32>\nreturn %x, %s : tensor<f32>, tensor<2xf32>"
    (tmp_path / "step.mlir").write_text(module((1, 1)).replace("{\n}", f"{{\n{function}\n{body}\n}}\n}}"))
    program = time_lowered.Program(str(tmp_path / "step.mlir"))
    step = time_lowered.Training(program, program.put([np.array(1, np.float32), np.ones(2, np.float32)]))
    assert time_lowered.seconds(step) > 0.0
    last = jax.device_get(step())
    assert last[1].tolist() == [2.0 ** (time_lowered.WARM + time_lowered.REPEATS + 1)] * 2


def test_the_runner_is_one_file_that_needs_nothing_of_this_project(tmp_path: Path) -> None:
    """Copied to another folder, without the project on the path, it prints its usage."""
    copy = tmp_path / FILE.name
    copy.write_bytes(FILE.read_bytes())
    told = subprocess.run([sys.executable, "-I", str(copy), "--help"], capture_output=True, text=True, cwd=tmp_path)
    assert told.returncode == 0 and "--check" in told.stdout
    imported = {
        line.split()[1].split(".")[0] for line in FILE.read_text().splitlines() if line.strip().startswith("import ")
    }
    assert imported <= {"argparse", "json", "re", "statistics", "sys", "time", "numpy", "jax", "ml_dtypes"}


def test_what_beside_a_program_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="step.mlir.json"):
        time_lowered.measured(str(tmp_path / "step.mlir"), {})
