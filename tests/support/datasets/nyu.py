"""NYU Depth V2's labelled file in small."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from scipy import io as matlab

from tests.support.converting import noise

HEIGHT, WIDTH, FRAMES = 24, 32, 4
NAMES = ("book", "wall", "box of tissue")


def depths() -> np.ndarray:
    """Metres [N, h, w], different for every pixel, with one unknown pixel."""
    metres = np.linspace(0.7, 9.9, FRAMES * HEIGHT * WIDTH).reshape(FRAMES, HEIGHT, WIDTH).astype(np.float32)
    metres[0, 2, 3] = 0.0
    return metres


def photos() -> np.ndarray:
    """uint8 [N, h, w, 3]."""
    return np.stack([noise(HEIGHT, WIDTH, seed) for seed in range(FRAMES)])


def labels() -> np.ndarray:
    """Ids [N, h, w]: columns of 0, 1, 2, 3."""
    return np.tile(np.arange(WIDTH) // 8, [FRAMES, HEIGHT, 1]).astype(np.uint16)


def labelled_mat(folder: Path) -> str:
    """Writes nyu_depth_v2_labeled.mat: reversed axes, and names as references to columns of characters."""
    path = folder / "nyu_depth_v2_labeled.mat"
    with h5py.File(path, "w") as file:
        file["images"] = photos().transpose(0, 3, 2, 1)
        file["depths"] = depths().transpose(0, 2, 1)
        file["labels"] = labels().transpose(0, 2, 1)
        references = []
        for number, name in enumerate(NAMES):
            file[f"#refs#/{number}"] = np.array([[ord(letter)] for letter in name], np.uint16)
            references.append(file[f"#refs#/{number}"].ref)
        file.create_dataset("names", data=np.array([references], dtype=h5py.ref_dtype))
    train, test = np.array([[3], [1]], np.uint16), np.array([[2]], np.uint16)
    matlab.savemat(folder / "splits.mat", {"trainNdxs": train, "testNdxs": test})
    return str(path)
