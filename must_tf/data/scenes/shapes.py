"""Intersections of rays with shapes, and the normals and texture coordinates there.

Local frame of every shape: x right, y up, z forward, metres, the origin at the point where it touches the floor.
Every shape is symmetric in x, so that a mirrored world needs no mirrored shapes.
A `size` is (half width, height, half depth); a panel's infinite sides are inf.
Points and rays are float32 [3, n] or [3, 1]. A distance is in lengths of the ray; inf is a miss.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Size = tuple[float, float, float]

NEAREST = 1e-3  # metres: closer hits are the surface that the ray starts from


class Shape(NamedTuple):
    """distance(origin, ray, size) -> [n]; normal(point, size) -> [3, n]; unrolled(...) -> u, v."""

    distance: Callable[[Array, Array, Size], Array]
    normal: Callable[[Array, Size], Array]
    unrolled: Callable[[Array, Size], tuple[Array, Array]]


def _roots(a: Array, b: Array, c: Array) -> tuple[Array, Array]:
    """Returns both roots of a t^2 + 2 b t + c = 0, the smaller first if a > 0; (inf, -inf) if there are none."""
    square = b * b - a * c
    root = np.sqrt(np.maximum(square, 0))
    a = np.where(np.abs(a) < 1e-9, np.float32(1e-9), a)
    missed = square < 0
    first = np.where(missed, np.inf, (-b - root) / a)
    second = np.where(missed, -np.inf, (-b + root) / a)
    return first, second


def _slab(origin: Array, ray: Array, low: float, high: float) -> tuple[Array, Array]:
    """Returns the distances at which a ray enters and leaves low <= coordinate <= high."""
    step = np.where(np.abs(ray) < 1e-9, np.float32(1e-9), ray)
    first, second = (low - origin) / step, (high - origin) / step
    return np.minimum(first, second), np.maximum(first, second)


def _entry(first: Array, last: Array) -> Array:
    """Returns the distance to the entry into a convex solid, or a miss; a ray that starts inside misses."""
    return np.where((first < last) & (first > NEAREST), first, np.inf)


def _scaled_sphere(origin: Array, ray: Array, radii: Size) -> tuple[Array, Array]:
    scale = 1 / np.array(radii, np.float32)[:, None]
    o, d = origin * scale, ray * scale
    return _roots((d * d).sum(0), (o * d).sum(0), (o * o).sum(0) - 1)


def _ball_distance(origin: Array, ray: Array, size: Size) -> Array:
    up = np.array([[0], [size[0]], [0]], np.float32)
    return _entry(*_scaled_sphere(origin - up, ray, (size[0], size[0], size[0])))


def _ball_normal(point: Array, size: Size) -> Array:
    return (point - np.array([[0], [size[0]], [0]], np.float32)) / np.float32(size[0])


def _dome_distance(origin: Array, ray: Array, size: Size) -> Array:
    """Returns the distance to the far wall of the ellipsoid that the ray starts in."""
    far = _scaled_sphere(origin, ray, size)[1]
    return np.where(far > NEAREST, far, np.inf)


def _dome_normal(point: Array, size: Size) -> Array:
    inward = -point / np.square(np.array(size, np.float32))[:, None]
    return inward / np.sqrt((inward * inward).sum(0))


def _box_distance(origin: Array, ray: Array, size: Size) -> Array:
    x = _slab(origin[0], ray[0], -size[0], size[0])
    y = _slab(origin[1], ray[1], 0, size[1])
    z = _slab(origin[2], ray[2], -size[2], size[2])
    first = np.maximum(np.maximum(x[0], y[0]), z[0])
    return _entry(first, np.minimum(np.minimum(x[1], y[1]), z[1]))


def _box_normal(point: Array, size: Size) -> Array:
    half = np.array([size[0], size[1] / 2, size[2]], np.float32)[:, None]
    centred = point - np.array([[0], [size[1] / 2], [0]], np.float32)
    face = np.argmax(np.abs(centred) / half, axis=0)  # [n] the axis whose face it lies on
    chosen = np.arange(3)[:, None] == face
    return np.where(chosen, np.sign(centred), 0).astype(np.float32)


def _cylinder_distance(origin: Array, ray: Array, size: Size) -> Array:
    o, d, radius = origin[::2], ray[::2], size[0]
    side = _roots((d * d).sum(0), (o * d).sum(0), (o * o).sum(0) - radius * radius)
    cap = _slab(origin[1], ray[1], 0, size[1])
    return _entry(np.maximum(side[0], cap[0]), np.minimum(side[1], cap[1]))


def _cylinder_normal(point: Array, size: Size) -> Array:
    radial = np.sqrt(point[0] ** 2 + point[2] ** 2)
    on_cap = size[1] - point[1] < size[0] - radial
    x, z = point[0] / radial, point[2] / radial
    return np.stack([np.where(on_cap, 0, x), on_cap, np.where(on_cap, 0, z)]).astype(np.float32)


def _cone_distance(origin: Array, ray: Array, size: Size) -> Array:
    """Solves x^2 + z^2 = slope^2 (height - y)^2. The base lies on the floor and is never visible."""
    slope2 = (size[0] / size[1]) ** 2
    ox, oy, oz = origin[0], size[1] - origin[1], origin[2]
    dx, dy, dz = ray[0], -ray[1], ray[2]
    a = dx * dx + dz * dz - slope2 * dy * dy
    b = ox * dx + oz * dz - slope2 * oy * dy
    c = ox * ox + oz * oz - slope2 * oy * oy
    nearest = np.array(np.inf, np.float32)
    for t in _roots(a, b, c):
        below_tip = oy + np.where(np.isfinite(t), t, 0) * dy
        hit = np.isfinite(t) & (t > NEAREST) & (below_tip >= 0) & (below_tip <= size[1])
        nearest = np.minimum(nearest, np.where(hit, t, np.inf))
    return nearest


def _cone_normal(point: Array, size: Size) -> Array:
    radial = np.maximum(np.sqrt(point[0] ** 2 + point[2] ** 2), 1e-6)
    slant = np.float32(np.hypot(size[0], size[1]))
    side = np.float32(size[1]) / (slant * radial)
    rise = np.full_like(radial, size[0] / slant)
    return np.stack([point[0] * side, rise, point[2] * side])


def _panel(axis: int) -> Shape:
    """A flat rectangle through the origin, perpendicular to `axis`; its normals are + or - that axis."""
    u_axis, v_axis = [(2, 1), (0, 2), (0, 1)][axis]

    def distance(origin: Array, ray: Array, size: Size) -> Array:
        step = np.where(np.abs(ray[axis]) < 1e-9, np.float32(1e-9), ray[axis])
        t = -origin[axis] / step
        hit = t > NEAREST
        for side in {0, 1, 2} - {axis}:
            if np.isfinite(size[side]):
                where = origin[side] + t * ray[side]
                lowest = 0 if side == 1 else -size[side]
                hit = hit & (where >= lowest) & (where <= size[side])
        return np.where(hit, t, np.inf)

    def normal(point: Array, size: Size) -> Array:
        facing = np.zeros_like(point)
        facing[axis] = 1
        return facing

    def unrolled(point: Array, size: Size) -> tuple[Array, Array]:
        return point[u_axis], point[v_axis]

    return Shape(distance, normal, unrolled)


def _wrapped(point: Array, size: Size) -> tuple[Array, Array]:
    """Unrolls the surface around the upright axis, u in metres of arc. The seam is at the back."""
    return size[0] * np.arctan2(point[0], -point[2]), point[1]


def _folded(point: Array, size: Size) -> tuple[Array, Array]:
    """Unrolls the four sides of a box; on each of them x or z is constant."""
    return point[0] + point[2], point[1]


def _vaulted(point: Array, size: Size) -> tuple[Array, Array]:
    """Unrolls the roof of a dome. The seam is below the floor."""
    return size[0] * np.arctan2(point[0], point[1]), point[2]


SHAPES: dict[str, Shape] = {
    "side": _panel(0),
    "level": _panel(1),
    "front": _panel(2),
    "dome": Shape(_dome_distance, _dome_normal, _vaulted),
    "ball": Shape(_ball_distance, _ball_normal, _wrapped),
    "box": Shape(_box_distance, _box_normal, _folded),
    "cylinder": Shape(_cylinder_distance, _cylinder_normal, _wrapped),
    "cone": Shape(_cone_distance, _cone_normal, _wrapped),
}
