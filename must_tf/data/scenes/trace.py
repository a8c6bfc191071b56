"""Casts a camera's rays into a world: what each one hits, and its colour.

A ray has length 1 along the camera's axis, so that the distance to a hit, in ray lengths, *is* its z-depth.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from must_tf.data.scenes.domains import FIRST_OBJECT
from must_tf.data.scenes.shapes import SHAPES, Array
from must_tf.data.scenes.textures import albedo
from must_tf.data.scenes.world import Body, World

FOCAL = 0.9  # focal length / shorter side: a field of view of 58 degrees across it
_AMBIENT, _DIFFUSE = 0.5, 0.65  # white paint facing the light is just over-exposed at exposure 1
_SHADE = 0.3  # share of the direct light in a cast shadow
_LIFT = 0.01  # metres above the surface at which shadow rays start: more than float32 rounding at 12 m


class Camera(NamedTuple):
    """A pinhole camera. Its principal point is the centre (width / 2, height / 2); pixel centres are at +0.5."""

    focal: float  # focal length, pixels
    height: float  # metres above the floor
    tilt: float  # radians below the horizon


class Hits(NamedTuple):
    """The hits of n rays, row by row."""

    rays: Array  # [3, n] world frame
    body: NDArray[np.int32]  # [n] index in World.bodies; -1 is the sky
    metres: Array  # [n] z-depth; inf in the sky
    normals: Array  # [3, n] world frame, facing the camera; 0, 0, 0 in the sky
    seen: tuple[int, ...]  # number of rays that would hit each body if it stood alone


def rays(camera: Camera, size: tuple[int, int], focal: float) -> Array:
    """Returns rays [3, n] in the world frame through the pixel centres of a (height, width) picture."""
    height, width = size
    y = (np.arange(height, dtype=np.float32)[:, None] + 0.5 - height / 2) / focal
    x = (np.arange(width, dtype=np.float32)[None, :] + 0.5 - width / 2) / focal
    c, s = math.cos(camera.tilt), math.sin(camera.tilt)
    world = np.broadcast_arrays(x, -s - c * y, c - s * y)
    return np.stack(world).reshape(3, -1).astype(np.float32)


def _eye(world: World) -> Array:
    return np.array([[0], [world.height], [0]], np.float32)


def trace(world: World, cast: Array) -> Hits:
    """Returns what each ray of `cast` [3, n] from the camera hits first."""
    metres = np.full(cast.shape[1], np.inf, np.float32)
    nearest = np.full(cast.shape[1], -1, np.int32)
    seen = []
    for index, body in enumerate(world.bodies):
        origin, ray = body.local(_eye(world)), body.inward(cast)
        distance = SHAPES[body.shape].distance(origin, ray, body.size)
        closer = distance < metres
        metres[closer], nearest[closer] = distance[closer], index
        seen.append(int(np.isfinite(distance).sum()))
    normals = np.zeros_like(cast)
    for index, body in enumerate(world.bodies):
        chosen = np.flatnonzero(nearest == index)
        point = body.local(_eye(world) + cast[:, chosen] * metres[chosen])
        facing = body.outward(SHAPES[body.shape].normal(point, body.size))
        away = (facing * cast[:, chosen]).sum(0) > 0
        normals[:, chosen] = np.where(away, -facing, facing)
    return Hits(cast, nearest, metres, normals, tuple(seen))


def _shadowed(body: Body, points: Array, towards: Array) -> NDArray[np.bool_]:
    """Returns which of the points [3, n] lie in the body's shadow."""
    distance = SHAPES[body.shape].distance(body.local(points), body.inward(towards), body.size)
    return np.isfinite(distance)


def _direct(world: World, points: Array, normals: Array) -> Array:
    """Returns the share of the light at each point, 0..1, by its angle and the objects' shadows."""
    towards = np.array(world.light.towards, np.float32)[:, None]
    share = np.maximum((normals * towards).sum(0), 0)
    lit = np.flatnonzero(share > 0)
    lifted = points[:, lit] + _LIFT * normals[:, lit]
    dark = np.zeros(lit.size, bool)
    for body in world.bodies:
        if body.surface >= FIRST_OBJECT:  # walls cast none: they would keep all light out of a closed room
            dark |= _shadowed(body, lifted, towards)
    share[lit] *= np.where(dark, _SHADE, 1).astype(np.float32)
    return share


def shade(world: World, hits: Hits) -> Array:
    """Returns the light along every ray, [3, n] red, green, blue, about 0..1."""
    points = _eye(world) + hits.rays * np.where(hits.body < 0, 0, hits.metres)
    colours = np.zeros_like(hits.rays)  # not empty: memory that holds NaN would warn, although the sky replaces it
    for index, body in enumerate(world.bodies):
        chosen = np.flatnonzero(hits.body == index)
        point = body.local(points[:, chosen])
        point[0] *= body.hand
        colours[:, chosen] = albedo(body.paint, *SHAPES[body.shape].unrolled(point, body.size))
    colours *= _AMBIENT + _DIFFUSE * _direct(world, points, hits.normals)
    sky = np.flatnonzero(hits.body < 0)
    x, y, z = hits.rays[:, sky]
    # Clouds lie on a plane overhead. The offset avoids infinitely fine detail at the horizon.
    colours[:, sky] = albedo(world.sky, world.hand * x / (y + 0.4), z / (y + 0.4))
    red_blue = np.array([[1 + world.light.warmth], [1], [1 - world.light.warmth]], np.float32)
    return colours * red_blue * np.float32(world.light.exposure)
