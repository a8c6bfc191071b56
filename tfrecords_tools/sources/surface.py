"""Geometry of visible surfaces: rays, normals from depth, and whether normals face the camera.

Camera frame x right, y down, z forward. A surface that is seen faces the camera: its normal and the ray to it point in
opposite directions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from must_tf.spec import Labels
from tfrecords_tools.writing.counts import Account, Dropped

AWAY = 0.5  # share of the normals
APART, APART_UNCALIBRATED = 45.0, 60.0  # degrees; wrong axes differ by 90 or 180, noise by less
EDGE = 0.05  # relative step in depth at the edge of a surface
NEAREST, FARTHEST = 0.05, 300.0  # metres; the median of a photo's depth is between
UNIT = (0.9, 1.1)  # length of most vectors; resizing shortens those at edges, and colours have all lengths
STEP = 4  # pixels between the points that span a surface; adjacent pixels differ by the sensor's noise


class Intrinsics(NamedTuple):
    """Focal lengths and principal point in pixels."""

    fx: float
    fy: float
    cx: float
    cy: float


def usual(height: int, width: int) -> Intrinsics:
    """Returns those of an ordinary camera: a focal length of the longer side, 53 degrees wide."""
    focal = float(max(height, width))
    return Intrinsics(focal, focal, width / 2, height / 2)


def rays(height: int, width: int, camera: Intrinsics) -> np.ndarray:
    """Returns the points float32 [h, w, 3] that the pixel centres see at a depth of one metre."""
    rows, columns = np.mgrid[:height, :width] + 0.5
    x, y = (columns - camera.cx) / camera.fx, (rows - camera.cy) / camera.fy
    return np.stack([x, y, np.ones_like(x)], -1).astype(np.float32)


def normals_of(metres: np.ndarray, unit_rays: np.ndarray) -> np.ndarray:
    """Returns normals [h / 4, w / 4, 3] of the surface through every fourth point; 0 at edges and unknown depth."""
    points = (unit_rays * metres[..., None])[::STEP, ::STEP]
    z = points[..., 2]
    right, down = points[:-1, 1:] - points[:-1, :-1], points[1:, :-1] - points[:-1, :-1]
    known = (z[:-1, :-1] > 0) & (z[:-1, 1:] > 0) & (z[1:, :-1] > 0)
    known &= np.maximum(np.abs(right[..., 2]), np.abs(down[..., 2])) < EDGE * z[:-1, :-1]
    vectors = -np.cross(right, down)  # right x down points forward; a surface faces the camera
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.where(known[..., None], vectors / np.maximum(length, 1e-12), 0.0)


def degrees_apart(normals: np.ndarray, metres: np.ndarray, unit_rays: np.ndarray) -> float | None:
    """Returns the median angle between normals [h, w, 3] and those of the depth [h, w]; None if none can be known."""
    computed = normals_of(metres, unit_rays)
    stored = normals[::STEP, ::STEP][: computed.shape[0], : computed.shape[1]]
    both = (np.abs(computed).sum(-1) > 0) & (np.abs(stored).sum(-1) > 0)
    if not both.any():
        return None
    cosine = np.clip((computed[both] * stored[both]).sum(-1), -1.0, 1.0)
    return float(np.degrees(np.median(np.arccos(cosine))))


def share_away(normals: np.ndarray, unit_rays: np.ndarray) -> float:
    """Returns the share of the known normals [h, w, 3] that face away from the camera; 0 if none is known."""
    known = np.abs(normals).sum(-1) > 0
    away = (normals * unit_rays).sum(-1) > 0
    return float(away[known].mean()) if known.any() else 0.0


def require_unit(vectors: np.ndarray, path: str) -> None:
    """Raises Dropped if most known vectors [h, w, 3] do not have the length 1: they are colours, or other numbers."""
    length = np.linalg.norm(vectors, axis=-1)
    known = length[np.isfinite(length) & (length > 0)]
    if known.size and ((known >= UNIT[0]) & (known <= UNIT[1])).mean() < 0.5:
        raise Dropped("normals: vectors are not of length 1", f"{path}: median {np.median(known):.3g}")


def note_reach(metres: np.ndarray, path: str, account: Account, question: str = "is its unit right?") -> None:
    """Notes depth whose median no photo has. All sources with depth call it.

    Args:
      metres: depth [h, w]; anything but positive, finite numbers is unknown.
      path: of the depth file.
      account: for the note.
      question: about the likely cause.
    """
    known = metres[np.isfinite(metres) & (metres > 0)]
    if known.size and not NEAREST <= (median := float(np.median(known))) <= FARTHEST:
        account.notes.add(f"depth: a median beyond reason; {question}", f"{path}: {median:.3g} m")


def note_contradictions(labels: Mapping[str, Labels], camera: Intrinsics | None, path: str, account: Account) -> None:
    """Notes normals that face away from the camera, or contradict the depth. All sources with normals call it.

    Args:
      labels: {task: labels} of one image; other tasks than depth and normals are ignored.
      camera: None if it is not known. A usual one is assumed then, and more may differ.
      path: of the image.
      account: for the notes.
    """
    if "normals" not in labels:
        return
    vectors = labels["normals"]["normals"]
    height, width = vectors.shape[:2]
    unit_rays = rays(height, width, camera or usual(height, width))
    away = share_away(vectors, unit_rays)
    if away > AWAY:
        account.notes.add("normals: most face away from the camera; are the axes as described?", f"{path}: {away:.0%}")
    if "depth" not in labels:
        return
    apart = degrees_apart(vectors, labels["depth"]["metres"], unit_rays)
    limit = APART if camera else APART_UNCALIBRATED
    if apart is not None and apart > limit:
        reason = f"normals: more than {limit:.0f} degrees from those of the depth; are the axes as described?"
        account.notes.add(reason, f"{path}: median {apart:.0f}")
