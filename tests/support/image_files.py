"""Image files of one photo and the pixels that Pillow reads; label maps of every kind."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from tests.support.converting import noise

HEIGHT, WIDTH = 40, 64
ORIENTATION = 0x0112  # the EXIF tag
# JPEG at quality 95 turned, compressed again: blue differs by up to 8 levels; an unturned picture by over 100.
JPEG_LEVELS = 10
PHOTO = noise(HEIGHT, WIDTH)
_RNG = np.random.default_rng(0)
MAPS = (
    _RNG.integers(0, 256, [7, 5], dtype=np.uint8),
    _RNG.integers(0, 256, [7, 5, 3], dtype=np.uint8),
    _RNG.integers(0, 65536, [7, 5], dtype=np.uint16),
)


def file(pixels: np.ndarray | Image.Image, kind: str, orientation: int = 1) -> bytes:
    """Encodes these pixels as an image file, with EXIF if it is turned."""
    image, made, exif = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels), io.BytesIO(), b""
    if orientation != 1:
        tags = Image.Exif()
        tags[ORIENTATION] = orientation
        exif = tags.tobytes()
    image.save(made, kind, **({"exif": exif} if exif else {}))
    return made.getvalue()


def pillow(data: bytes) -> np.ndarray:
    """Returns the stored pixels, read by Pillow."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
