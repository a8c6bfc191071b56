"""Damages a record by chance, with a seed: the mutants of `mutants.py`."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import tensorflow as tf

from must_tf.data import record

Feature = Any  # the map of a record's features
PNGS = (
    "image/depth/encoded",
    "image/normals/encoded",
    "image/segmentation/class/encoded",
    "image/depth/confidence/encoded",
    "image/normals/confidence/encoded",
    "image/segmentation/confidence/encoded",
)
TEXTS = ("image/source_id", "image/filename", "image/format", "image/key/sha256", "image/depth/origin")
NUMBERS = (
    "image/object/bbox/ymin",
    "image/object/bbox/xmax",
    "image/object/score",
    "image/object/area",
    "image/depth/scale",
)
IDS = ("image/object/class/label", "image/class/label", "image/height", "image/width", "image/object/is_crowd")
ESCAPES = (b"..", b".", b"", b"../../out", b"/etc/passwd", b"a\0b", b"\x1b[31mred", b"x" * 3000, "é/\u202e".encode())


def _list(feature: Feature, key: str) -> Any:
    return getattr(feature[key], feature[key].WhichOneof("kind") or "bytes_list").value


def _file(feature: Feature, rng: random.Random, *more: str) -> str:
    """Returns the key of a file that the record has: the photo, one of the maps, or one of `more`."""
    return rng.choice([key for key in ("image/encoded", *more, *PNGS) if key in feature])


def _flip(feature: Feature, rng: random.Random) -> None:
    """Flips some bits of a file in the record; the record's checksum is right."""
    key = _file(feature, rng)
    data = bytearray(feature[key].bytes_list.value[0])
    for _ in range(rng.randint(1, 8)):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    feature[key].bytes_list.value[0] = bytes(data)


def _cut(feature: Feature, rng: random.Random) -> None:
    """Cuts a file in the record."""
    key = _file(feature, rng, "image/object/mask_crop")
    values = feature[key].bytes_list.value
    if values:
        values[0] = values[0][: rng.randrange(len(values[0]))]


def _missing(feature: Feature, rng: random.Random) -> None:
    """Removes a key."""
    del feature[rng.choice(sorted(feature))]


def _lengths(feature: Feature, rng: random.Random) -> None:
    """Makes a list longer or shorter."""
    values = _list(feature, rng.choice(sorted(feature)))
    if values and rng.random() < 0.5:
        values.pop()
    else:
        values.extend(list(values[:1]) * rng.randint(1, 3))


def _kinds(feature: Feature, rng: random.Random) -> None:
    """Gives a key another type."""
    wrong = (record.bytes_feature([b"1"]), record.int_feature([1]), record.float_feature([1.0]))
    feature[rng.choice(sorted(feature))].CopyFrom(rng.choice(wrong))


def _bomb(feature: Feature, rng: random.Random) -> None:
    """Replaces a file by a small one of many pixels, or the header of one; sometimes with the stated size."""
    side = rng.choice((2_000, 20_000, 2**31 - 1))
    png = bytearray(cv2.imencode(".png", np.zeros([2000, 2000], np.uint8))[1].tobytes())
    png[16:24] = side.to_bytes(4, "big") * 2
    key = _file(feature, rng, "image/object/mask_crop")
    feature[key].bytes_list.value[:] = [bytes(png)] * max(1, len(feature[key].bytes_list.value))
    if rng.random() < 0.5:
        feature["image/height"].int64_list.value[:] = feature["image/width"].int64_list.value[:] = [side]


def _numbers(feature: Feature, rng: random.Random) -> None:
    """Puts NaN, infinity or a number out of range into a list."""
    values = feature[rng.choice(NUMBERS)].float_list.value
    if values:
        values[0] = rng.choice((float("nan"), float("inf"), -float("inf"), -1.0, 1e30, 2.0))


def _ids(feature: Feature, rng: random.Random) -> None:
    """Puts an id or a size out of range into a list."""
    values = feature[rng.choice(IDS)].int64_list.value
    if values:
        values[0] = rng.choice((-7, 0, 99, 2**32 + 1, 2**63 - 1, -(2**63)))


def _text(feature: Feature, rng: random.Random) -> None:
    """Puts bytes that are not a text where one is expected."""
    feature[rng.choice(TEXTS)].bytes_list.value[:] = [rng.choice((b"\xff\xfe\xfa", b"\x80", bytes(range(128, 200))))]


def _escapes(feature: Feature, rng: random.Random) -> None:
    """Puts a text that leads out of a folder, or that no folder can hold."""
    feature[rng.choice(TEXTS[:3])].bytes_list.value[:] = [rng.choice(ESCAPES)]


DAMAGE: dict[str, Callable[[Feature, random.Random], None]] = {
    "bits": _flip,
    "cut": _cut,
    "missing": _missing,
    "lengths": _lengths,
    "kinds": _kinds,
    "bombs": _bomb,
    "numbers": _numbers,
    "ids": _ids,
    "text": _text,
    "escapes": _escapes,
}


def mutant(source: bytes, seed: int) -> tuple[str, bytes]:
    """Returns the kind of damage, and the damaged record. One in twenty is no tf.train.Example at all."""
    rng = random.Random(seed)
    kind = list(DAMAGE)[seed % len(DAMAGE)]
    example = tf.train.Example.FromString(source)
    DAMAGE[kind](example.features.feature, rng)
    data = example.SerializeToString(deterministic=True)
    if rng.random() < 0.05:
        return "garbage", data[: rng.randrange(len(data))] + bytes(rng.randrange(256) for _ in range(9))
    return kind, data
