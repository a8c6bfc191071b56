"""EXR files, written by the published layout."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from tfrecords_tools.sources import exr

KINDS = {np.dtype("<f4"): 2, np.dtype("<f2"): 1, np.dtype("<u4"): 0}


def written(planes: dict[str, np.ndarray], compression: int = exr.ZIP, version: int = 2) -> bytes:
    """An EXR file of these channels [h, w]; its window does not begin at 0."""
    height, width = next(iter(planes.values())).shape
    names, lines = sorted(planes), exr.LINES.get(compression, 32)
    channels = b"".join(
        name.encode() + b"\0" + struct.pack("<4i", KINDS[planes[name].dtype], 0, 1, 1) for name in names
    )
    window = struct.pack("<4i", 5, -3, 5 + width - 1, -3 + height - 1)
    head = exr.MAGIC + struct.pack("<I", version)
    attributes = (
        ("channels", "chlist", channels + b"\0"),
        ("compression", "compression", bytes([compression])),
        ("dataWindow", "box2i", window),
        ("displayWindow", "box2i", window),
        ("lineOrder", "lineOrder", b"\0"),
    )
    for name, kind, content in attributes:
        head += name.encode() + b"\0" + kind.encode() + b"\0" + struct.pack("<i", len(content)) + content
    head += b"\0"
    chunks = []
    for first in range(0, height, lines):
        rows = range(first, min(first + lines, height))
        raw = b"".join(planes[name][row].tobytes() for row in rows for name in names)
        chunks.append(struct.pack("<i", first - 3) + sized(packed(raw, compression)))
    starts = np.cumsum([len(head) + 8 * len(chunks), *map(len, chunks[:-1])])
    return head + b"".join(struct.pack("<Q", start) for start in starts) + b"".join(chunks)


def sized(content: bytes) -> bytes:
    """The content with its length before it."""
    return struct.pack("<i", len(content)) + content


def packed(raw: bytes, compression: int) -> bytes:
    """Even bytes before odd ones, as differences, then compressed; byte by byte as the layout says."""
    if compression == exr.NONE:
        return raw
    shuffled = raw[0::2] + raw[1::2]
    differences = bytes([shuffled[0]]) + bytes(
        (after - before + 128) % 256 for before, after in zip(shuffled, shuffled[1:], strict=False)
    )
    small = zlib.compress(differences) if compression != exr.RLE else runs(differences)
    return small if len(small) < len(raw) else raw


def runs(content: bytes) -> bytes:
    """Runs of equal bytes; single ones are copied."""
    out, at = b"", 0
    while at < len(content):
        count = 1
        while at + count < len(content) and content[at + count] == content[at] and count < 128:
            count += 1
        out += struct.pack("b", count - 1) + content[at : at + 1] if count > 1 else b"\xff" + content[at : at + 1]
        at += count
    return out
