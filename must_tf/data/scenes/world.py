"""A world of bodies and a light, and its mirror image.

World frame: x right, y up, z forward, metres; the origin is on the floor under the camera, which
looks along z. It is the camera's frame but for the camera's height and tilt.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from must_tf.data.scenes.shapes import Array, Size
from must_tf.data.scenes.textures import Paint

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Body:
    """A shape that stands somewhere. yaw: radians; hand: -1 mirrors its texture.

    surface: id in SURFACES.
    """

    shape: str
    surface: int
    centre: Vector
    size: Size
    yaw: float
    paint: Paint
    hand: int = 1

    def inward(self, points: Array) -> Array:
        """World directions [3, n] -> the body's own frame; points, once the centre is taken off."""
        c, s = np.float32(math.cos(self.yaw)), np.float32(math.sin(self.yaw))
        return np.stack([c * points[0] - s * points[2], points[1], s * points[0] + c * points[2]])

    def outward(self, directions: Array) -> Array:
        """The body's own frame -> world directions, [3, n]."""
        return replace(self, yaw=-self.yaw).inward(directions)

    def local(self, points: Array) -> Array:
        """World points [3, n] -> points in the body's own frame."""
        return self.inward(points - np.array(self.centre, np.float32)[:, None])


@dataclass(frozen=True)
class Light:
    """Where the light comes from (unit vector, world frame) and what the picture makes of it."""

    towards: Vector
    exposure: float
    warmth: float
    grain: float


@dataclass(frozen=True)
class World:
    """All that `render` needs but the picture's size. height: metres; tilt: radians, down."""

    room: int  # id in ROOMS
    bodies: tuple[Body, ...]
    sky: Paint
    light: Light
    height: float
    tilt: float
    hand: int = 1


def mirror(world: World) -> World:
    """The same world with x negated everywhere: places, turns, textures and the light."""

    def flip(vector: Vector) -> Vector:
        return -vector[0], vector[1], vector[2]

    bodies = tuple(replace(body, centre=flip(body.centre), yaw=-body.yaw, hand=-body.hand) for body in world.bodies)
    light = replace(world.light, towards=flip(world.light.towards))
    return replace(world, bodies=bodies, light=light, hand=-world.hand)
