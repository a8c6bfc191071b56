"""EXR files written here by the published layout are read with the same values."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

from tfrecords_tools.sources import exr

HEIGHT, WIDTH = 37, 21  # three chunks of 16 lines
RAMP = np.linspace(0.5, 20, HEIGHT * WIDTH, dtype=np.float32).reshape(HEIGHT, WIDTH)
KINDS = {np.dtype("<f4"): 2, np.dtype("<f2"): 1, np.dtype("<u4"): 0}


def written(planes: dict[str, np.ndarray], compression: int = exr.ZIP, version: int = 2) -> bytes:
    """An EXR file of these channels; its window does not begin at 0."""
    names, lines = sorted(planes), exr.LINES.get(compression, 32)
    channels = b"".join(
        name.encode() + b"\0" + struct.pack("<4i", KINDS[planes[name].dtype], 0, 1, 1) for name in names
    )
    window = struct.pack("<4i", 5, -3, 5 + WIDTH - 1, -3 + HEIGHT - 1)
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
    for first in range(0, HEIGHT, lines):
        rows = range(first, min(first + lines, HEIGHT))
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


@pytest.mark.parametrize("compression", exr.LINES)
@pytest.mark.parametrize("name", ["Z", "V", "Y", "Depth.Z", "ViewLayer.Depth.V"])
def test_depth(name: str, compression: int) -> None:
    np.testing.assert_array_equal(exr.read(written({name: RAMP}, compression)), RAMP)


@pytest.mark.parametrize("dtype", ["<f2", "<u4"])
def test_other_types(dtype: str) -> None:
    values = RAMP.astype(dtype)
    np.testing.assert_array_equal(exr.read(written({"Z": values}, exr.RLE)), values.astype(np.float32))


def test_channels_are_chosen_by_name() -> None:
    """The file has them in the order of the alphabet: B, G, R. Alpha is not needed."""
    planes = {name: RAMP + place for place, name in enumerate("RGBA")}
    np.testing.assert_array_equal(exr.read(written(planes)), np.stack([RAMP, RAMP + 1, RAMP + 2], -1))
    np.testing.assert_array_equal(exr.read(written({"n.X": RAMP, "n.Y": -RAMP, "n.Z": RAMP + 1}))[..., 1], -RAMP)
    np.testing.assert_array_equal(exr.read(written({"A": RAMP * 2, "Z": RAMP})), RAMP)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (written({"Z": RAMP}, compression=4), "compression PIZ, which is not read; save it as ZIP"),
        (written({"Z": RAMP}, compression=9), "compression DWAB, which is not read; save it as ZIP"),
        (written({"Z": RAMP}, compression=77), "compression number 77, which is not read; save it as ZIP"),
        (written({"Z": RAMP}, version=2 | 0x200), "tiles or several parts"),
        (written({"A": RAMP, "S": RAMP}), "channels A, S, none of which is depth"),
        (written({"Z": RAMP})[:-99], "not a readable EXR file"),
        (exr.MAGIC + struct.pack("<I", 2) + b"a\0b\0" + struct.pack("<i", -8), "-8 bytes of 'a'"),
        (exr.MAGIC + bytes(100), "not a readable EXR file"),
        (b"", "not a readable EXR file"),
    ],
)
def test_what_is_not_read_is_an_error(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        exr.read(data)
