"""Maps of labels as PNG: exact, and in the form that is read fastest."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
import tensorflow as tf

from must_tf.data import map_png
from tests.support.image_files import MAPS

UP = 2  # the PNG specification's number of this filter


@pytest.mark.parametrize("values", MAPS, ids=["bytes", "colours", "16 bits"])
def test_a_map_comes_back_as_it_was(values: np.ndarray) -> None:
    channels = values.shape[2] if values.ndim == 3 else 1
    read = tf.io.decode_png(map_png.encode(values), channels=channels, dtype=values.dtype)
    np.testing.assert_array_equal(read, values.reshape(*values.shape[:2], channels))


@pytest.mark.parametrize("take", [np.s_[:1], np.s_[:, :1], np.s_[::2, ::-1]], ids=["one row", "one column", "view"])
@pytest.mark.parametrize("values", MAPS, ids=["bytes", "colours", "16 bits"])
def test_maps_of_any_shape_and_order(values: np.ndarray, take: tuple[slice, ...]) -> None:
    turned = values[take].swapaxes(0, 1)
    channels = values.shape[2] if values.ndim == 3 else 1
    for one in (values[take], turned):
        read = tf.io.decode_png(map_png.encode(one), channels=channels, dtype=values.dtype)
        np.testing.assert_array_equal(read, one.reshape(*one.shape[:2], channels))


@pytest.mark.parametrize(
    "values", [np.zeros([4, 4, 1], np.uint8), np.zeros([4, 4, 3], np.uint16), np.zeros([4, 4], np.int32)]
)
def test_another_kind_of_map_is_refused(values: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"A map is uint8 or uint16 \[h, w\] or uint8 \[h, w, 3\], not "):
        map_png.encode(values)


@pytest.mark.parametrize("values", MAPS, ids=["bytes", "colours", "16 bits"])
def test_each_row_is_the_difference_from_the_one_above(values: np.ndarray) -> None:
    png = map_png.encode(values)
    packed = bytearray()
    at = 8  # behind the signature
    while at < len(png):
        length = int.from_bytes(png[at : at + 4], "big")
        packed += png[at + 8 : at + 8 + length] if png[at + 4 : at + 8] == b"IDAT" else b""
        at += 12 + length
    rows = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(len(values), -1)
    assert set(rows[1:, 0]) == {UP}
    bytes_of = values.astype(values.dtype.newbyteorder(">")).reshape(len(values), -1).view(np.uint8)
    np.testing.assert_array_equal(rows[1:, 1:], np.diff(bytes_of, axis=0))
