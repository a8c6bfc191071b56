"""Reads OpenEXR images of lines: depth and normals as renderers write them.

A file is a header of named attributes, a table of offsets, and chunks of one or 16 lines. Each line has the values of
the channels one after another, in the order of their names. Compressed lines hold differences of bytes, the first half
those at even places. Source: "OpenEXR File Layout", openexr.com. Tiles, several parts and the lossy compressions are
refused.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

import numpy as np

from tfrecords_tools.writing.reasons import reason_of

MAGIC = b"\x76\x2f\x31\x01"
ONLY_LINES = 0x04FF  # the version, and long names; other bits are tiles, deep data and several parts
TYPES: dict[int, np.dtype] = {0: np.dtype("<u4"), 1: np.dtype("<f2"), 2: np.dtype("<f4")}
NONE, RLE, ZIPS, ZIP = range(4)
REFUSED = {4: "PIZ", 5: "PXR24", 6: "B44", 7: "B44A", 8: "DWAA", 9: "DWAB"}
LINES = {NONE: 1, RLE: 1, ZIPS: 1, ZIP: 16}  # per chunk
DEPTHS = ("Z", "V", "DEPTH", "Y")  # last parts of channel names, the best first
TRIPLES = (("R", "G", "B"), ("X", "Y", "Z"))


class Header(NamedTuple):
    """The attributes that are needed.

    Attributes:
      channels: names and types, in the order in which lines hold them.
      compression: one of `LINES`.
      window: the image's x0, y0, x1, y1, both ends inside.
      end: position behind the header.
    """

    channels: dict[str, np.dtype]
    compression: int
    window: tuple[int, int, int, int]
    end: int


def read(data: bytes) -> np.ndarray:
    """Reads depth [h, w], or three channels [h, w, 3], as float32.

    Raises:
      ValueError: the file is damaged or of a kind that is not read.
    """
    try:
        header = _header(data)
        planes = _planes(data, header)
    except (struct.error, KeyError, IndexError, zlib.error, UnicodeDecodeError) as error:
        raise ValueError(f"not a readable EXR file: {reason_of(error)}") from None
    by_last = {name.rpartition(".")[2].upper(): name for name in planes}
    for triple in TRIPLES:
        if all(name in by_last for name in triple):
            return np.stack([planes[by_last[name]] for name in triple], -1)
    chosen = next((by_last[name] for name in DEPTHS if name in by_last), None)
    if chosen is None and len(planes) != 1:
        raise ValueError(f"an EXR file with the channels {', '.join(planes)}, none of which is depth or RGB")
    return planes[chosen or next(iter(planes))]


def _header(data: bytes) -> Header:
    (version,) = struct.unpack_from("<I", data, 4)
    if data[:4] != MAGIC or version & ~ONLY_LINES:
        raise ValueError("an EXR file of tiles or several parts, which are not read")
    attributes: dict[str, bytes] = {}
    at = 8
    while data[at] != 0:
        name, at = _text(data, at)
        _, at = _text(data, at)  # its type
        (size,) = struct.unpack_from("<i", data, at)
        if size < 0:
            raise ValueError(f"an EXR file with {size} bytes of {name!r}")
        attributes[name], at = data[at + 4 : at + 4 + size], at + 4 + size
    compression = attributes["compression"][0]
    if compression not in LINES:
        name = REFUSED.get(compression, f"number {compression}")
        raise ValueError(f"an EXR file of compression {name}, which is not read; save it as ZIP")
    x0, y0, x1, y1 = struct.unpack("<4i", attributes["dataWindow"])
    return Header(_channels(attributes["channels"]), compression, (x0, y0, x1, y1), at + 1)


def _text(data: bytes, at: int) -> tuple[str, int]:
    """Returns a text that ends with a zero, and the position behind it."""
    end = data.index(b"\0", at)
    return data[at:end].decode(), end + 1


def _channels(content: bytes) -> dict[str, np.dtype]:
    channels: dict[str, np.dtype] = {}
    at = 0
    while content[at] != 0:
        name, at = _text(content, at)
        kind, _, across, down = struct.unpack_from("<4i", content, at)
        if (across, down) != (1, 1):
            raise ValueError("an EXR file with fewer values than pixels")
        channels[name], at = TYPES[kind], at + 16
    return channels


def _planes(data: bytes, header: Header) -> dict[str, np.ndarray]:
    x0, y0, x1, y1 = header.window
    width, height = x1 - x0 + 1, y1 - y0 + 1
    if not 0 < width * height <= 1 << 30:
        raise ValueError(f"an EXR file of {width} x {height} pixels")
    planes = {name: np.zeros([height, width], np.float32) for name in header.channels}
    line_bytes = width * sum(dtype.itemsize for dtype in header.channels.values())
    for chunk in range(-(-height // LINES[header.compression])):
        (at,) = struct.unpack_from("<Q", data, header.end + 8 * chunk)
        first, size = struct.unpack_from("<ii", data, at)
        lines = min(LINES[header.compression], height - (first - y0))
        content = _decompressed(data[at + 8 : at + 8 + size], header.compression, lines * line_bytes)
        place = 0
        for line in range(first - y0, first - y0 + lines):
            for name, dtype in header.channels.items():
                planes[name][line] = np.frombuffer(content, dtype, width, place)
                place += width * dtype.itemsize
    return planes


def _decompressed(content: bytes, compression: int, size: int) -> bytes:
    if compression == NONE or len(content) == size:  # what does not become smaller is stored as it is
        return content
    raw = _runs(content) if compression == RLE else zlib.decompress(content)
    differences = np.frombuffer(raw, np.uint8).astype(np.int64)
    differences[1:] -= 128
    values = np.cumsum(differences).astype(np.uint8)
    half, joined = (len(values) + 1) // 2, np.empty(len(values), np.uint8)
    joined[0::2], joined[1::2] = values[:half], values[half:]
    return joined.tobytes()


def _runs(content: bytes) -> bytes:
    """Expands runs: a count of n >= 0 repeats the next byte n + 1 times, n < 0 copies the next -n bytes."""
    out, at = bytearray(), 0
    while at < len(content):
        (count,) = struct.unpack_from("b", content, at)
        if count < 0:
            out += content[at + 1 : at + 1 - count]
            at += 1 - count
        else:
            out += content[at + 1 : at + 2] * (count + 1)
            at += 2
    return bytes(out)
