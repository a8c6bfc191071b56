"""EXR files written here by the published layout are read with the same values."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from tests.support.datasets.exr_files import written
from tfrecords_tools.sources import exr

HEIGHT, WIDTH = 37, 21  # three chunks of 16 lines
RAMP = np.linspace(0.5, 20, HEIGHT * WIDTH, dtype=np.float32).reshape(HEIGHT, WIDTH)


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
