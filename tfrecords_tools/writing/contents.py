"""The content of images as 64-bit numbers: the first digits of `image/key/sha256`, equal for the same photo.

Those of a large dataset fit into memory. Among ten million photos, two collide with a probability of 3 in a million.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

DIGITS = 16  # of the SHA-256
RANGE = float(1 << 4 * DIGITS)  # the numbers are below it


def short(sha256: str) -> int:
    """Returns the number of an image from the hex digits of its SHA-256."""
    return int(sha256[:DIGITS], 16)


def packed(numbers: Sequence[int]) -> str:
    """Returns the numbers as hex digits, `DIGITS` each."""
    return "".join(f"{number:0{DIGITS}x}" for number in numbers)


def unpacked(digits: str) -> np.ndarray:
    """Returns the numbers of `packed`, uint64 [N]."""
    return np.frombuffer(bytes.fromhex(digits), ">u8").astype(np.uint64)
