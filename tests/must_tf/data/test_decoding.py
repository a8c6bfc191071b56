"""A file has one picture: in its record, in prediction and in an exported model. Pixels by hand, by NumPy or Pillow."""

from __future__ import annotations

import struct
from typing import Any

import cv2
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from must_tf.data import decoding, geometry, image_files, record
from must_tf.data.input import Reader
from must_tf.prediction import images
from tests.support.datasets.image_kinds import (
    GREY,
    JPEG,
    KINDS,
    OTHERS,
    chunk,
    exif,
    over_white,
    png,
    with_segment,
)
from tests.support.image_files import PHOTO, file, pillow


class Exported(tf.Module):
    """The part of an exported model that decodes."""

    @tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
    def decode(self, encoded: tf.Tensor) -> tf.Tensor:
        """Decodes one image."""
        return decoding.decode(encoded)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The decoder as a SavedModel, loaded again."""
    folder = str(tmp_path_factory.mktemp("decoder"))
    tf.saved_model.save(Exported(), folder)
    return tf.saved_model.load(folder)


@pytest.mark.parametrize("name", KINDS)
def test_record_prediction_and_export_have_one_picture(name: str, served: Any) -> None:
    data, pixels, levels = KINDS[name]
    stored = image_files.upright(data, None, name)
    of_record = record.decode_image(tf.constant(stored.encoded)).numpy()
    assert of_record.shape[:2] == (stored.height, stored.width)
    np.testing.assert_array_equal(served.decode(tf.constant(data)).numpy(), of_record)
    np.testing.assert_array_equal(images.read(data).pixels, of_record)
    np.testing.assert_array_equal(
        served.decode(tf.constant(stored.encoded)).numpy(), of_record
    )  # nothing is left to do
    assert of_record.shape == pixels.shape
    assert np.abs(of_record - pixels.astype(np.float64)).max() <= levels + 1e-6


def test_every_colour_over_white_is_what_pillow_makes() -> None:
    """All pairs of a level and an alpha; Pillow composes what is neither JPEG nor PNG."""
    level, alpha = (values.astype(np.uint8) for values in np.mgrid[:256, :256])
    rgba = np.dstack([level, level, level, alpha])
    ours = decoding.over_white(tf.constant(rgba)).numpy()
    np.testing.assert_array_equal(ours, np.asarray(image_files.plain(Image.fromarray(rgba))))
    assert np.abs(ours - over_white(rgba.astype(float))).max() <= 0.5 + 1e-6


DAMAGED = {
    "orientation 9": exif(9),
    "orientation 0": exif(0),
    "another type": exif(6, kind=2),
    "cut off": exif(6)[:20],
    "a table beyond the end": b"II*\0" + struct.pack("<I", 1 << 30),
    "a negative place": b"II*\0" + struct.pack("<I", 0xFFFFFFF0),
    "empty": b"",
}


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # Pillow's
@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_exif_turns_nothing(name: str, served: Any) -> None:
    jpeg = with_segment(JPEG, decoding.EXIF + DAMAGED[name])
    np.testing.assert_array_equal(served.decode(tf.constant(jpeg)).numpy(), pillow(JPEG))
    assert image_files.upright(jpeg, None, "a").encoded == jpeg
    assert served.decode(tf.constant(png(8, 2, PHOTO, chunk(b"eXIf", DAMAGED[name])))).shape == PHOTO.shape


@pytest.mark.parametrize("data", [b"", b"GIF", JPEG[:3], JPEG[:100], b"\x89PNG\r\n\x1a\n" + b"\xff" * 40])
def test_what_is_no_image_is_an_error(data: bytes, served: Any) -> None:
    """Not a loop without end."""
    with pytest.raises(tf.errors.InvalidArgumentError):
        served.decode(tf.constant(data))


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (2, 3)])
def test_a_tiny_image_can_be_trained_on(size: tuple[int, int]) -> None:
    """The view that training, evaluation and serving make of it has the input's size, and no empty picture."""
    image = tf.constant(np.full([*size, 3], 200, np.uint8))
    view = Reader({}, {}, 64).view(image, geometry.fit(tf.constant(size), 64), tf.constant(0, tf.int64))
    assert view["image"].shape == (64, 64, 3)
    assert int(tf.reduce_max(view["image"])) >= 190


@pytest.mark.parametrize("name", OTHERS)
def test_other_formats_have_one_picture(name: str) -> None:
    data, pixels, levels = OTHERS[name]
    stored = image_files.upright(data, None, name)
    of_record = record.decode_image(tf.constant(stored.encoded)).numpy()
    np.testing.assert_array_equal(images.read(data).pixels, of_record)
    assert of_record.shape == (stored.height, stored.width, 3) == pixels.shape
    assert np.abs(of_record - pixels.astype(np.float64)).max() <= levels + 1e-6


def test_floats_have_no_range() -> None:
    for data in (cv2.imencode(".hdr", PHOTO.astype(np.float32))[1].tobytes(), file(GREY.astype(np.float32), "TIFF")):
        with pytest.raises(image_files.Unreadable, match="no agreed range"):
            image_files.upright(data, None, "a")
