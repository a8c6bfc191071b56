"""Shared by the contract tests: windows worked out by hand, scenes, and a stand-in for the trunk."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from must_tf.data import geometry, record
from must_tf.data.scenes import Scene, render
from must_tf.spec import Given, HeadSettings, ImageInfo, Pyramid
from must_tf.tasks import discover
from tests.contract.golden_cases import golden

SPECS = discover()
SIZE = 128  # of the network's input, S
# The lowest level is 4, so that there are few anchors: 64 + 16 + 4 + 1 cells at 128 pixels.
SETTINGS = HeadSettings(4, 7, "relu", False, 0.99, 0.001, None)
CHANNELS = 4  # of the stand-in pyramid
SCENES = (("geometry", 6), ("wild", 1), ("detection", 4))  # domain, index; at least three objects each


@functools.cache
def scene(domain: str, index: int, size: tuple[int, int], mirrored: bool = False) -> Scene:
    """A generated scene, rendered once per run."""
    return render(domain, 3, index, size, mirrored)


class Window(NamedTuple):
    """`geometry.Warp` in plain numbers: original size -> scaled size -> S x S window at offset."""

    original: tuple[int, int]
    scaled: tuple[int, int]
    offset: tuple[int, int]
    size: int = SIZE

    @property
    def shown(self) -> tuple[float, float]:
        """Height and width of the part that shows the image."""
        height, width = (min(s - o, self.size) for s, o in zip(self.scaled, self.offset, strict=True))
        return float(height), float(width)

    def point(self, y: float, x: float) -> tuple[float, float]:
        """Converts a normalised position in the original to pixels of the input."""
        return y * self.scaled[0] - self.offset[0], x * self.scaled[1] - self.offset[1]

    def source(self, y: float, x: float) -> tuple[int, int]:
        """Converts a position on the input to row and column of the original pixel, which may lie outside."""
        row = (y + self.offset[0]) * self.original[0] / self.scaled[0]
        column = (x + self.offset[1]) * self.original[1] / self.scaled[1]
        return math.floor(row), math.floor(column)

    def pixels(self, values: np.ndarray, fill: float, stride: int) -> np.ndarray:
        """Returns the original pixel under the centre of each cell of the input; `fill` outside."""
        side = self.size // stride
        found = np.full([side, side, *values.shape[2:]], fill, values.dtype)
        for i, j in np.ndindex(side, side):
            row, column = self.source((i + 0.5) * stride, (j + 0.5) * stride)
            if row < self.original[0] and column < self.original[1]:
                found[i, j] = values[row, column]
        return found

    def warp(self, flip: bool = False) -> geometry.Warp:
        """Returns the same window as the code under test describes it."""
        original, scaled, offset = (tf.constant(x) for x in self[:3])
        return geometry.Warp(original, tf.constant(flip), scaled, offset, self.size)


FITTED = Window((96, 160), (77, 128), (0, 0))
ENLARGED = Window((96, 160), (154, 256), (20, 70))  # twice as large, a crop of it
SHRUNK = Window((96, 160), (38, 64), (0, 0))
PORTRAIT = Window((128, 80), (192, 120), (40, 0))  # enlarged, and yet narrower than the input
WINDOWS = {"fitted": FITTED, "enlarged": ENLARGED, "shrunk": SHRUNK, "portrait": PORTRAIT}


def parsed(task: str, labels: Any, size: tuple[int, int], config: Any) -> dict[str, tf.Tensor]:
    """Returns the parsed features of a record that the task wrote."""
    features = tf.train.Features(feature=SPECS[task].write(labels, ImageInfo("image", *size)))
    serialized = tf.train.Example(features=features).SerializeToString()
    return tf.io.parse_single_example(serialized, SPECS[task].features(config))


def tensors(task: str, labels: Any, size: tuple[int, int], config: Any = None) -> dict[str, tf.Tensor]:
    """Labels as the task reads them from a record that it wrote."""
    config = config or golden(task).CONFIG
    return SPECS[task].read(parsed(task, labels, size, config), tf.constant(size), config)


def targets(task: str, labels: Any, warp: geometry.Warp, config: Any) -> dict[str, np.ndarray]:
    """The task's targets of these labels as NumPy, not batched."""
    size = (int(warp.original[0]), int(warp.original[1]))
    made = SPECS[task].targets(parsed(task, labels, size, config), tf.constant(size), warp, config)
    return {key: value.numpy() for key, value in made.items()}


def batched(each: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Stacks per-image dicts."""
    return {key: np.stack([one[key] for one in each]) for key in each[0]}


def example(image: np.ndarray, labelled: dict[str, record.Labelled], source_id: str = "image") -> bytes:
    """A serialised record, the image as PNG."""
    png = tf.io.encode_png(image).numpy()
    return record.encode(png, ImageInfo(source_id, *image.shape[:2]), labelled, SPECS)


def pyramid(batch: int, size: int = SIZE) -> Pyramid:
    """Returns a random pyramid."""
    rng = np.random.default_rng(0)

    def level(stride: int) -> tf.Tensor:
        side = size // stride
        return tf.constant(rng.normal(size=[batch, side, side, CHANNELS]), tf.float32)

    levels = {str(i): level(2**i) for i in range(SETTINGS.min_level, SETTINGS.max_level + 1)}
    return Pyramid(level(32), levels, level(4))


class Run:
    """One task's head and those it needs, on a random pyramid: raw outputs, and predictions unless training."""

    def __init__(self, task: str, config: Any, made: dict[str, Any] | None, batch: int = 2, choice: int = 0):
        """`choice` is the variant of the tasks that it needs."""
        self.configs = {need: golden(need).VARIANTS[choice] for need in SPECS[task].needs} | {task: config}
        self.heads = {name: SPECS[name].head(each, SETTINGS) for name, each in self.configs.items()}
        self._batch, self._made = batch, made
        self()

    def __call__(self, size: int = SIZE) -> Run:
        self.raw: dict[str, Any] = {}
        self.predictions: dict[str, Any] = {}
        inputs, shape = pyramid(self._batch, size), tf.fill([self._batch, 2], float(size))
        seeds = tf.stack([tf.ones([self._batch], tf.int64), tf.range(self._batch, dtype=tf.int64)], axis=-1)
        for name, head in self.heads.items():
            mine = self._made[name] if self._made else None
            given = Given(shape, size, seeds, mine, dict(self.raw), dict(self.predictions))
            self.raw[name] = head(inputs, given=given, training=self._made is not None)
            if self._made is None:
                self.predictions[name] = SPECS[name].decode(self.raw[name], given, self.configs[name])
        return self


def seen(weight: Sequence[float] | np.ndarray, config: Any) -> dict[str, tf.Tensor]:
    """Returns what the input pipeline adds to targets: real labels, annotated for all classes."""
    count = len(weight)
    return {
        "weight": tf.constant(weight),
        "pseudo": tf.zeros([count], tf.bool),
        "annotated": tf.ones([count, len(config.classes) + 1], tf.bool),
    }


_made: dict[tuple[str, str], dict[str, tf.Tensor]] = {}  # by task and config; many tests ask for the same


def training_targets(task: str, config: Any) -> dict[str, dict[str, tf.Tensor]]:
    """Targets of two labelled scenes for a task and those it needs. Tensors are shared between calls."""
    configs = {need: golden(need).CONFIG for need in SPECS[task].needs} | {task: config}
    for name, each in configs.items():
        key = (name, str(each.as_dict()))
        if key not in _made:
            scenes = [scene(domain, index, ENLARGED.original) for domain, index in SCENES[:2]]
            rows = [targets(name, golden(name).scene_labels(one), FITTED.warp(), each) for one in scenes]
            _made[key] = {key: tf.constant(value) for key, value in batched(rows).items()} | seen([1.0, 1.0], each)
    return {name: dict(_made[name, str(each.as_dict())]) for name, each in configs.items()}


def variants(with_needs: bool = False) -> list[Any]:
    """(task, config) of every variant of every task, as pytest parameters.

    `with_needs` adds the variant of the tasks that it needs: the first, and for tasks that need others also the last.
    """
    found = []
    for task, spec in SPECS.items():
        for number, config in enumerate(golden(task).VARIANTS):
            found.append((task, config, 0, f"{task}-{number}"))
            if with_needs and spec.needs:
                found.append((task, config, -1, f"{task}-{number}-after-last"))
    return [pytest.param(*values[: 2 + with_needs], id=values[3]) for values in found]
