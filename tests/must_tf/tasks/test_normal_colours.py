"""Vectors become colours: RGB = (n + 1) * 127.5, rounded; what is no direction becomes 0,0,0."""

from __future__ import annotations

import numpy as np
import pytest

from must_tf.tasks.normals import labels

NOTHING = [0, 0, 0]


def test_by_hand() -> None:
    normals = np.array([[[0, 0, -1], [1, 0, 0]], [[0.28, -0.96, 0], [0, 0, 0]]], np.float32)
    expected = [[[128, 128, 0], [255, 128, 128]], [[163, 5, 128], NOTHING]]
    np.testing.assert_array_equal(labels.colours(normals), expected)


@pytest.mark.parametrize("value", [np.nan, [np.nan, 0, -1], [0, np.nan, -1], [0, 0, np.nan]])
def test_nan_is_unknown(value: object) -> None:
    """Whichever axis it is; its neighbours, and a vector that nearly is 0,0,0, are not."""
    normals = np.tile(np.array([0, 0, -1], np.float32), [40, 3, 1])
    normals[35, 1], normals[3, 2] = np.asarray(value), 1e-3
    found = labels.colours(normals)
    assert found[35, 1].tolist() == NOTHING and found[3, 2].tolist() == [128, 128, 128]
    assert (found == NOTHING).all(axis=-1).sum() == 1
