"""Model Garden's records with values, keys and ids that its own converters do not write."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from must_tf.common.errors import UserError
from tests.support.converting import Converted, converted, noise
from tests.support.datasets.mg_records import boxes, names, record
from tests.support.tiny import image_bytes
from tfrecords_tools.sources.published.mg import Mg
from tfrecords_tools.sources.published.mg_record import DIFFERS, REPEATED

HEIGHT, WIDTH = 30, 40
PIXELS = noise(HEIGHT, WIDTH)
JPEG = image_bytes(PIXELS, ".jpg")
TWO = {"image__object__class__label": [1, 2], **boxes((0.0, 0.0, 0.5, 0.5), (0.25, 0.25, 1.0, 1.0))}


def source(folder: Path, task: str = "detection") -> Mg:
    """All records of a folder, with two names."""
    return Mg(f"{folder}/*.tfrecord", ((task, names(folder, "a", "b")),))


def made(folder: Path, **features: Any) -> Converted:
    """One record with two objects and these features."""
    record(folder / "a.tfrecord", **({"image__encoded": JPEG, "image__source_id": b"x"} | TWO | features))
    return converted(source(folder), folder / "out")


def png(values: np.ndarray) -> bytes:
    return cv2.imencode(".png", values)[1].tobytes()


def test_flags_of_other_tools_are_crowds_and_other_keys_are_noted(tmp_path: Path) -> None:
    more = {"image__object__difficult": [1, 0], "image__object__group_of": [0, 1], "image__object__truncated": [1, 0]}
    result = made(tmp_path, **more, image__object__view=[b"", b""], image__caption=b"a street")
    assert result.records["x"].labels["detection"]["is_crowd"].tolist() == [True, True]
    assert result.notes() == {
        "file: key image/object/truncated, not used": 1,
        "file: key image/caption, not used": 1,
    }


def test_flags_and_areas_are_used_only_if_they_say_something(tmp_path: Path) -> None:
    areas = {"image__object__area": [float("nan"), float("inf")]}
    result = made(tmp_path, image__object__is_crowd=[2, -1], image__object__difficult=[1], **areas)
    labels = result.records["x"].labels["detection"]
    assert labels["is_crowd"].tolist() == [False, False]
    np.testing.assert_allclose(labels["area"], [15 * 20, 23 * 30])  # the pixels that the boxes touch
    assert result.notes() == {
        "object: image/object/is_crowd is neither 0 nor 1, taken as 0": 2,
        "object: image/object/difficult has another number of values than the boxes, not used": 1,
    }


def test_a_box_in_pixels_is_not_the_whole_image(tmp_path: Path) -> None:
    result = made(tmp_path, **boxes((0.0, 0.0, 20.0, 30.0), (0.0, 0.0, 1.0, 1.2)))
    np.testing.assert_allclose(result.records["x"].labels["detection"]["boxes"], [[0, 0, 1, 1]])
    assert result.counts() == {"object: box is in pixels instead of 0..1": 1}


def test_labels_that_count_from_0_are_refused_unless_a_label_map_has_them(tmp_path: Path) -> None:
    """All objects of the first class would be lost, and all others would get the class before theirs."""
    content = {"image__encoded": JPEG, **TWO, "image__object__class__label": [0, 1], "image__source_id": b"x"}
    record(tmp_path / "a.tfrecord", **content)
    with pytest.raises(UserError, match=r"record 0: an object has the label 0, .* a label map"):
        source(tmp_path).find()
    (tmp_path / "map.pbtxt").write_text('item { id: 0 name: "a" }\nitem { id: 1 name: "b" }')
    result = converted(Mg(f"{tmp_path}/*.tfrecord", (("", f"{tmp_path}/map.pbtxt"),)), tmp_path / "out")
    assert result.records["x"].labels["detection"]["classes"].tolist() == [1, 2]


def test_ids_that_repeat_are_not_ids(tmp_path: Path) -> None:
    for file in ("a", "b"):
        record(tmp_path / f"{file}.tfrecord", image__encoded=JPEG, image__source_id=b"1", **TWO)
    result = converted(source(tmp_path), tmp_path / "out")  # reading it back fails if an id repeats
    assert set(result.records) == {"a.tfrecord__0", "b.tfrecord__0"}
    assert result.notes()[REPEATED] == 1


def test_an_id_may_be_a_number(tmp_path: Path) -> None:
    assert set(made(tmp_path, image__source_id=7).records) == {"7"}


def turned() -> bytes:
    """A photo that EXIF turns by a quarter."""
    photo, file = Image.fromarray(PIXELS), io.BytesIO()
    exif = photo.getexif()
    exif[274] = 6
    photo.save(file, "JPEG", exif=exif)
    return file.getvalue()


@pytest.mark.parametrize(
    ("stated", "shape", "notes"),
    [
        ((HEIGHT, WIDTH), (HEIGHT, WIDTH), {}),
        ((WIDTH, HEIGHT), (WIDTH, HEIGHT), {}),
        ((5, 5), (HEIGHT, WIDTH), {DIFFERS: 1}),
    ],
)
def test_the_stated_size_says_how_the_image_is_turned(
    stated: tuple[int, int], shape: tuple[int, int], notes: dict[str, int], tmp_path: Path
) -> None:
    result = made(tmp_path, image__encoded=turned(), image__height=stated[0], image__width=stated[1])
    assert result.records["x"].image.shape[:2] == shape
    assert result.notes() == notes


def test_a_record_without_the_key_of_a_task_is_unlabelled_and_noted(tmp_path: Path) -> None:
    record(tmp_path / "a.tfrecord", image__encoded=JPEG, image__source_id=b"none")
    record(tmp_path / "b.tfrecord", image__encoded=JPEG, image__source_id=b"two", **TWO)
    result = converted(source(tmp_path), tmp_path / "out")
    assert {key: set(one.labels) for key, one in result.records.items()} == {"none": set(), "two": {"detection"}}
    assert result.notes()["detection: the record has no image/object/class/label, unlabelled"] == 1


QUARTER = np.zeros([HEIGHT, WIDTH], np.uint8)
QUARTER[:15, :20] = 255
SQUARE, NO_MASK = png(QUARTER), {"object: mask cannot be read, box only": 1}


@pytest.mark.parametrize(
    ("mask", "labelled", "notes"),
    [
        (png(255 - QUARTER), [1.0, 1.0], {}),
        (png(np.dstack([255 - QUARTER] * 3)), [1.0, 1.0], {}),  # one channel, stored as three
        (png(np.dstack([QUARTER + 255, QUARTER + 255, QUARTER + 255, 255 - QUARTER])), [1.0, -1.0], NO_MASK),
        (image_bytes(255 - QUARTER, ".jpg"), [1.0, -1.0], NO_MASK),
        (png(255 - QUARTER[:9]), [1.0, -1.0], NO_MASK),
    ],
    ids=["grey", "grey as colours", "alpha", "jpeg", "size"],
)
def test_a_mask_is_a_png_of_one_channel(
    mask: bytes, labelled: list[float], notes: dict[str, int], tmp_path: Path
) -> None:
    """A mask in the alpha of a white picture would be the whole box."""
    corners = boxes((0.0, 0.0, 0.5, 0.5), (0.0, 0.0, 1.0, 1.0))
    result = made(tmp_path, image__object__mask=[SQUARE, mask], **corners)
    assert result.records["x"].labels["masks"]["mask_scores"].tolist() == labelled
    assert result.notes() == notes


def test_masks_as_numbers_are_noted(tmp_path: Path) -> None:
    result = made(tmp_path, image__object__mask=[1.0] * (2 * HEIGHT * WIDTH))
    assert set(result.records["x"].labels) == {"detection"}
    assert result.notes() == {"masks: dropped, they are numbers instead of PNGs": 1}


def test_a_flipped_bit_is_damage_and_not_another_box(tmp_path: Path) -> None:
    record(tmp_path / "a.tfrecord", image__encoded=JPEG, image__source_id=b"x", **TWO)
    record(tmp_path / "b.tfrecord", image__encoded=JPEG, image__source_id=b"y", **TWO)
    data = bytearray((tmp_path / "b.tfrecord").read_bytes())
    data[data.find(np.float32(0.25).tobytes()) + 2] ^= 0x10  # of a corner, so the record still parses
    (tmp_path / "b.tfrecord").write_bytes(bytes(data))
    with pytest.raises(tf.errors.DataLossError):
        list(tf.data.TFRecordDataset(str(tmp_path / "b.tfrecord")))
    result = converted(source(tmp_path), tmp_path / "out")
    assert set(result.records) == {"x"}
    assert result.counts() == {"image: record is damaged, its checksum is another one": 1}
    (tmp_path / "a.tfrecord").unlink()
    with pytest.raises(UserError, match="the first records are damaged"):
        source(tmp_path).find()
