"""Scans in the layout of DIODE: planes seen by its camera."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.support.converting import noise, save

# An eighth of DIODE's size.
SCAN_HEIGHT, SCAN_WIDTH = 96, 128


def plane(normal: tuple[float, float, float], distance: float) -> np.ndarray:
    """Depth [h, w] of the plane n . p = -distance, seen by a camera with DIODE's intrinsics."""
    fx, fy, cx, cy = 886.81 / 8, 927.06 / 8, 512 / 8, 384 / 8
    rows, columns = np.mgrid[:SCAN_HEIGHT, :SCAN_WIDTH] + 0.5
    seen = np.stack([(columns - cx) / fx, (rows - cy) / fy, np.ones([SCAN_HEIGHT, SCAN_WIDTH])], -1)
    return -distance / (seen @ np.array(normal))


FLOOR, WALL, SLOPE = (0.0, -1.0, 0.0), (0.0, 0.0, -1.0), (-0.48, -0.6, -0.64)


def unit(normal: tuple[float, float, float]) -> np.ndarray:
    """The same normal at every pixel, [h, w, 3]."""
    return np.tile(np.array(normal, np.float64), [SCAN_HEIGHT, SCAN_WIDTH, 1])


def scan(root: Path, depth: np.ndarray, normals: np.ndarray, mask: np.ndarray | None = None) -> Path:
    """Writes one image with its arrays; returns the path without suffix."""
    stem = root / "indoors" / "scene_00019" / "scan_00183" / "00019_00183_indoors_000_010"
    save(f"{stem}.png", noise(SCAN_HEIGHT, SCAN_WIDTH))
    np.save(f"{stem}_depth.npy", depth[..., None].astype(np.float32))
    np.save(f"{stem}_depth_mask.npy", np.ones([SCAN_HEIGHT, SCAN_WIDTH], np.float32) if mask is None else mask)
    np.save(f"{stem}_normal.npy", normals.astype(np.float32))
    return stem
