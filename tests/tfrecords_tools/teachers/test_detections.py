"""Packed and raw outputs of detectors: boxes worked out by hand, non-maximum suppression by TensorFlow's."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tfrecords_tools.teachers.detections import DetectedObjects, PackedObjects, RawObjects, _best_of_each

OBJECTS = DetectedObjects("boxes", "scores", "classes", x_first=True, first_class=0)
CANVAS = (32, 32)  # grids of 4 x 4 and 2 x 2 cells for strides 8 and 16
ROW = [2.0, 4.0, 10.0, 20.0]  # x0, y0, x1, y1


def raw(**changed: Any) -> RawObjects:
    """A head of YOLOX for two classes, with other settings if given."""
    return dataclasses.replace(RawObjects("raw", "grid", True, False, False, (8, 16), 0.5, CANVAS, OBJECTS), **changed)


@pytest.mark.parametrize(
    ("columns", "row"),
    [
        ("box score class", [*ROW, 0.75, 3.0]),
        ("box class score", [*ROW, 3.0, 0.75]),
        ("class score box", [3.0, 0.75, *ROW]),
    ],
)
def test_a_packed_row(columns: str, row: list[float]) -> None:
    """A row of padding is left out. Rows read in another order are a mistake with a remedy."""
    padding = [-1.0 if value == 3.0 else 0.0 for value in row]
    arrays = {"packed": np.array([row, padding], np.float32)}
    output = PackedObjects("packed", columns, OBJECTS)
    assert output.problem(arrays, 5) == ""
    found = output.read(arrays)
    assert found["boxes"].tolist() == [ROW] and found["scores"].tolist() == [0.75] and found["classes"].tolist() == [3]
    other = "box class score" if columns != "box class score" else "box score class"
    assert "outputs.detection.columns" in PackedObjects("packed", other, OBJECTS).problem(arrays, 5)
    assert "name it as `raw`" in output.problem({"packed": np.zeros([9, 85])}, 80)


def test_yolox_by_hand() -> None:
    """Cell (row 2, column 1) of stride 8, and cell (1, 0) of stride 16, which is row 16 + 2 of the output."""
    rows = np.zeros([20, 7], np.float32)
    rows[2 * 4 + 1] = [0.5, 0.25, np.log(2.0), np.log(1.0), 0.9, 0.1, 0.8]
    rows[16 + 2] = [0.25, 0.0, np.log(1.5), np.log(0.5), 0.5, 0.6, 0.2]
    found = raw().read({"raw": rows})
    # Centre ((1 + 0.5) * 8, (2 + 0.25) * 8) = (12, 18), size (16, 8); centre (4, 16), size (24, 8).
    np.testing.assert_allclose(found["boxes"], [[4, 14, 20, 22], [-8, 12, 16, 20]], atol=1e-5)
    np.testing.assert_allclose(found["scores"], [0.9 * 0.8, 0.5 * 0.6], atol=1e-6)
    assert found["classes"].tolist() == [1, 0]


def test_a_transposed_head_without_objectness() -> None:
    """[4 + C, N], logits; the second box has the best of the same class beside it, the third is of another class."""
    boxes = np.array([[16, 16, 8, 8], [17, 16, 8, 8], [17, 16, 8, 8]], np.float32)
    logits = np.array([[2.0, -5], [1.0, -5], [-5, 0.0]], np.float32)
    columns = np.concatenate([boxes, logits], axis=1).T
    output = raw(form="centre", objectness=False, columns_first=True, is_logits=True)
    assert output.problem({"raw": columns}, 2) == ""
    found = output.read({"raw": columns})
    np.testing.assert_allclose(found["boxes"], [[12, 12, 20, 20], [13, 12, 21, 20]])
    np.testing.assert_allclose(found["scores"], [1 / (1 + np.exp(-2.0)), 0.5], rtol=1e-6)
    assert found["classes"].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("output", "shape", "words"),
    [
        (raw(), (7, 20), "write `raw_layout: columns`"),
        (raw(columns_first=True), (20, 7), "write `raw_layout: rows`"),
        (raw(), (20, 6), "Write `objectness: false`"),
        (raw(objectness=False), (20, 7), "Write `objectness: true`"),
        (raw(), (21, 7), "the strides [8, 16] give 20 for an input of [32, 32]"),
    ],
)
def test_a_wrong_shape_says_which_key(output: RawObjects, shape: tuple[int, ...], words: str) -> None:
    assert words in output.problem({"raw": np.zeros(shape, np.float32)}, 2)


def test_wrong_values_say_which_key() -> None:
    rows = np.zeros([20, 7], np.float32)
    rows[:, 4:] = -3.0
    assert "write `means: logits`" in raw().problem({"raw": rows}, 2)
    rows[:] = [0.5, 0.5, 0.25, 0.25, 1.0, 1.0, 0.0]
    assert "write `coordinates: normalised`" in raw(form="centre").problem({"raw": rows}, 2)


def test_suppression_is_tensorflows() -> None:
    """Class by class, on boxes of which many overlap."""
    random = np.random.default_rng(5)
    low = random.uniform(0, 40, [200, 2])
    boxes = np.concatenate([low, low + random.uniform(5, 30, [200, 2])], axis=1).astype(np.float32)
    scores = np.sort(random.uniform(0.1, 1.0, 200))[::-1].astype(np.float32)
    classes = random.integers(0, 3, 200)
    expected = []
    for class_id in range(3):
        places = np.flatnonzero(classes == class_id)
        kept = tf.image.non_max_suppression(boxes[places], scores[places], 200, 0.45).numpy()
        expected += places[kept].tolist()
    assert 10 < len(expected) < 190
    assert _best_of_each(boxes, classes, 0.45).tolist() == sorted(expected)
