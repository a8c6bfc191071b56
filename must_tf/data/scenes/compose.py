"""Draws a random world from a domain: the room, its objects, their paint and the light."""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass

import numpy as np

from must_tf.data.scenes.domains import (
    CEILING,
    FIRST_OBJECT,
    FLOOR,
    OBJECTS,
    ROOMS,
    SKY,
    WALL,
    Domain,
    Range,
)
from must_tf.data.scenes.shapes import Size
from must_tf.data.scenes.textures import Paint
from must_tf.data.scenes.world import Body, Light, Vector, World

Hsv = tuple[float, float, float]
INF = math.inf

# Default paint of a surface: pattern, two colours (hue in turns, saturation, value), period in metres.
_ROOM_PAINTS: dict[tuple[str, int], tuple[str, Hsv, Hsv, float]] = {
    ("corridor", FLOOR): ("checks", (0.58, 0.15, 0.75), (0.6, 0.2, 0.45), 1.2),
    ("corridor", WALL): ("stripes", (0.13, 0.25, 0.85), (0.12, 0.35, 0.7), 0.7),
    ("corridor", CEILING): ("plain", (0.1, 0.03, 0.92), (0.1, 0.1, 0.8), 1.0),
    ("hall", FLOOR): ("stripes", (0.08, 0.5, 0.62), (0.07, 0.55, 0.5), 0.6),
    ("hall", WALL): ("bricks", (0.02, 0.5, 0.62), (0.1, 0.12, 0.8), 0.9),
    ("hall", CEILING): ("plain", (0.1, 0.15, 0.85), (0.1, 0.2, 0.7), 1.0),
    ("garden", FLOOR): ("clouds", (0.27, 0.6, 0.65), (0.24, 0.6, 0.4), 1.0),
    ("garden", WALL): ("speckle", (0.36, 0.6, 0.38), (0.3, 0.55, 0.55), 1.0),
    ("garden", SKY): ("clouds", (0.58, 0.5, 0.95), (0.6, 0.05, 1.0), 1.0),
    ("cave", FLOOR): ("speckle", (0.1, 0.35, 0.6), (0.1, 0.3, 0.48), 0.8),
    ("cave", WALL): ("clouds", (0.07, 0.2, 0.6), (0.07, 0.3, 0.25), 1.6),
}
_OBJECT_PAINTS: dict[str, tuple[str, Hsv, Hsv, float]] = {
    "ball": ("stripes", (0.98, 0.85, 0.85), (0.12, 0.1, 0.95), 0.5),
    "box": ("checks", (0.09, 0.75, 0.75), (0.08, 0.7, 0.45), 0.5),
    "cylinder": ("plain", (0.63, 0.75, 0.8), (0.55, 0.5, 0.9), 0.4),
    "cone": ("stripes", (0.83, 0.6, 0.8), (0.8, 0.3, 0.9), 0.4),
}
_OWN_PAINT = 0.65  # probability of an object's own paint: colour is a hint, but only the shape decides the class

# Half widths and heights in metres, (lowest, highest): 15 to 50 pixels wide at 128 pixels.
_OBJECT_SIZES: dict[str, tuple[Range, Range]] = {
    "ball": ((0.32, 0.55), (0.0, 0.0)),
    "box": ((0.28, 0.5), (0.45, 1.0)),
    "cylinder": ((0.22, 0.4), (0.7, 1.3)),
    "cone": ((0.35, 0.6), (0.8, 1.4)),
}
_PLACING_TRIES = 30
_IN_VIEW = 0.45  # largest |x| / z of a centre; the edge of the shorter side is at 0.56
_GAP = 0.1  # metres between objects


@dataclass(frozen=True)
class _Plan:
    """The panels of a room in its own frame, and its free floor: left, right and far end in metres."""

    panels: tuple[tuple[str, int, Vector, Size], ...]
    free: tuple[float, float, float]
    turn: float  # largest yaw in degrees, to either side, that keeps every wall within about 12 m


def _corridor(rng: np.random.Generator, height: float) -> _Plan:
    half, shift = rng.uniform(1.3, 1.9), rng.uniform(-0.4, 0.4)
    return _boxed(shift - half, shift + half, rng.uniform(8, 11), height + rng.uniform(0.8, 1.3))


def _hall(rng: np.random.Generator, height: float) -> _Plan:
    left, right = rng.uniform(2.8, 5, 2)
    return _boxed(-left, right, rng.uniform(6, 9), height + rng.uniform(1.6, 2.8))


def _boxed(left: float, right: float, back: float, top: float) -> _Plan:
    endless = (INF, INF, INF)
    panels = (
        ("level", FLOOR, (0.0, 0.0, 0.0), endless),
        ("level", CEILING, (0.0, top, 0.0), endless),
        ("side", WALL, (left, 0.0, 0.0), endless),
        ("side", WALL, (right, 0.0, 0.0), endless),
        ("front", WALL, (0.0, 0.0, back), endless),
    )
    return _Plan(panels, (left, right, back), 8.0)


def _garden(rng: np.random.Generator, height: float) -> _Plan:
    """Plans a lawn up to a hedge. The hedge is higher than the camera, so that no floor is visible behind it."""
    back, hedge = rng.uniform(6, 9.5), height + rng.uniform(0.2, 0.8)
    panels = (
        ("level", FLOOR, (0.0, 0.0, 0.0), (INF, INF, INF)),
        ("front", WALL, (0.0, 0.0, back), (INF, hedge, INF)),
    )
    return _Plan(panels, (-INF, INF, back), 12.0)


def _cave(rng: np.random.Generator, height: float) -> _Plan:
    """Plans a dome. Its floor is free where the roof is higher than any object."""
    size = (rng.uniform(2.6, 3.8), height + rng.uniform(0.9, 1.8), rng.uniform(6, 8))
    z = rng.uniform(1.5, 2.5)
    panels = (
        ("level", FLOOR, (0.0, 0.0, 0.0), (INF, INF, INF)),
        ("dome", WALL, (0.0, 0.0, z), size),
    )
    return _Plan(panels, (-0.55 * size[0], 0.55 * size[0], z + 0.55 * size[2]), 8.0)


_PLANS = {"corridor": _corridor, "hall": _hall, "garden": _garden, "cave": _cave}


@dataclass(frozen=True)
class _Painter:
    """Varies default paints: the whole world shares one shift of hue and saturation."""

    rng: np.random.Generator
    domain: Domain
    hue: float
    saturation: float

    def paint(self, usual: tuple[str, Hsv, Hsv, float]) -> Paint:
        pattern, first, second, period = usual
        if self.rng.random() < self.domain.restyle:
            pattern = str(self.rng.choice(self.domain.patterns))
        colours = self._colour(first), self._colour(second)
        u, v = self.rng.uniform(0, 10, 2)
        return Paint(pattern, colours, period * self.rng.uniform(0.8, 1.25), (u, v))

    def _colour(self, usual: Hsv) -> tuple[float, float, float]:
        hue = (usual[0] + self.hue + self.rng.normal(0, 0.02)) % 1
        saturation = min(1.0, usual[1] * self.saturation * self.rng.uniform(0.8, 1.2))
        return colorsys.hsv_to_rgb(hue, saturation, min(1.0, usual[2] * self.rng.uniform(0.85, 1.1)))


def _room(plan: _Plan, name: str, yaw: float, painter: _Painter) -> list[Body]:
    paints = {surface: painter.paint(usual) for (room, surface), usual in _ROOM_PAINTS.items() if room == name}
    bodies = []
    for shape, surface, centre, size in plan.panels:
        unplaced = Body(shape, surface, (0.0, 0.0, 0.0), size, yaw, paints[surface])
        x, y, z = unplaced.outward(np.array(centre)[:, None])[:, 0]
        bodies.append(Body(shape, surface, (float(x), float(y), float(z)), size, yaw, paints[surface]))
    return bodies


def _object(painter: _Painter, depth: Range) -> Body:
    """Draws an object on the floor, anywhere in view. It may overlap walls or other objects: see `_fits`."""
    rng = painter.rng
    kind = str(rng.choice(OBJECTS))
    widths, heights = _OBJECT_SIZES[kind]
    half = rng.uniform(*widths)
    tall = 2 * half if kind == "ball" else rng.uniform(*heights)
    deep = rng.uniform(*widths) if kind == "box" else half
    dressed_as = kind if rng.random() < _OWN_PAINT else str(rng.choice(OBJECTS))
    z = rng.uniform(*depth)
    return Body(
        kind,
        FIRST_OBJECT + OBJECTS.index(kind),
        (z * rng.uniform(-_IN_VIEW, _IN_VIEW), 0.0, z),
        (half, tall, deep),
        rng.uniform(-math.pi, math.pi),
        painter.paint(_OBJECT_PAINTS[dressed_as]),
    )


def _reach(body: Body) -> float:
    """Returns the radius of the circle around the body's footprint, metres."""
    return math.hypot(body.size[0], body.size[2]) if body.shape == "box" else body.size[0]


def _fits(body: Body, room: Body, free: tuple[float, float, float], others: list[Body]) -> bool:
    x, _, z = room.inward(np.array(body.centre)[:, None])[:, 0]
    reach = _reach(body) + _GAP
    inside = free[0] + reach < x < free[1] - reach and z < free[2] - reach
    return inside and all(math.dist(body.centre, other.centre) > reach + _reach(other) for other in others)


def _light(domain: Domain, rng: np.random.Generator) -> Light:
    aside = math.radians(rng.uniform(*domain.sun)) * rng.choice((-1, 1))
    above = math.radians(rng.uniform(35, 60))
    flat = math.cos(above)
    towards = (flat * math.sin(aside), math.sin(above), -flat * math.cos(aside))
    return Light(
        towards,
        rng.uniform(*domain.exposure),
        rng.uniform(*domain.warmth),
        rng.uniform(*domain.grain),
    )


def compose(domain: Domain, rng: np.random.Generator) -> World:
    """Returns a random world of a domain. All random numbers come from `rng`, in a fixed order."""
    height, tilt = rng.uniform(*domain.height), math.radians(rng.uniform(*domain.tilt))
    light = _light(domain, rng)
    painter = _Painter(rng, domain, rng.uniform(*domain.hue), rng.uniform(*domain.saturation))
    name = str(rng.choice(ROOMS))
    plan = _PLANS[name](rng, height)
    yaw = math.radians(rng.uniform(-plan.turn, plan.turn))
    room = _room(plan, name, yaw, painter)
    objects: list[Body] = []
    wanted = rng.integers(domain.objects[0], domain.objects[1] + 1)
    for _ in range(_PLACING_TRIES):
        body = _object(painter, domain.distance)
        if len(objects) < wanted and _fits(body, room[0], plan.free, objects):
            objects.append(body)
    sky = painter.paint(_ROOM_PAINTS["garden", SKY])
    return World(ROOMS.index(name), (*room, *objects), sky, light, height, tilt)
