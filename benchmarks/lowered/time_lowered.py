"""Times train steps written by `benchmarks.lowered.lower`, on the device that JAX finds. Needs only jax and numpy.

    python time_lowered.py step-8.mlir step-16.mlir step-32.mlir --out times.json

FILE.json beside every program describes its inputs. Values are drawn accordingly, because only the device's time
matters. The device's rate of matrix products is measured too, in the program's precision, so that a step can be
compared with what the device can do. Written for jax 0.10, whose compiler it calls directly.

A program says which output replaces which input: the variables. JAX uses these inputs up, so every call gets the
outputs of the last one, as in training.

With `--check FILE.npz` (written by `lower --values`), the program runs on TensorFlow's inputs and must change every
variable as TensorFlow does. RESULTS.md lists the exceptions.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

REPEATS, WARM = 10, 2
SIDES = {"cpu": 1024}  # side of the multiplied matrices, by device
LARGE = 8192  # the side on other devices: large enough to be limited by arithmetic, not by memory
TOLERANCE = 2e-3  # as a share of the largest change: float32 sums in another order differ by that after a step
# Smaller changes are only rounding: the gradient of a bias before a norm is 0 except for the order of sums.
NOTHING = 1e-8
ROUNDINGS = 4  # allowed rounding of a changed value, in units in the last place


def drawn(like: Mapping[str, Any], rng: np.random.Generator) -> np.ndarray:
    """Draws an input as `FILE.json` describes it: shape, type, mean, deviation, low, high."""
    shape, kind, low, high = like["shape"], like["type"], like["low"], like["high"]
    if kind == "bool":
        return rng.random(shape) < like["mean"]
    if kind.startswith(("int", "uint")):
        return rng.integers(int(low), int(high) + 1, shape).astype(kind)
    values = rng.standard_normal(shape, np.float32) * np.float32(like["deviation"]) + np.float32(like["mean"])
    return np.clip(values, low, high).astype(_type(kind))


def _type(name: str) -> Any:
    if name != "bfloat16":
        return np.dtype(name)
    import ml_dtypes  # installed with jax

    return np.dtype(ml_dtypes.bfloat16)


# Boolean constants, which TensorFlow 2.20 writes as bits and newer readers expect as bytes.
PACKED = re.compile(r'dense<"0x([0-9A-Fa-f]+)"> : tensor<([0-9x]+)xi1>')


def unpacked(module: str) -> str:
    """Returns the same program with one byte per truth value in its large constants."""

    def one(found: re.Match[str]) -> str:
        count = int(np.prod([int(side) for side in found[2].split("x")]))
        packed = np.frombuffer(bytes.fromhex(found[1]), np.uint8)
        if len(packed) != -(-count // 8):
            return found[0]  # already bytes, or one value for all elements
        values = np.unpackbits(packed, bitorder="little")[:count]
        return f'dense<"0x{values.tobytes().hex().upper()}"> : tensor<{found[2]}xi1>'

    return PACKED.sub(one, module)


# XLA's notation in a module for outputs that replace an input.
PLACES = re.compile(r"mhlo\.input_output_alias\s*=\s*\[([^\]]*)\]")
PLACE = re.compile(r"parameter_number = (\d+) : i64\}, output_index = array<i64: (\d+)>")


def places(module: str) -> dict[int, int]:
    """Maps each output of a program to the input that it replaces. A call uses these inputs up.

    Raises:
      ValueError: the program states this in an unknown way.
    """
    found = PLACES.search(module)
    if not found:
        return {}
    pairs = {int(output): int(parameter) for parameter, output in PLACE.findall(found[1])}
    if len(pairs) != found[1].count("output_index"):
        raise ValueError(
            f"{found[1].count('output_index')} outputs replace an input, but only {len(pairs)} could be parsed"
        )
    return pairs


class Program:
    """A StableHLO module's text, compiled for the first device."""

    def __init__(self, path: str):
        import jax
        from jax.extend.mlir import ir
        from jax.interpreters import mlir
        from jaxlib import xla_client

        with open(path) as file:
            text = file.read()
        self.places = places(text)
        self.device = jax.local_devices()[0]
        start = time.perf_counter()
        with mlir.make_ir_context():
            module = ir.Module.parse(unpacked(text))
        devices = xla_client.DeviceList((self.device,))
        self._executable = self.device.client.compile_and_load(module, devices, xla_client.CompileOptions())
        self.compile_seconds = time.perf_counter() - start

    def put(self, inputs: Sequence[np.ndarray]) -> list[Any]:
        """Puts inputs on the device."""
        import jax

        return [jax.device_put(each, self.device) for each in inputs]

    def __call__(self, inputs: Sequence[Any]) -> list[Any]:
        results = self._executable.execute_sharded(list(inputs))
        return [shards[0] for shards in results.disassemble_into_single_device_arrays()]

    def memory(self) -> dict[str, int]:
        """Returns the bytes of the inputs, and of what a step needs besides; outputs that replace an input need
        nothing.
        """
        found = self._executable.get_compiled_memory_stats()
        besides = found.temp_size_in_bytes + found.output_size_in_bytes - found.alias_size_in_bytes
        return {"argument_bytes": int(found.argument_size_in_bytes), "besides_bytes": int(besides)}


class Training:
    """A program that is called repeatedly, each time with the variables of the last call."""

    def __init__(self, program: Any, inputs: Sequence[Any]):
        self._program, self._inputs = program, list(inputs)

    def __call__(self) -> list[Any]:
        outputs = self._program(self._inputs)
        for output, place in self._program.places.items():
            self._inputs[place] = outputs[output]
        return outputs


def seconds(call: Callable[[], Any]) -> float:
    """Times several calls and returns the median; the first ones do not count."""
    import jax

    taken = []
    for _ in range(WARM + REPEATS):
        start = time.perf_counter()
        jax.block_until_ready(call())
        taken.append(time.perf_counter() - start)
    return statistics.median(taken[WARM:])


def matrices(kind: str, side: int) -> np.ndarray:
    """Returns two random matrices: with equal numbers a device draws less power and runs too fast."""
    return np.random.default_rng(0).standard_normal([2, side, side], np.float32).astype(_type(kind))


def matrix_rate(kind: str, side: int) -> float:
    """Measures the floating point operations per second of a square matrix product."""
    import jax
    import jax.numpy as jnp

    one, other = (jax.device_put(each) for each in matrices(kind, side))
    product = jax.jit(jnp.matmul)
    return 2 * side**3 / seconds(lambda: product(one, other))


def measured(path: str, rates: dict[str, float]) -> dict[str, Any]:
    """Measures one program; `rates` caches the device's rates by type."""
    with open(f"{path}.json") as file:
        about = json.load(file)
    program, rng = Program(path), np.random.default_rng(0)
    taken = seconds(Training(program, program.put([drawn(each, rng) for each in about["inputs"]])))
    kind = about["precision"]
    side = SIDES.get(program.device.platform, LARGE)
    rates[kind] = rates.get(kind) or matrix_rate(kind, side)
    return figures(about, taken, rates[kind]) | {
        "program": path,
        "device": program.device.device_kind,
        "compile_seconds": program.compile_seconds,
        **program.memory(),
    }


def figures(about: Mapping[str, Any], step_seconds: float, rate: float) -> dict[str, Any]:
    """Derives figures from the time of a step and the device's rate."""
    return {
        "images": about["images"],
        "precision": about["precision"],
        "step_seconds": step_seconds,
        "images_per_second": about["images"] / step_seconds,
        "operations": about["operations"],
        "matrix_rate": rate,
        "share_of_matrix_rate": about["operations"] / step_seconds / rate,
    }


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Formats the figures for people."""
    lines = ["images  precision       step  images/s  of matrix rate  memory besides inputs"]
    for row in rows:
        took = f"{row['images']:>6}  {row['precision']:<10}  {row['step_seconds']:>6.3f} s"
        took += f"  {row['images_per_second']:>8.1f}"
        lines.append(f"{took}  {row['share_of_matrix_rate']:>14.1%}  {row['besides_bytes'] / 2**30:.2f} GiB")
    last = rows[-1]
    return "\n".join([*lines, f"{last['device']}: {last['matrix_rate'] / 1e12:.2f} TFLOP/s of matrix products"])


class Agreement(NamedTuple):
    """Agreement of a program's outputs with the expected ones, by output number."""

    changed: int  # the number of outputs that differ from the input they replace by more than rounding
    worst: float  # the largest error among these, as a share of the largest change
    apart: tuple[int, ...]  # those among them that differ by more than the tolerance
    strayed: tuple[int, ...]  # other outputs that this program changes

    def __str__(self) -> str:
        said = f"{self.changed - len(self.apart)} of {self.changed} changed outputs agree to {TOLERANCE:.0e} of the "
        said += f"largest change, the worst is {self.worst:.1e} off"
        return f"{said}\napart: {self.apart}\nmust not change: {self.strayed}"


def moved(values: np.ndarray, before: np.ndarray) -> float:
    """Returns the largest change; 0 if it is only rounding. Raises ValueError if the shapes differ."""
    if np.shape(values) != np.shape(before):
        raise ValueError(f"an output has the shape {np.shape(values)}, but {np.shape(before)} is expected")
    change = float(np.abs(np.asarray(values, np.float64) - np.asarray(before, np.float64)).max(initial=0.0))
    return 0.0 if change <= NOTHING else change


def off(found: np.ndarray, expected: np.ndarray, change: float) -> float:
    """Returns the largest difference as a share of the largest change; 0 within the rounding of the changed values."""
    largest, difference = np.abs(expected).max(initial=0), moved(found, expected)
    rounding = ROUNDINGS * float(np.spacing(largest)) if largest.dtype.kind == "f" else 0.0
    return 0.0 if difference <= rounding else difference / change


Arrays = Sequence[np.ndarray]


def agreement(found: Arrays, expected: Arrays, inputs: Arrays, taken: Mapping[int, int]) -> Agreement:
    """Compares the outputs one by one. An output that replaces no input is a change from 0.

    Raises:
      ValueError: the outputs differ in number or shape.
    """
    if len(found) != len(expected):
        raise ValueError(f"the program has {len(found)} outputs, but {len(expected)} are expected")
    before = [inputs[taken[i]] if i in taken else np.zeros_like(each) for i, each in enumerate(expected)]
    changes = [moved(*each) for each in zip(expected, before, strict=True)]
    here = [moved(*each) for each in zip(found, before, strict=True)]
    shares = {i: off(found[i], expected[i], change) for i, change in enumerate(changes) if change}
    apart = tuple(i for i, share in shares.items() if not share <= TOLERANCE)  # `not <=`, so that NaN counts as apart
    strayed = tuple(i for i, change in enumerate(here) if change and i not in shares)
    return Agreement(len(shares), max(shares.values(), default=0.0), apart, strayed)


def check(path: str, values: str) -> Agreement:
    """Measures how far the program's outputs are from TensorFlow's on the same inputs."""
    with np.load(values) as stored:
        inputs = [stored[f"in_{i}"] for i in range(sum(name.startswith("in_") for name in stored.files))]
        expected = [stored[f"out_{i}"] for i in range(sum(name.startswith("out_") for name in stored.files))]
    program = Program(path)
    found = [np.asarray(each) for each in program(program.put(inputs))]
    return agreement(found, expected, inputs, program.places)


def main() -> int:
    """Prints and writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("programs", nargs="+")
    parser.add_argument("--out", default="", help="JSON with all figures")
    parser.add_argument("--check", default="", help="TensorFlow's inputs and outputs; needs exactly one program")
    flags = parser.parse_args()
    import jax

    jax.config.update("jax_enable_x64", True)  # the programs use 64-bit integers
    if flags.check:
        found = check(flags.programs[0], flags.check)
        print(f"{flags.programs[0]}: {found}")
        return 1 if found.apart or found.strayed else 0
    rates: dict[str, float] = {}
    rows = []
    for path in flags.programs:
        rows.append(measured(path, rates))
        if flags.out:  # after each program, so that results remain if a larger one does not fit into memory
            with open(flags.out, "w") as file:
                json.dump(rows, file, indent=1)
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
