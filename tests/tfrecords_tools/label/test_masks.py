"""Masks lie on boxes: a teacher's come with its own, and its boxes never take the place of those below a mask."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from must_tf.common.errors import UserError
from must_tf.data import manifest, record
from tests.support import formula_teacher
from tests.support.formula_teacher import one
from tests.tfrecords_tools.label.test_results import origins, results
from tfrecords_tools.label import results as label_results
from tfrecords_tools.writing import shards

OBJECTS = ("detection", "masks")
NO_MASKS = r"all 1 images are labelled for detection already \(detection: 1 .*\); none of 1 images can get masks: their"
NO_BOXES = "none of 1 images can get detection: somebody else's masks lie on them"


def masked(before: dict[str, str]) -> bytes:
    """The record of image 2, in which the teacher would find a box, with another box and the mask on it."""
    found = formula_teacher.said(np.full([formula_teacher.H, formula_teacher.W, 3], 200, np.uint8))["detection"]
    labels = found | {"boxes": np.array([[0, 0, 0.5, 0.5]], np.float32), "crops": [np.ones([3, 4], np.uint8)]}
    there = {task: record.Labelled(labels, origin) for task, origin in before.items()}
    return record.merge(one(2), there, formula_teacher.discover())


def features(serialized: bytes) -> dict[str, tf.train.Feature]:
    """Of one record."""
    return dict(tf.train.Example.FromString(serialized).features.feature)


@pytest.mark.parametrize(
    ("before", "replace"),
    [
        ({"masks": "real:a"}, []),
        ({"masks": "pseudo:old"}, []),
        ({"detection": "pseudo:old", "masks": "real:a"}, ["detection"]),
    ],
)
def test_masks_keep_the_boxes_that_they_lie_on(before: dict[str, str], replace: list[str], tmp_path: Path) -> None:
    """Whether or not a record says whose the boxes are. The teacher looks at both images: they lack depth."""
    serialized = masked(before)
    records = formula_teacher.write(tmp_path / "in", [[serialized, one(4)]])
    found = results(records, tmp_path / "out", replace=replace)
    after = next(iter(tf.data.TFRecordDataset(str(tmp_path / "out" / shards.names(1)[0])).as_numpy_iterator()))
    assert origins(tmp_path / "out")[0] == before | {"depth": "pseudo:f0"}
    assert features(serialized).items() <= features(after).items()
    assert found["depth"].labelled == 2 and found["detection"].labelled == 1
    left = 1 - ("detection" in before)
    assert found["detection"].left == left
    assert found["detection"].why == ("somebody else's masks lie on them" if left else "")


@pytest.mark.parametrize(
    ("before", "tasks", "replace", "message"),
    [
        ({"detection": "real:a"}, OBJECTS, (), NO_MASKS),
        ({"detection": "real:a"}, OBJECTS, OBJECTS, NO_MASKS),
        ({"detection": "pseudo:old"}, OBJECTS, (), NO_MASKS),
        ({"detection": "pseudo:old"}, OBJECTS, OBJECTS, ""),
        ({"detection": "pseudo:f0"}, OBJECTS, OBJECTS, ""),  # its masks are new
        ({"detection": "real:a"}, (*OBJECTS, "depth"), (), ""),
        ({"masks": "real:a"}, ("detection",), (), NO_BOXES),
        ({"masks": "pseudo:old"}, OBJECTS, OBJECTS, ""),
    ],
)
def test_what_no_image_can_get_is_no_work(
    before: dict[str, str], tasks: tuple[str, ...], replace: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    """Masks come with their boxes alone, and boxes not below the masks of others."""
    asked = formula_teacher.asked(
        formula_teacher.write(tmp_path / "in", [[masked(before)]]), formula_teacher.teacher(tasks), replace=replace
    )
    with pytest.raises(UserError, match=message) if message else contextlib.nullcontext():
        label_results.require_work(manifest.read(asked.directory), asked)
