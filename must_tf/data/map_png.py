"""Encodes label maps as PNG without loss, in the form that is written and read fastest.

libdeflate takes less than half the time of OpenCV's zlib, and the files are a seventh smaller
(`benchmarks/profile/map_codecs.py`). Its version decides the bytes, and the pixels are the same for all versions.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import numpy as np

from must_tf.data.opening import PNG

LEVEL = 1  # higher ones take longer, and save a few percent
GREY, COLOURS = 0, 2  # the PNG specification's numbers of kinds of pixels
# Its number of the filter that TensorFlow decodes fastest: each row is stored as its difference from the row above.
# Compared with the filter that OpenCV chooses, decoding takes 1/6 to 3/4 less time. Predicted classes, confidence and
# depth take 1/3 less space, predicted normals the same; depth from a Kinect, which has holes, takes 1/3 more, and its
# normals 1/7 more.
UP = 2


def encode(values: np.ndarray) -> bytes:
    """Encodes a label map, uint8 or uint16 [h, w] or uint8 [h, w, 3]."""
    import deflate  # an installation that only predicts writes no maps

    return packed(values, lambda rows: bytes(deflate.zlib_compress(rows, LEVEL)))


def packed(values: np.ndarray, compress: Callable[[bytes], bytes]) -> bytes:
    """Returns a map as PNG; `compress` returns bytes in zlib's format."""
    height, width = values.shape[:2]
    stored = values.astype(values.dtype.newbyteorder(">")).reshape(height, -1).view(np.uint8)
    rows = np.empty([height, 1 + stored.shape[1]], np.uint8)
    rows[:, 0] = UP
    rows[0, 1:] = stored[0]  # above it there are zeros
    np.subtract(stored[1:], stored[:-1], out=rows[1:, 1:])
    kind = COLOURS if values.ndim == 3 else GREY
    header = struct.pack(">IIBBBBB", width, height, 8 * values.dtype.itemsize, kind, 0, 0, 0)
    parts = (b"IHDR", header), (b"IDAT", compress(rows.tobytes())), (b"IEND", b"")
    return PNG + b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in parts
    )
