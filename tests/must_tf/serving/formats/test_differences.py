"""Differences between the predictions of two files, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from must_tf.serving.formats.differences import Differences

Arrays = dict[str, np.ndarray]


def compared(found: Arrays, expected: Arrays) -> dict[str, float]:
    """Returns the differences of one photo."""
    differences = Differences()
    differences.add(found, expected)
    return differences.result()


def objects(boxes: list[list[float]], scores: list[float], classes: list[int]) -> Arrays:
    """Returns detection's outputs, with one empty place."""
    return {
        "detection/boxes": np.array([*boxes, [0, 0, 0, 0]], np.float32),
        "detection/scores": np.array([*scores, 0], np.float32),
        "detection/classes": np.array([*classes, 0], np.int32),
        "detection/count": np.array(len(scores)),
    }


def test_maps_and_classes() -> None:
    expected = {
        "classification/probability": np.array([0.2, 0.8], np.float32),
        "segmentation/classes": np.array([[0, 1], [2, 3]]),
        "depth/metres": np.array([[2.0, 4.0]], np.float32),
        "normals/normals": np.array([[[0, 0, -1], [0, 0, -1]]], np.float32),
    }
    found = {
        "classification/probability": np.array([0.6, 0.4], np.float32),
        "segmentation/classes": np.array([[0, 1], [2, 0]]),
        "depth/metres": np.array([[3.0, 4.0]], np.float32),
        "normals/normals": np.array([[[0, 0, -1], [0, -1, 0]]], np.float32),
    }
    assert compared(found, expected) == pytest.approx(
        {
            "classification/top1": 0.0,
            "segmentation/pixels": 0.75,
            "depth/relative": 0.25,  # (1 / 2 + 0) / 2
            "normals/degrees": 45.0,  # (0 + 90) / 2
        }
    )


def test_objects_are_found_again_with_their_class_and_nearly_their_box() -> None:
    """The second is moved by half, the third has another class, the fourth is below the score that counts."""
    squares = [[0, 0, 0.2, 0.2], [0.4, 0.4, 0.6, 0.6], [0.7, 0.7, 0.9, 0.9], [0, 0.7, 0.2, 0.9]]
    expected = objects(squares, [0.9, 0.8, 0.7, 0.2], [1, 1, 1, 1])
    moved = [squares[3], [0, 0, 0.2, 0.195], [0.4, 0.5, 0.6, 0.7], squares[2]]
    found = objects(moved, [0.8, 0.75, 0.7, 0.6], [1, 1, 1, 2])
    result = compared(found, expected)
    assert result == pytest.approx({"detection/found": 1 / 3, "detection/score": 0.15})


def test_masks_of_objects_that_are_found() -> None:
    square = [[0.0, 0.0, 0.5, 0.5]]
    expected, found = objects(square, [0.9], [1]), objects(square, [0.9], [1])
    expected["masks/probability"], found["masks/probability"] = np.zeros([2, 4, 4]), np.zeros([2, 4, 4])
    expected["masks/probability"][0, :2], found["masks/probability"][0, :3] = 0.9, 0.5
    assert compared(found, expected)["masks/IoU"] == pytest.approx(2 / 3)


def test_without_objects_nothing_is_said_about_them() -> None:
    assert compared(objects([], [], []), objects([], [], [])) == {}
    assert compared(objects([], [], []), objects([[0, 0, 1, 1]], [0.9], [1])) == {"detection/found": 0.0}
