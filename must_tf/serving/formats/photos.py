"""Photos on which exported files are compared, and int8 gets its ranges."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from must_tf.common.errors import UserError
from must_tf.data import input as input_lib
from must_tf.data import record
from must_tf.serving import companions
from must_tf.serving.formats import postprocess
from must_tf.serving.formats.network import IMAGE, SHAPE

MOST = 100  # for the ranges of int8
COMPARED = 50
GENERATED = 20  # scenes, if there are no records
Photo = tuple[np.ndarray, np.ndarray]  # the network's image and image_shape


class Photos(NamedTuple):
    """Image files, and where they are from."""

    files: list[bytes]
    source: str


def collect(calibration: str, validation: str | Sequence[str], needs_real: bool) -> Photos:
    """Returns photos of records, or generated scenes if there are none.

    Args:
      calibration: globs of record files, separated by commas; "": those of the run's validation data.
      validation: `input_path` of the validation data.
      needs_real: generated scenes do not do.

    Raises:
      UserError: there are no records, and they were named or are needed.
    """
    try:
        paths = input_lib.files(calibration or validation, "--calibration" if calibration else "validation records")
    except UserError as error:
        if not (calibration or needs_real):
            return Photos([companions.sample(number) for number in range(GENERATED)], "generated scenes")
        if calibration:
            raise
        raise UserError(
            f"--formats: int8 needs photos for its ranges, and the run's validation records are gone ({error}). "
            "Give --calibration='records/rooms/*.tfrecord'."
        ) from None
    # A few of each file, because a file may hold one kind of photo.
    records = tf.data.Dataset.from_tensor_slices(paths).interleave(tf.data.TFRecordDataset, cycle_length=len(paths))
    parsed = (tf.io.parse_single_example(one, record.IMAGE_FEATURES) for one in records.take(MOST))
    files = [one["image/encoded"].numpy() for one in parsed]
    if not files:
        raise UserError(f"{', '.join(paths[:3])}: there is no record. Give other files in --calibration.")
    return Photos(files, ", ".join(input_lib.patterns(calibration or validation)))


def fitted(file: bytes, side: int) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """Returns the network's `image` and `image_shape` for an image file, and its height and width."""
    photo = postprocess.read(io.BytesIO(file))
    inputs = postprocess.fit(photo, side)
    return inputs[IMAGE], inputs[SHAPE], (photo.shape[0], photo.shape[1])
