"""Values that TFDS does not check: infinite distances and unknown class ids."""

from __future__ import annotations

import numpy as np
import pytest

from must_tf.common.errors import UserError
from must_tf.spec import ImageInfo
from must_tf.tasks.depth import labels as depth
from tfrecords_tools.sources import tfds
from tfrecords_tools.sources.objects import ObjectNotes
from tfrecords_tools.sources.tfds import Tfds
from tfrecords_tools.writing.counts import Account

INFO = ImageInfo("a", 1, 4)
SOURCE = Tfds("a", "train", "", (), depth_scale=0.001)


def test_infinite_depth_is_unknown_and_other_values_stay_exact() -> None:
    found = SOURCE._read("depth", np.array([[np.inf, -np.inf, np.nan, 1500.0]]), 0, INFO, ObjectNotes(Account(), "a"))
    assert found is not None
    np.testing.assert_allclose(found["metres"], [[0.0, 0.0, 0.0, 1.5]], rtol=1e-6)
    (scale,) = depth.write(found, INFO)[depth.SCALE].float_list.value
    assert scale == pytest.approx(0.001)  # a millimetre; the largest float would make it 5e33


@pytest.mark.parametrize("label", [-1, 2])
def test_an_object_of_an_unknown_class_is_an_error(label: int) -> None:
    objects = {"bbox": np.array([[0.0, 0.0, 1.0, 0.5]] * 2, np.float32), "label": np.array([1, label])}
    with pytest.raises(UserError, match=rf"x\.tfrecord, record 3, object 1: label {label} is not one of the 2 classes"):
        tfds._objects(objects, "REL_YXYX", 2, INFO, ObjectNotes(Account(), "x.tfrecord, record 3"))
