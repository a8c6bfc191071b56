"""A folder of photos with depth, normals and classes, as the `rgbd` source reads it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.support.converting import noise, save

HEIGHT, WIDTH = 24, 32


def photos(root: Path, *names: str) -> None:
    """Writes image files with different pixels."""
    for seed, name in enumerate(names):
        save(root / name, noise(HEIGHT, WIDTH, seed))


def depth() -> np.ndarray:
    """Returns millimetres uint16 [h, w], including 0 and the largest value."""
    values = np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH) * 13
    values[0, 0], values[-1, -1] = 0, 65535
    return values


def normals() -> np.ndarray:
    """Returns unit vectors float64 [h, w, 3] toward the camera, one of them unknown."""
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=[HEIGHT, WIDTH, 3])
    vectors[..., 2] = -np.abs(vectors[..., 2]) - 0.1
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    vectors[0, 0] = 0
    return vectors


def colours(vectors: np.ndarray) -> np.ndarray:
    """Encodes normals like the datasets: (n + 1) * 127.5, and 0,0,0 for unknown."""
    known = np.abs(vectors).sum(-1, keepdims=True) > 0
    return np.where(known, np.rint((vectors + 1) * 127.5), 0).astype(np.uint8)


def class_map() -> np.ndarray:
    """Returns ids uint8 [h, w] 0, 1, 2 and 255."""
    ids = np.zeros([HEIGHT, WIDTH], np.uint8)
    ids[:, 8:16], ids[:, 16:24], ids[:10, 24:] = 1, 2, 255
    return ids


def rooms(root: Path) -> Path:
    """Writes rgb/ with three photos: the first with all labels, the others with depth only."""
    photos(root / "rgb", "train_0.jpg", "train_1.png", "test_0.png")
    save(root / "depth" / "train_0.png", depth())
    save(root / "depth" / "train_1.png", depth())
    save(root / "depth" / "test_0.png", depth())
    save(root / "normal" / "train_0.png", colours(normals()))
    save(root / "label" / "train_0.png", class_map())
    (root / "classes.txt").write_text("floor\nwall\n\nchair\n")
    return root
