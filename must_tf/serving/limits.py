"""Limits on images. Importing this needs no TensorFlow."""

from __future__ import annotations

from typing import NamedTuple

MAX_IMAGE_PIXELS = 25_000_000  # a photo of most cameras
MAX_BATCH_PIXELS = 50_000_000


class Limits(NamedTuple):
    """The largest number of pixels of an image, and of a batch as padded."""

    image: int = MAX_IMAGE_PIXELS
    batch: int = MAX_BATCH_PIXELS
