"""Profiles the input path: the processor time of each part, on the same records."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from benchmarks.harness import apart
from benchmarks.harness.table import BenchmarkSettings, Comparison, Figure
from benchmarks.rows import inputs
from must_tf.data import geometry, record

IMAGES, PASSES = 64, 4
NAMED = 3  # the number of parts that the sentence names
PARSE, DECODE, WARP = "parsing the record", "decoding the JPEG", "warping the image"

Parts = Mapping[str, float]  # milliseconds per image


def parts(glob: str, tasks: Sequence[str], classes: Mapping[str, Sequence[str]], size: int) -> dict[str, float]:
    """Returns the processor milliseconds per image of each part, minus an empty call. Called in its own process."""
    reader = inputs.reader(tasks, classes, size)
    serialized = list(tf.data.TFRecordDataset(sorted(tf.io.gfile.glob(glob))).take(IMAGES))
    found = dict[str, float]()

    def timed(what: str, call: Callable[..., Any], *given: Sequence[Any]) -> list[Any]:
        made, found[what] = _timed(call, list(zip(*given, strict=True)))
        return made

    @tf.function(autograph=False)
    def parse(one: tf.Tensor) -> Any:
        return record.parse(one, reader.specs, reader.configs)

    # Handing dozens of tensors to Python takes longer than the parsing.
    timed(PARSE, lambda one: tf.add_n([tf.size(each) for each in tf.nest.flatten(parse(one), True)]), serialized)
    parsed = [parse(one) for one in serialized]
    pixels = timed(DECODE, record.decode_image, [one["image/encoded"] for one in parsed])
    shapes = [tf.shape(each)[:2] for each in pixels]
    drawn = [
        geometry.random_warp(shape, size, inputs.AUGMENTATION, tf.constant([1, i], tf.int64))
        for i, shape in enumerate(shapes)
    ]
    timed(WARP, geometry.warp_image, pixels, drawn)
    for name in reader.configs:
        timed(f"labels of {name}", _labels(reader, name), parsed, shapes, drawn)
    return found


def _labels(reader: Any, name: str) -> Callable[..., Any]:
    spec, config = reader.specs[name], reader.configs[name]
    return lambda one, shape, warp: spec.targets(one, shape, warp, config)


def _timed(call: Callable[..., Any], given: list[tuple[Any, ...]]) -> tuple[list[Any], float]:
    """Returns the results of the traced call for each argument, and its processor milliseconds."""
    traced, empty = (
        tf.function(one, autograph=False, reduce_retracing=True) for one in (call, lambda *given: tf.constant(0))
    )
    made = [traced(*each) for each in given]  # this traces it
    taken, spared = _cpu_ms(traced, given), _cpu_ms(empty, given)
    return made, max(taken - spared, 0.0)


def _cpu_ms(traced: Callable[..., Any], given: list[tuple[Any, ...]]) -> float:
    found = []
    for _ in range(PASSES):
        start = time.process_time()
        for each in given:
            traced(*each)
        found.append(1000 * (time.process_time() - start) / len(given))
    return min(found)  # the first call traces or warms up


def of(arguments: Mapping[str, Any], settings: BenchmarkSettings) -> dict[str, float]:
    """Calls `parts` in its own process."""
    return apart.call("benchmarks.profile.input_path:parts", arguments, settings.work)


def sentence(found: Parts) -> str:
    """Names the largest parts in one sentence."""
    largest = sorted(found, key=lambda what: -found[what])[:NAMED]
    said = ", ".join(f"{what} {found[what]:.2f}" for what in largest)
    return f"{sum(found.values()):.2f} ms of processor time per image, parts timed separately; largest: {said}"


def rows(what: str, found: Parts) -> list[Comparison]:
    """Returns a row per part, the largest first."""
    ordered = sorted(found.items(), key=lambda each: -each[1])
    return [
        Comparison(f"{what}, where the time goes: {part}", "ms/image", Figure(ms, cpu_ms=ms)) for part, ms in ordered
    ]
