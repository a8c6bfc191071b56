"""A train step and a forward pass of the student with six heads, beside Model Garden's separate models for the same
tasks.

Both run their own `train_step` in a `tf.function`, as Model Garden's trainer calls it, on the same images and warmed up
alike. Every model runs in its own process, in turn.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from benchmarks.harness import apart, operations, table
from benchmarks.harness.table import BenchmarkSettings, Comparison, Figure, Measure
from benchmarks.rows import same_network, step_sides
from benchmarks.rows.step_sides import FULL, MODEL_GARDEN, OWN, SHARES, STUDENT, Sizes
from must_tf.common import upstream

STEPS = 3  # per round, after one that is not counted
CALLS = ("train", "forward")
AT_MOST = 0.7

Result = Mapping[str, Any]  # a result of `timed`


def timed(name: str, sizes: Sequence[int]) -> dict[str, Any]:
    """Returns seconds and processor seconds of one model's calls, and their arithmetic. Called in its own process."""
    if name == STUDENT:
        upstream.disable_memory_optimizer()  # like this project's train.py
    built = step_sides.build(name, Sizes(*sizes))
    found: dict[str, Any] = {call: _steps(getattr(built, call)) for call in CALLS}
    counted = {call: operations.count(graph) for call, graph in built.graphs().items()}
    return found | {"operations": counted, "matrix_rate": operations.matrix_rate()}


def _steps(call: Callable[[], Any]) -> dict[str, list[float]]:
    _wait(call())
    seconds, cpu_seconds = [], []
    for _ in range(STEPS):
        start, cpu = time.perf_counter(), time.process_time()
        _wait(call())
        seconds.append(time.perf_counter() - start)
        cpu_seconds.append(time.process_time() - cpu)
    return {"seconds": seconds, "cpu_seconds": cpu_seconds}


def _wait(outputs: Any) -> None:
    for each in tf.nest.flatten(outputs):
        each.numpy()


def measure(settings: BenchmarkSettings, sizes: Sizes = FULL) -> list[Comparison]:
    """Runs all models in turn, as often as asked; Model Garden's stock models only once, for rows without a target."""
    results: dict[str, list[Result]] = {name: [] for name in (STUDENT, *MODEL_GARDEN)}
    for _ in range(settings.rounds):
        for name, found in results.items():
            found.append(_called(name, sizes, settings))
    once = {name: [_called(f"{name}{OWN}", sizes, settings)] for name in MODEL_GARDEN}
    own = {STUDENT: results[STUDENT]} | once
    return [_row(call, results, sizes) for call in CALLS] + [_own_row(call, own, sizes) for call in CALLS]


def _called(name: str, sizes: Sizes, settings: BenchmarkSettings) -> Result:
    return apart.call("benchmarks.rows.steps:timed", {"name": name, "sizes": sizes}, settings.work)


def _row(call: str, results: Mapping[str, Sequence[Result]], sizes: Sizes) -> Comparison:
    own = results[STUDENT]
    figures = {name: _figure(call, found) for name, found in results.items()}
    arithmetic = {name: found[0]["operations"][call] for name, found in results.items()}
    ours, others = arithmetic[STUDENT], sum(SHARES[name] * arithmetic[name] for name in MODEL_GARDEN)
    rate, theirs = table.median([each["matrix_rate"] for each in own]).value, _summed(figures)
    return Comparison(
        _what(call, sizes),
        "s",
        figures[STUDENT],
        theirs,
        Figure(ours / rate),
        at_most=AT_MOST,
        note=f"{_parts(figures, sizes)}. Arithmetic: {ours / 1e12:.2f} and "
        f"{others / 1e12:.2f} TFLOP, ratio {ours / others:.2f}. Floor: the former at {rate / 1e9:.0f} GFLOP/s, this "
        "machine's rate of float32 matrix products",
        why=f"convolutions and matrix products are {ours / others:.2f} of Model Garden's, computed at "
        f"{ours / figures[STUDENT].value / 1e9:.0f} and {others / theirs.value / 1e9:.0f} GFLOP/s",
    )


def _own_row(call: str, results: Mapping[str, Sequence[Result]], sizes: Sizes) -> Comparison:
    """Returns a row beside Model Garden's stock models, which are not the student's networks."""
    figures = {name: _figure(call, found) for name, found in results.items()}
    return Comparison(
        f"{_what(call, sizes)}, beside Model Garden's own heads",
        "s",
        figures[STUDENT],
        _summed(figures),
        note=f"{_summands(figures)}; measured once. Mask R-CNN has levels 2 to 6, 1 conv in its RPN and NMS 'v2'; "
        f"segmentation heads have 3 convs on level 3 without fusion, which is less work; {sizes.proposals} proposals",
    )


def _what(call: str, sizes: Sizes) -> str:
    what = {"train": "train step", "forward": "forward pass, decoded"}[call]
    return f"{what}, six heads, ResNet-{sizes.model_id}, {sizes.side} px, batch {sizes.batch}"


def _summands(figures: Mapping[str, Figure]) -> str:
    """Returns the models that Model Garden's side is the sum of."""
    return "Model Garden: " + ", ".join(f"{SHARES[name]} x {name} {figures[name].value:.2f} s" for name in MODEL_GARDEN)


def _parts(figures: Mapping[str, Figure], sizes: Sizes) -> str:
    return (
        f'{_summands(figures)}. Model Garden has no task for depth or normals: "pixels" is a segmentation of '
        f"{step_sides.CHANNELS} classes. Segmentations have the student's head, on level 2 with the pyramid "
        f"fused. {same_network.SAID}; both sides train on {sizes.proposals} proposals"
    )


def _figure(call: str, found: Sequence[Result]) -> Figure:
    """Returns medians over the steps of each round, then over the rounds."""
    seconds = [table.median(each[call]["seconds"]).value for each in found]
    return table.median(seconds, [1000 * table.median(each[call]["cpu_seconds"]).value for each in found])


def _summed(figures: Mapping[str, Figure]) -> Figure:
    """Sums the figures of Model Garden's models."""
    parts = [(SHARES[name], figures[name]) for name in MODEL_GARDEN]
    rounds = zip(*([share * value for value in figure.rounds] for share, figure in parts), strict=True)
    cpu_ms = sum(share * (figure.cpu_ms or 0.0) for share, figure in parts)
    return Figure(sum(share * figure.value for share, figure in parts), tuple(map(sum, rounds)), cpu_ms)


ROWS: dict[str, Measure] = {"steps": measure}
