"""Renders a picture and its labels from (domain, seed, index)."""

from __future__ import annotations

import zlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from must_tf.common.errors import UserError, nearest
from must_tf.data.scenes.compose import compose
from must_tf.data.scenes.domains import DOMAINS
from must_tf.data.scenes.labels import Labels, labels
from must_tf.data.scenes.trace import FOCAL, Camera, rays, shade, trace
from must_tf.data.scenes.world import World, mirror

_OVERSAMPLING = 2  # rays per pixel along each axis: smooth textures and edges


class Scene(NamedTuple):
    """A picture and its labels."""

    image: NDArray[np.uint8]  # [h, w, 3]
    labels: Labels  # {task: label}
    camera: Camera

    @property
    def focal(self) -> float:
        """Focal length in pixels, along both axes."""
        return self.camera.focal


def render(
    domain: str,
    seed: int,
    index: int,
    size: tuple[int, int] = (128, 128),
    mirrored: bool = False,
) -> Scene:
    """Renders scene `index` of a domain.

    Args:
        domain: a name in DOMAINS.
        seed: selects the dataset; 0 or more.
        index: selects the scene in it; 0 or more. Consecutive scenes are independent.
        size: (height, width) in pixels. Every size shows the same world; a longer side shows more of it.
        mirrored: negates x of everything in the world and takes the picture with the same camera.

    Returns:
        The picture, and the labels of all six tasks in its frame.

    Raises:
        UserError: the domain does not exist, or seed or index is negative.
    """
    if domain not in DOMAINS:
        raise UserError(
            f"there is no domain {domain!r} of generated scenes.{nearest(domain, DOMAINS)} Use one of {list(DOMAINS)}."
        )
    if seed < 0 or index < 0:
        raise UserError(f"generated scenes: seed {seed} and index {index} must not be negative.")
    rng = np.random.default_rng([zlib.crc32(domain.encode()), seed, index])
    world = compose(DOMAINS[domain], rng)
    # Drawn for the unmirrored world's pixels, so that a mirrored picture can be compared bit by bit.
    grain = rng.standard_normal((*size, 3), np.float32) * np.float32(world.light.grain)
    if mirrored:
        world, grain = mirror(world), grain[:, ::-1]
    camera = Camera(FOCAL * min(size), world.height, world.tilt)
    hits = trace(world, rays(camera, size, camera.focal))
    return Scene(_photograph(world, camera, grain), labels(world, hits, size), camera)


def _photograph(world: World, camera: Camera, grain: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Averages the colours of every pixel's rays and adds the sensor's grain [h, w, 3]."""
    height, width, fine = *grain.shape[:2], _OVERSAMPLING
    cast = rays(camera, (height * fine, width * fine), camera.focal * fine)
    colours = shade(world, trace(world, cast)).reshape(3, height, fine, width, fine)
    levels = 255 * np.moveaxis(colours.mean((2, 4)), 0, -1) + grain
    return np.clip(levels + 0.5, 0, 255).astype(np.uint8)
