"""Reads the features of one of Model Garden's records, and says which of them the conversion does not use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from tfrecords_tools.sources import archives, objects, pixels
from tfrecords_tools.sources.finder import spelled
from tfrecords_tools.sources.objects import ObjectNotes
from tfrecords_tools.writing.counts import Account, Dropped
from tfrecords_tools.writing.items import FilePart

IMAGE, SOURCE_ID, FILENAME = "image/encoded", "image/source_id", "image/filename"
HEIGHT, WIDTH = "image/height", "image/width"
LABEL, TEXT = "image/object/class/label", "image/object/class/text"
BOX = "image/object/bbox/"
CORNERS = ("ymin", "xmin", "ymax", "xmax")
AREA, CROWD, MASK = "image/object/area", "image/object/is_crowd", "image/object/mask"
CLASS, SEGMENTATION = "image/class/label", "image/segmentation/class/encoded"
# Flags of the Object Detection API: what they mark is neither learned nor counted as wrong, like a crowd.
CROWDS = (CROWD, "image/object/difficult", "image/object/group_of")
# Keys that repeat others, or say how the image is encoded.
KNOWN = {
    IMAGE, SOURCE_ID, FILENAME, HEIGHT, WIDTH, LABEL, TEXT, AREA, MASK, CLASS, SEGMENTATION, *CROWDS,
    *(BOX + corner for corner in CORNERS), "image/format", "image/key/sha256", "image/colorspace", "image/channels",
    "image/class/text", "image/class/synset", "image/segmentation/class/format",
}  # fmt: skip
DIFFERS = "image: image/height and image/width are not those of the image"

COMPARED = 20  # records at the beginning, besides the first of each file, that are read before the conversion
REPEATED = "image: several records have this id, so the file's name and the record's number are the ids"

Features = Mapping[str, tf.train.Feature]


class Sampled(NamedTuple):
    """A record that is read before the conversion."""

    name: str
    features: Features


def features_of(path: str, part: FilePart) -> Features:
    """Returns the features of a record.

    Raises:
      Dropped: it is damaged.
    """
    data = archives.read_record(path, part)
    try:
        return tf.train.Example.FromString(data).features.feature
    except Exception as error:  # the class of protobuf's error depends on its implementation
        raise Dropped("image: cannot be decoded", f"{path}, record {part.name}: {error}") from None


def sampled(parts: Sequence[tuple[str, FilePart]]) -> Iterator[Sampled]:
    """Yields the first records, and the first of each file, except for those that cannot be read."""
    for place, (path, part) in enumerate(parts):
        if place < COMPARED or path != parts[place - 1][0]:
            try:
                yield Sampled(f"{path}, record {part.name}", features_of(path, part))
            except Dropped:  # the conversion reports it
                continue


def note_repeated_ids(sample: Sequence[Sampled], account: Account) -> bool:
    """Notes an id of several records; returns True if there is one."""
    seen = dict[str, str]()
    for name, features in sample:
        own = source_id(features)
        if own and seen.setdefault(own, name) != name:
            account.notes.add(REPEATED, f"{own!r}: {seen[own]} and {name}")
            return True
    return False


def first_bytes(features: Features, key: str) -> bytes | None:
    """Returns the first bytes value of a key."""
    values = features[key].bytes_list.value if key in features else ()
    return values[0] if values else None


def numbers(features: Features, key: str) -> list[Any]:
    """Returns the integers or floats of a key."""
    feature = features[key] if key in features else tf.train.Feature()
    return list(feature.int64_list.value) or list(feature.float_list.value)


def texts(features: Features) -> list[str]:
    """Returns the names of the objects' classes, if the record has them."""
    values = features[TEXT].bytes_list.value if TEXT in features else ()
    return [spelled(value.decode(errors="replace").strip()) for value in values]


def source_id(features: Features) -> str:
    """Returns the record's own id, which may be a number; empty if it has none."""
    own = numbers(features, SOURCE_ID)
    return (first_bytes(features, SOURCE_ID) or b"").decode(errors="replace") or "".join(map(str, own[:1]))


def frame_of(features: Features, name: str, account: Account) -> pixels.LabelFrame:
    """Returns the frame of labels with positions: the stored pixels, unless the record's size is that of the turned.

    Model Garden decodes without EXIF, but the boxes were divided by the size that the record states.
    """
    stated = tuple(int(side) for key in (HEIGHT, WIDTH) for side in numbers(features, key)[:1])
    frames = pixels.image_files.frames(first_bytes(features, IMAGE) or b"")
    if len(stated) != 2 or stated == frames.stored or not min(frames.stored):
        return pixels.STORED
    if frames.is_turned and stated == frames.shown:
        return frames.shown
    account.notes.add(DIFFERS, f"{name}: {stated[1]}x{stated[0]} for {frames.stored[1]}x{frames.stored[0]}")
    return pixels.STORED


def note_unused(features: Features, name: str, account: Account) -> None:
    """Notes keys that hold anything and are not used, once each."""
    for key in sorted(features.keys() - KNOWN):
        feature = features[key]
        values = [*feature.bytes_list.value, *feature.int64_list.value, *feature.float_list.value]
        if any(values):
            account.notes.add(f"file: key {key}, not used", name)


def note_lengths(features: Features, count: int, notes: ObjectNotes) -> None:
    """Notes areas and flags of another number than the objects, which are not used."""
    for key in (AREA, *CROWDS):
        values = numbers(features, key)
        if values and len(values) != count:
            notes.add(f"object: {key} has another number of values than the boxes, not used", f"{len(values)}, {count}")


def is_crowd(features: Features, number: int, count: int, notes: ObjectNotes) -> bool:
    """Returns True if one of the flags is set for an object of `count`."""
    flags = {key: values for key in CROWDS if len(values := numbers(features, key)) == count}
    return any(objects.is_set(values[number], key, notes) for key, values in flags.items())


def boxes(features: Features) -> Iterator[tuple[float, ...]]:
    """Yields y0, x0, y1, x1 of each object, in 0..1."""
    yield from zip(*(numbers(features, BOX + corner) for corner in CORNERS), strict=True)
