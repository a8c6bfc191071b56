"""Procedural textures: the share of a surface's second colour at (u, v) metres."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from must_tf.data.scenes.shapes import Array

Colour = tuple[float, float, float]  # red, green, blue in 0..1

_LATTICE = np.random.default_rng(7).random((64, 64), np.float32)  # any fixed seed will do
_MORTAR = 0.12  # share of a brick's height


@dataclass(frozen=True)
class Paint:
    """Two colours and the pattern that mixes them. `period` (one repeat) and `phase` are in metres."""

    pattern: str
    colours: tuple[Colour, Colour]
    period: float
    phase: tuple[float, float] = (0.0, 0.0)


def value_noise(u: Array, v: Array) -> Array:
    """Returns smooth noise in 0..1, with one lattice point per unit of u and v, repeating every 64."""
    left, top = np.floor(u), np.floor(v)
    x, y = u - left, v - top
    x, y = x * x * (3 - 2 * x), y * y * (3 - 2 * y)  # flat at lattice points: no visible grid
    i, j = top.astype(np.int32) & 63, left.astype(np.int32) & 63
    i1, j1 = (i + 1) & 63, (j + 1) & 63
    upper = _LATTICE[i, j] * (1 - x) + _LATTICE[i, j1] * x
    lower = _LATTICE[i1, j] * (1 - x) + _LATTICE[i1, j1] * x
    return upper * (1 - y) + lower * y


def _plain(u: Array, v: Array) -> Array:
    return np.zeros_like(u)


def _checks(u: Array, v: Array) -> Array:
    return ((np.floor(2 * u) + np.floor(2 * v)) % 2).astype(np.float32)


def _stripes(u: Array, v: Array) -> Array:
    return (u % 1 < 0.5).astype(np.float32)


def _bricks(u: Array, v: Array) -> Array:
    """Returns bricks, twice as wide as high, every other row shifted by half a brick; 1 is mortar."""
    row = np.floor(2 * v)
    across = (u + row / 2) % 1
    mortar = ((2 * v) % 1 < 2 * _MORTAR) | (across < _MORTAR)
    return mortar.astype(np.float32)


def _clouds(u: Array, v: Array) -> Array:
    return 0.65 * value_noise(2 * u, 2 * v) + 0.35 * value_noise(5 * u, 5 * v)


def _speckle(u: Array, v: Array) -> Array:
    return (value_noise(6 * u, 6 * v) > 0.6).astype(np.float32)


PATTERNS: dict[str, Callable[[Array, Array], Array]] = {
    "plain": _plain,
    "checks": _checks,
    "stripes": _stripes,
    "bricks": _bricks,
    "clouds": _clouds,
    "speckle": _speckle,
}


def albedo(paint: Paint, u: Array, v: Array) -> Array:
    """Returns the colour [3, n] in 0..1 at (u, v), [n] metres each."""
    first, second = np.array(paint.colours, np.float32)[:, :, None]  # [3, 1] each
    u = (u + np.float32(paint.phase[0])) / np.float32(paint.period)
    v = (v + np.float32(paint.phase[1])) / np.float32(paint.period)
    return first + (second - first) * PATTERNS[paint.pattern](u, v)
