"""The comparison of compressors writes the maps that it claims to write."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from benchmarks.profile import map_codecs
from must_tf.data import map_png
from tests.support.image_files import MAPS


@pytest.mark.parametrize("values", MAPS, ids=["bytes", "colours", "16 bits"])
def test_every_file_is_read_as_its_map(values: np.ndarray) -> None:
    channels = values.shape[2] if values.ndim == 3 else 1
    found = [how for _, how in map_codecs.compressors()]
    assert len(found) >= 3  # zlib, and two levels of libdeflate
    for compress in found:
        read = tf.io.decode_png(map_png.packed(values, compress), channels=channels, dtype=values.dtype)
        np.testing.assert_array_equal(read, values.reshape(*values.shape[:2], channels))
