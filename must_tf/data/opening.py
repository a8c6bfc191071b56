"""Opens a record: what its keys and the headers of its files say is checked before anything is decoded or allocated.

Every reader of records comes through here, so that each gets labels, or one `Fault` with the key that is wrong:

| checked | rule |
|---|---|
| text | UTF-8: id, origins, file name, format, content hash |
| image | JPEG or PNG, of the stated size, at most `MAX_PIXELS` |
| keys of a task | of the type and the number that the task reads |
| label maps | PNG of the image's size or half of it, by the header |
| ids, boxes, scores, masks | `Summary.stored` of the task |

The input pipeline asserts the same inside of its graph (`assertions.py` and the tasks' `labels.py`). There, an error
names no key; `must_tf/training/damaged_record.py` finds it with this module.
"""

from __future__ import annotations

import itertools
import re
import struct
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf
from google.protobuf.message import DecodeError

from must_tf.common.errors import UserError
from must_tf.label_content import ImageInfo

# Bounds the memory for any record: a small file may hold a huge image. Decoded pixels of this many take 0.3 GB.
MAX_PIXELS = 100_000_000
MAX_TEXT = 4096  # bytes of an id or an origin
UNKNOWN = 255  # in maps of bytes
CONTENT = "image/key/sha256"
JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
PNG_SIZE = 16  # position of width and height in a PNG file, 4 bytes each
LISTS = {tf.string: "bytes_list", tf.int64: "int64_list", tf.float32: "float_list"}
# JPEG markers without a length, and those that start a frame.
BARE = {0x01, *range(0xD0, 0xD9)}
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}

Features = Mapping[str, tf.train.Feature]


class Fault(NamedTuple):
    """A mistake in a record.

    Attributes:
      what: the kind of fault, for `must check`.
      key: of the record.
      why: the value, or how it differs.
      task: whose labels cannot be read; "" if it is the whole record.
    """

    what: str
    key: str
    why: str = ""
    task: str = ""

    @property
    def place(self) -> str:
        """The key and the value."""
        return f"{self.key}: {self.why}" if self.why else self.key

    def __str__(self) -> str:
        return f"{self.key}: {self.what}{f' ({self.why})' if self.why else ''}"


class BadRecord(UserError):
    """A record, or one of its labels, that cannot be used."""

    def __init__(self, fault: Fault):
        super().__init__(str(fault))
        self.fault = fault

    def __reduce__(self) -> Any:
        return BadRecord, (self.fault,)


def parsed(serialized: bytes) -> tf.train.Example:
    """Parses a record. Raises BadRecord if it is not a tf.train.Example."""
    try:
        return tf.train.Example.FromString(serialized)
    except DecodeError:
        raise BadRecord(Fault("record cannot be parsed", "record", "it is not a tf.train.Example")) from None


def info_of(example: tf.train.Example) -> ImageInfo:
    """Returns the image's id and size as stated in the record. Raises BadRecord if they are missing or impossible."""
    feature = example.features.feature
    source_id = text(feature, "image/source_id", required=True)
    height, width = _side(feature, "image/height"), _side(feature, "image/width")
    if height * width > MAX_PIXELS:
        raise BadRecord(Fault("image is too large", "image/height", f"{width}x{height}, at most {MAX_PIXELS:,} pixels"))
    return ImageInfo(source_id, height, width)


def text(feature: Features, key: str, required: bool = False) -> str:
    """Returns a text of the record; "" if it is missing. Raises BadRecord if it is required, too long, or not UTF-8."""
    values = feature[key].bytes_list.value if key in feature else ()
    if not values:
        if required:
            raise BadRecord(Fault("record cannot be parsed", key, "missing"))
        return ""
    if len(values[0]) > MAX_TEXT:
        raise BadRecord(Fault("text is too long", key, f"{len(values[0]):,} bytes"))
    try:
        return values[0].decode()
    except UnicodeDecodeError:
        raise BadRecord(Fault("text is not UTF-8", key, repr(values[0][:40]))) from None


def content_hash(feature: Features) -> str:
    """Returns the SHA-256 of the image's file as stored; "" if it is missing. Raises BadRecord if it is none."""
    stored = text(feature, CONTENT)
    if stored and not re.fullmatch("[0-9a-f]{64}", stored):
        raise BadRecord(Fault("not a SHA-256", CONTENT, repr(stored[:70])))
    return stored


def _side(feature: Features, key: str) -> int:
    values: Sequence[int] = feature[key].int64_list.value if key in feature else ()
    if len(values) != 1 or not 0 < values[0] <= MAX_PIXELS:
        raise BadRecord(Fault("record cannot be parsed", key, f"{list(values[:3])}, must be one positive number"))
    return int(values[0])


def image_of(example: tf.train.Example) -> bytes:
    """Returns the encoded image. Raises BadRecord if there is none."""
    feature = example.features.feature
    values = feature["image/encoded"].bytes_list.value if "image/encoded" in feature else ()
    if not values or not values[0]:
        raise BadRecord(Fault("no image", "image/encoded"))
    return values[0]


def origins_of(example: tf.train.Example) -> dict[str, str]:
    """Returns {task: origin} of the tasks that this image is labelled for."""
    feature = example.features.feature
    keys = [key for key in feature if key.startswith("image/") and key.endswith("/origin")]
    return {key.split("/")[1]: text(feature, key) for key in keys if feature[key].bytes_list.value}


def require(example: tf.train.Example, specs: Mapping[str, Any], configs: Mapping[str, Any]) -> None:
    """Raises BadRecord with the first fault of the image, or of the labels of the tasks in `configs`."""
    for fault in itertools.chain(of_image(example), of_tasks(example, specs, configs)):
        raise BadRecord(fault)


def of_image(example: tf.train.Example) -> Iterator[Fault]:
    """Yields what is wrong with the image, by its header."""
    try:
        info, encoded = info_of(example), image_of(example)
        for key in ("image/format", "image/filename"):
            text(example.features.feature, key)
        content_hash(example.features.feature)
    except BadRecord as error:
        yield error.fault
        return
    size = header_size(encoded)
    if size is None:
        yield Fault("image cannot be decoded", "image/encoded", "damaged, or neither JPEG nor PNG")
    elif size != (info.height, info.width):
        sizes = f"{info.width}x{info.height}, decoded {size[1]}x{size[0]}"
        yield Fault("stated size is not the image's", "image/encoded", sizes)


def of_tasks(
    example: tf.train.Example, specs: Mapping[str, Any], configs: Mapping[str, Any], also: Collection[str] = ()
) -> Iterator[Fault]:
    """Yields what is wrong with the labels of the tasks in `configs` that have an origin, at most once a task.

    Labels of the tasks in `also` are checked without an origin, too.
    """
    feature, info = example.features.feature, info_of(example)
    for task in dict.fromkeys([*origins_of(example), *also]):
        if task in configs and task in specs:
            found = _of_task(task, feature, info, (specs[task], configs[task]))
            yield from (fault._replace(task=task) for fault in (next(found, None),) if fault)


def _of_task(task: str, feature: Features, info: ImageInfo, about: tuple[Any, Any]) -> Iterator[Fault]:
    spec, config = about
    unreadable = f"{task}: label cannot be read"
    for key, wanted in spec.features(config).items():
        yield from (Fault(unreadable, key, why) for why in _shape(feature, key, wanted))
        if key.endswith("/encoded"):
            yield from (Fault(f"{task}: {what}", key, why) for what, why in _map_size(feature, key, info))
    key = f"image/{task}/annotated"
    count = len(config.classes)
    for why in _shape(feature, key, tf.io.VarLenFeature(tf.int64)):
        yield Fault(unreadable, key, why)
    for one in feature[key].int64_list.value if key in feature else ():
        if not 0 <= one <= (count or one):
            yield Fault(unreadable, key, f"class id {one}, class ids must be below {count + 1}")
    for what, key, why in spec.summary.stored(feature, info, config):
        yield Fault(f"{task}: {what}", key, why)


def _shape(feature: Features, key: str, wanted: Any) -> Iterator[str]:
    """Yields why a key has not the type or the number of values that a task parses."""
    kind = feature[key].WhichOneof("kind") if key in feature else None
    if kind is None:
        return
    if kind != LISTS[wanted.dtype]:
        yield f"a {kind}, must be a {LISTS[wanted.dtype]}"
    elif isinstance(wanted, tf.io.FixedLenFeature) and (count := len(getattr(feature[key], kind).value)) != 1:
        yield f"{count} values, must be one"


def _map_size(feature: Features, key: str, info: ImageInfo) -> Iterator[tuple[str, str]]:
    encoded = feature[key].bytes_list.value[0] if key in feature and feature[key].bytes_list.value else b""
    size = png_size(encoded) if encoded else (info.height, info.width)
    if size is None:
        yield "label cannot be read", "not a PNG"
    elif encoded and not is_whole_png(encoded):
        yield "label cannot be read", "a damaged PNG"
    elif size not in ((info.height, info.width), (half(info.height), half(info.width))):
        yield "map and image differ in size", f"{size[1]}x{size[0]} for {info.width}x{info.height}"


def half(size: Any) -> Any:
    """Returns half of a height or width, rounded up: a map's pixel may stand for 2 x 2 pixels of the image."""
    return -(-size // 2)


def header_size(encoded: bytes) -> tuple[int, int] | None:
    """Returns height and width of a JPEG or PNG file from its header; None if it has none."""
    return _jpeg_size(encoded) if encoded[:3] == JPEG else png_size(encoded)


def png_size(encoded: bytes) -> tuple[int, int] | None:
    """Returns height and width of a PNG file from its header; None if it is not a PNG."""
    if encoded[:8] != PNG or len(encoded) < PNG_SIZE + 8:
        return None
    width, height = struct.unpack_from(">II", encoded, PNG_SIZE)
    return height, width


def is_whole_png(encoded: bytes) -> bool:
    """Returns True if all parts of a PNG file have the length and the checksum that they state. Nothing is decoded."""
    at, end = len(PNG), len(encoded)
    while at + 12 <= end:
        (length,) = struct.unpack_from(">I", encoded, at)
        following = at + 12 + length
        if (
            following > end
            or zlib.crc32(memoryview(encoded)[at + 4 : following - 4])
            != struct.unpack_from(">I", encoded, following - 4)[0]
        ):
            return False
        if encoded[at + 4 : at + 8] == b"IEND":
            return True
        at = following
    return False


def _jpeg_size(encoded: bytes) -> tuple[int, int] | None:
    """Follows the segments of a JPEG up to the first frame."""
    at, end = 2, len(encoded) - 8
    while at < end:
        if encoded[at] != 0xFF:
            return None
        marker = encoded[at + 1]
        if marker in FRAMES:
            height, width = struct.unpack_from(">HH", encoded, at + 5)
            return height, width
        if marker == 0xFF or marker in BARE:  # fill bytes
            at += 1 if marker == 0xFF else 2
        else:
            at += 2 + max(2, int.from_bytes(encoded[at + 2 : at + 4], "big"))
    return None


def readable(faults: Collection[Fault], configs: Mapping[str, Any], needs: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the configs of the tasks whose labels can be read although the record has these faults."""
    bad = {fault.task for fault in faults}
    return {task: config for task, config in configs.items() if not bad & {task, *needs[task].needs}}
