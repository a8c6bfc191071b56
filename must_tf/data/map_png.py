"""Encodes label maps as PNG without loss, in the form that is written and read fastest.

libdeflate takes less than half the time of OpenCV's zlib, and the files are a seventh smaller
(`benchmarks/profile/map_codecs.py`). Its version decides the bytes, and the pixels are the same for all versions.
"""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Callable

import deflate
import numpy as np

from must_tf.data.opening import PNG

LEVEL = 1  # higher ones take longer, and save a few percent
GREY, COLOURS = 0, 2  # the PNG specification's numbers of kinds of pixels
KINDS = (("uint8", ()), ("uint16", ()), ("uint8", (3,)))  # types of numbers, and axes behind [h, w]
# Its number of the filter that TensorFlow decodes fastest: each row is stored as its difference from the row above.
# Compared with the filter that OpenCV chooses, decoding takes 1/6 to 3/4 less time. Predicted classes, confidence and
# depth take 1/3 less space, predicted normals the same; depth from a Kinect, which has holes, takes 1/3 more, and its
# normals 1/7 more.
UP = 2


def encode(values: np.ndarray) -> bytes:
    """Encodes a label map, uint8 or uint16 [h, w] or RGB uint8 [h, w, 3].

    Raises:
      ValueError: it is of another kind.
    """
    return packed(values, lambda rows: deflate.zlib_compress(rows, LEVEL))


def packed(values: np.ndarray, compress: Callable[[np.ndarray], bytes | bytearray]) -> bytes:
    """Returns a map as PNG, see `encode`; `compress` returns bytes in zlib's format."""
    if (values.dtype.name, values.shape[2:]) not in KINDS:
        raise ValueError(f"A map is uint8 or uint16 [h, w] or uint8 [h, w, 3], not {values.dtype} {values.shape}.")
    height, width = values.shape[:2]
    rows = _differences(np.ascontiguousarray(values, values.dtype.newbyteorder(">")).reshape(height, -1).view(np.uint8))
    kind = COLOURS if values.ndim == 3 else GREY
    header = struct.pack(">IIBBBBB", width, height, 8 * values.dtype.itemsize, kind, 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", compress(rows)), (b"IEND", b"")
    checked = [(name, content, zlib.crc32(content, zlib.crc32(name))) for name, content in chunks]
    parts = [(struct.pack(">I", len(content)), name, content, struct.pack(">I", crc)) for name, content, crc in checked]
    return PNG + b"".join(itertools.chain(*parts))


def _differences(stored: np.ndarray) -> np.ndarray:
    """Returns the filtered rows of a file, each with the number of its filter."""
    rows = np.empty([len(stored), 1 + stored.shape[1]], np.uint8)
    rows[:, 0] = UP
    rows[0, 1:] = stored[0]  # above it there are zeros
    np.subtract(stored[1:], stored[:-1], out=rows[1:, 1:])
    return rows
