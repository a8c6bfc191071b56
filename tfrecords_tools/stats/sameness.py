"""How much the maps of different images differ from each other, for maps without classes: depth, normals, and the like.

A network that ignores its input gives every image the same map, and nothing else shows it: the range, the valid pixels
and the variation within each image are right. Each map is reduced to `GRID` x `GRID` means and standardised, so that
neither the size of an image nor the unit of its map counts, nor its mean. The position explains a share of the variance
of these grids; `differing` is the rest, the share in which images differ:

    differing = 1 - |mean over the images of their grids|^2 / |a grid|^2     times n / (n - 1) for n images

It is 0 if all grids are equal and 1 if they have nothing in common. Images of different shapes show different parts of
the same map, so they are compared within three groups: upright, square and lying.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import cv2
import numpy as np

from must_tf.label_content import ImageInfo, LabelContent, Labels, maps

GRID = 8
LEAST_KNOWN = 0.25  # share of a map's pixels; fewer say little about the map
SQUARE = 1.1  # sides that differ by less are those of a square
FEWEST = 10  # images of a shape; with fewer, the difference between two is a matter of chance
GROUPS = ("upright", "square", "lying")


def add(labels: Labels, content: LabelContent, info: ImageInfo) -> dict[str, np.ndarray]:
    """Returns one image's part of the sums, {map: [3, 1 + cells]}: by group, the number of images and their grids."""
    ratio = info.width / info.height
    group = 0 if ratio < 1 / SQUARE else 2 if ratio > SQUARE else 1
    found = {}
    for key, grid in _grids(labels, content, info):
        rows = np.zeros([len(GROUPS), 1 + grid.size])
        rows[group] = [1.0, *grid]
        found[key] = rows
    return found


def _grids(labels: Labels, content: LabelContent, info: ImageInfo) -> Iterator[tuple[str, np.ndarray]]:
    """Yields the standardised grid [cells] of each map of an image that has one."""
    if content.present.mean() < LEAST_KNOWN:
        return
    known = content.present.astype(np.float32)
    weight = _reduced(known)[..., None]
    of_things = {key: values for key, values in maps(labels, info).items() if values is not content.scores}
    for key, values in of_things.items():
        planes = values.reshape(*values.shape[:2], -1)
        reduced = [_reduced(_shown(planes, channel, content.present)) for channel in range(planes.shape[-1])]
        means = np.stack(reduced, axis=-1) / np.maximum(weight, 1e-6)
        grid = np.where(weight > 0, means, means[weight[..., 0] > 0].mean(axis=0))
        grid = grid - grid.mean(axis=(0, 1))
        deviation = grid.std()
        if np.isfinite(deviation) and deviation > 1e-6 * (1 + np.abs(means).max()):
            yield key, (grid / deviation).ravel()


def _shown(planes: np.ndarray, channel: int, present: np.ndarray) -> np.ndarray:
    """Returns one channel [h, w] of a map [h, w, C] as float32, with 0 where it is unknown."""
    plane = np.ascontiguousarray(planes[..., channel], np.float32)
    return plane if present.all() else np.where(present, plane, np.float32(0.0))


def _reduced(plane: np.ndarray) -> np.ndarray:
    """Averages a map [h, w] to GRID x GRID cells."""
    return cv2.resize(plane, (GRID, GRID), interpolation=cv2.INTER_AREA)


def differing(sums: Mapping[str, np.ndarray]) -> float | None:
    """Returns the share in which the images differ, from the sums; None if too few images can be compared."""
    total, weight = 0.0, 0.0
    for rows in sums.values():
        for count, *grid in rows:
            if count >= FEWEST:
                same = float(np.mean(np.square(np.array(grid) / count)))
                total += count * (1 - same) * count / (count - 1)
                weight += count
    return total / weight if weight else None
