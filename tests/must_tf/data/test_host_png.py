"""Masks are decoded as the input pipeline decodes them, whatever kind of PNG another tool wrote."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import tensorflow as tf

from must_tf.data import host_png
from must_tf.tasks.masks import labels

VALUES = np.random.default_rng(0).choice(np.array([0, 1, 127, 254, 255], np.uint8), [13, 21])
FILES = {
    "one bit": labels.encode(VALUES > 127),
    "grey": cv2.imencode(".png", VALUES)[1].tobytes(),
    "16 bits": cv2.imencode(".png", VALUES.astype(np.uint16) * 257)[1].tobytes(),
    "colours": cv2.imencode(".png", np.stack([VALUES, VALUES[::-1], VALUES], -1))[1].tobytes(),
}


@pytest.mark.parametrize("kind", FILES)
def test_as_tensorflow(kind: str) -> None:
    found = host_png.decoded_mask(FILES[kind])
    assert found.dtype == np.uint8 and set(np.unique(found)) == {0, 1}
    np.testing.assert_array_equal(found, tf.io.decode_png(FILES[kind], channels=1).numpy()[..., 0] // 255)


@pytest.mark.parametrize("kind", FILES)
def test_a_damaged_file(kind: str) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError):
        host_png.decoded_mask(FILES[kind][:40])
