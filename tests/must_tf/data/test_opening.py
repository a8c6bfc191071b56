"""Bad records are refused with their key before anything is decoded, and the input pipeline refuses the same ones."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tensorflow as tf

from must_tf.data import assertions, framing, map_png, opening, record, scenes
from must_tf.data.opening import BadRecord
from must_tf.tasks import discover
from must_tf.training import damaged_record
from tests.support.tiny import ALL, SIZES, scene_record
from tfrecords_tools.reading import recordset

Feature = Any
SPECS = discover()
CONFIGS = {
    task: spec.Config(enabled=True, classes=tuple(scenes.CLASSES.get(task) or ())) for task, spec in SPECS.items()
}
OBJECTS = 9  # a scene with two objects
SIZE = SIZES[OBJECTS % len(SIZES)]
LABEL, YMIN = "image/object/class/label", "image/object/bbox/ymin"


def _first(key: str, value: Any) -> Callable[[Feature], None]:
    def change(feature: Feature) -> None:
        values = getattr(feature[key], feature[key].WhichOneof("kind")).value
        values[0] = value

    return change


def _pop(key: str) -> Callable[[Feature], None]:
    return lambda feature: getattr(feature[key], feature[key].WhichOneof("kind")).value.pop()


def _png(side: int, dtype: type = np.uint8) -> bytes:
    return cv2.imencode(".png", np.zeros([side, side], dtype))[1].tobytes()


def _soft(feature: Feature) -> None:
    nan = np.full([4], np.nan, "<f2").tobytes()
    feature["image/class/probability"].CopyFrom(record.bytes_feature([nan]))


# what is wrong -> the change, and the key that the message must name
FAULTS: dict[str, tuple[Callable[[Feature], None], str]] = {
    "class 0": (_first(LABEL, 0), LABEL),
    "class -7": (_first(LABEL, -7), LABEL),
    "class 2^32 + 1, which is 1 in 32 bits": (_first(LABEL, 2**32 + 1), LABEL),
    "NaN in a box": (_first(YMIN, float("nan")), YMIN),
    "a box beside the image": (_first(YMIN, -0.5), YMIN),
    "a class less": (_pop(LABEL), YMIN),
    "a score less": (_pop("image/object/score"), "image/object/score"),
    "a crop less": (_pop("image/object/mask_crop"), "image/object/mask_crop"),
    "a score of 2": (_first("image/object/score", 2.0), "image/object/score"),
    "depth of another size": (_first("image/depth/encoded", _png(48, np.uint16)), "image/depth/encoded"),
    "confidence of another size": (
        lambda feature: feature["image/segmentation/confidence/encoded"].CopyFrom(record.bytes_feature([_png(48)])),
        "image/segmentation/confidence/encoded",
    ),
    "a scale of 0": (_first("image/depth/scale", 0.0), "image/depth/scale"),
    "probabilities that are NaN": (_soft, "image/class/probability"),
    "a room that does not exist": (_first("image/class/label", 99), "image/class/label"),
}


def _changed(change: Callable[[Feature], None]) -> tf.train.Example:
    example = tf.train.Example.FromString(scene_record(OBJECTS, ALL))
    change(example.features.feature)
    return example


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_is_named_and_stops_the_input_pipeline(fault: tuple[Callable[[Feature], None], str]) -> None:
    change, key = fault
    example = _changed(change)
    with pytest.raises(BadRecord, match=key):
        opening.require(example, SPECS, CONFIGS)
    with pytest.raises(tf.errors.InvalidArgumentError):
        record.label_tensors(tf.constant(example.SerializeToString()), tf.constant(SIZE), SPECS, CONFIGS)
    assert key in damaged_record._problem(example.SerializeToString(), SPECS, CONFIGS)


def test_a_flipped_bit_in_a_map_is_found_without_decoding_it() -> None:
    """The checksum of a PNG's part is wrong then; a bit of the checksum itself is no better."""
    png = map_png.encode(np.arange(64 * 64, dtype=np.uint8).reshape(64, 64))
    assert opening.is_whole_png(png)
    for place in (45, len(png) // 2, len(png) - 14):
        damaged = bytearray(png)
        damaged[place] ^= 1
        assert not opening.is_whole_png(bytes(damaged))
    assert not opening.is_whole_png(png[:-1])


@pytest.mark.parametrize("stored", [b"1", b"f" * 63, b"F" * 64, b"f" * 64 + b"\n", b"g" * 64])
def test_a_content_hash_that_is_none_is_a_fault_of_the_image(stored: bytes) -> None:
    """Whatever copies the record needs it: it would end with this record, and --skip-bad would not leave it out."""
    example = _changed(lambda feature: feature[opening.CONTENT].CopyFrom(record.bytes_feature([stored])))
    with pytest.raises(BadRecord, match="image/key/sha256: not a SHA-256"):
        opening.require(example, {}, {})
    del example.features.feature[opening.CONTENT]
    opening.require(example, {}, {})


def test_sound_records_are_opened() -> None:
    for index in range(3):
        opening.require(tf.train.Example.FromString(scene_record(index, ALL, ".jpg")), SPECS, CONFIGS)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_headers_have_the_size_of_the_decoded_image(suffix: str) -> None:
    encoded = cv2.imencode(suffix, np.zeros([37, 53, 3], np.uint8))[1].tobytes()
    assert opening.header_size(encoded) == (37, 53)
    assert opening.header_size(encoded[:12]) is None


def _large(feature: Feature) -> None:
    png = bytearray(_png(8))
    png[16:24] = struct.pack(">II", 20_000, 20_000)
    feature["image/encoded"].bytes_list.value[0] = bytes(png)
    feature["image/height"].int64_list.value[0] = feature["image/width"].int64_list.value[0] = 20_000


def test_a_huge_image_is_refused_by_its_header() -> None:
    """Decoded it would have 1.2 GB."""
    example = _changed(_large)
    with pytest.raises(BadRecord, match="image is too large"):
        opening.require(example, SPECS, {})
    with pytest.raises(tf.errors.InvalidArgumentError, match="image is too large"):
        assertions.bounded(tf.constant(example.features.feature["image/encoded"].bytes_list.value[0]))


def test_a_length_beyond_the_file_is_found_before_tensorflow_allocates_it(tmp_path: Path) -> None:
    """TensorFlow aborts the process at such a length if its checksum is right."""
    path = str(tmp_path / "a.tfrecord")
    with tf.io.TFRecordWriter(path) as writer:
        writer.write(b"one")
        writer.write(b"two")
    assert framing.whole_records(path) is None
    data = bytearray(Path(path).read_bytes())
    second = 12 + 3 + 4
    data[second : second + 8] = struct.pack("<Q", 1 << 40)
    Path(path).write_bytes(bytes(data))
    assert framing.whole_records(path) == 1
    numbered = recordset.numbered(path)
    assert next(numbered) == (0, b"one")
    with pytest.raises(recordset.Damaged, match="longer than the rest"):
        next(numbered)
