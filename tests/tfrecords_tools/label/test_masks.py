"""Masks lie on boxes: a teacher's masks come with its own boxes, and its boxes never replace those below a mask."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from must_tf.common.errors import UserError
from must_tf.data import manifest, record
from tests.support import formula_teacher
from tests.support.formula_teacher import image_record, origins, results
from tfrecords_tools.label.results import require_work
from tfrecords_tools.writing import shards

OBJECTS = ("detection", "masks")
NO_MASKS = (
    r"all 1 images already have detection labels \(detection: 1 .*\); no image can get masks, because its detection"
)
NO_BOXES = "no image can get detection, because it has masks from another source"


def masked(before: dict[str, str]) -> bytes:
    """Returns the record of image 2, in which the teacher finds a box, with another box and a mask on it."""
    objects = formula_teacher.formula(np.full([formula_teacher.H, formula_teacher.W, 3], 200, np.uint8))["detection"]
    labels = objects | {"boxes": np.array([[0, 0, 0.5, 0.5]], np.float32), "crops": [np.ones([3, 4], np.uint8)]}
    labelled = {task: record.Labelled(labels, origin) for task, origin in before.items()}
    return record.merge(image_record(2), labelled, formula_teacher.discover())


def features(serialized: bytes) -> dict[str, tf.train.Feature]:
    """Returns the features of one record."""
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
    """Even if a record has no origin for its boxes. The teacher looks at both images, because they lack depth."""
    serialized = masked(before)
    records = formula_teacher.write(tmp_path / "in", [[serialized, image_record(4)]])
    task_results = results(records, tmp_path / "out", replace=replace)
    after = next(iter(tf.data.TFRecordDataset(str(tmp_path / "out" / shards.names(1)[0])).as_numpy_iterator()))
    assert origins(tmp_path / "out")[0] == before | {"depth": "pseudo:f0"}
    assert features(serialized).items() <= features(after).items()
    assert task_results["depth"].labelled == 2 and task_results["detection"].labelled == 1
    left = 1 - ("detection" in before)
    assert task_results["detection"].left == left
    assert task_results["detection"].why == ("it has masks from another source" if left else "")


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
    """Masks only come with their boxes, and boxes never below the masks of others."""
    request = formula_teacher.request(
        formula_teacher.write(tmp_path / "in", [[masked(before)]]), formula_teacher.teacher(tasks), replace=replace
    )
    with pytest.raises(UserError, match=message) if message else contextlib.nullcontext():
        require_work(manifest.read(request.directory), request)
