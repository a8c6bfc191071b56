"""A world of bodies and a light, and its mirror image.

World frame: x right, y up, z forward, metres. The origin is on the floor below the camera, which looks along z. Apart
from y pointing up, only the camera's height and tilt separate it from the camera frame.
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
    """A shape at a place. `surface` is an id in SURFACES, `yaw` is in radians, and `hand` -1 mirrors the texture."""

    shape: str
    surface: int
    centre: Vector
    size: Size
    yaw: float
    paint: Paint
    hand: int = 1

    def inward(self, points: Array) -> Array:
        """Rotates world directions [3, n], or points relative to the centre, to the body's own frame."""
        c, s = np.float32(math.cos(self.yaw)), np.float32(math.sin(self.yaw))
        return np.stack([c * points[0] - s * points[2], points[1], s * points[0] + c * points[2]])

    def outward(self, directions: Array) -> Array:
        """Rotates directions [3, n] in the body's own frame to the world frame."""
        return replace(self, yaw=-self.yaw).inward(directions)

    def local(self, points: Array) -> Array:
        """Converts world points [3, n] to points in the body's own frame."""
        return self.inward(points - np.array(self.centre, np.float32)[:, None])


@dataclass(frozen=True)
class Light:
    """The direction towards the light (unit vector, world frame), and the camera's exposure, warmth and grain."""

    towards: Vector
    exposure: float
    warmth: float
    grain: float


@dataclass(frozen=True)
class World:
    """Everything that `render` needs except the picture's size. `height` is in metres, `tilt` in radians downwards."""

    room: int  # id in ROOMS
    bodies: tuple[Body, ...]
    sky: Paint
    light: Light
    height: float
    tilt: float
    hand: int = 1


def mirror(world: World) -> World:
    """Returns the world with x negated everywhere: positions, rotations, textures and the light."""

    def flip(vector: Vector) -> Vector:
        return -vector[0], vector[1], vector[2]

    bodies = tuple(replace(body, centre=flip(body.centre), yaw=-body.yaw, hand=-body.hand) for body in world.bodies)
    light = replace(world.light, towards=flip(world.light.towards))
    return replace(world, bodies=bodies, light=light, hand=-world.hand)
