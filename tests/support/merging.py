"""Small record sets with hand-made labels, to be merged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from must_tf.data import manifest, record
from must_tf.spec import ImageInfo, Labels
from must_tf.tasks import discover
from tests.support.converting import noise
from tests.support.tiny import image_bytes
from tfrecords_tools.convert import run as convert
from tfrecords_tools.merge import run as merge
from tfrecords_tools.writing import shards

H, W = 20, 30
BOXES = np.array([[0.1, 0.1, 0.5, 0.5], [0.2, 0.3, 0.9, 0.8]], np.float32)
Labelled = Mapping[str, tuple[Labels, str]]  # task -> labels, origin


def objects(classes: Sequence[int]) -> Labels:
    """Two boxes of these classes."""
    number = len(classes)
    ones = np.ones([number], np.float32)
    return {
        "boxes": BOXES[:number],
        "classes": np.array(classes, np.int32),
        "scores": ones,
        "is_crowd": np.zeros([number], bool),
        "area": ones * 9,
    }


def masks(classes: Sequence[int]) -> Labels:
    """The same with masks that fill the pixels that the boxes touch: rows 2..9, columns 3..14, and 4..17, 9..23."""
    crops = [np.ones([8, 12], np.uint8), np.ones([14, 15], np.uint8)]
    return objects(classes) | {"crops": crops[: len(classes)]}


def metres(value: float) -> Labels:
    """A wall."""
    return {"metres": np.full([H, W], value, np.float32)}


def picture(number: int) -> bytes:
    """One of several images."""
    return image_bytes(noise(H, W, number))


def one(source_id: str, labelled: Labelled, image: int | None = None) -> bytes:
    """A record whose image has the number that its id says, if nothing else is said."""
    encoded = picture(int(source_id) if image is None else image)
    made = {task: record.Labelled(labels, origin) for task, (labels, origin) in labelled.items()}
    return record.encode(encoded, ImageInfo(source_id, H, W), made, discover())


def make(folder: Path, records: Sequence[bytes], classes: Mapping[str, Sequence[str]]) -> str:
    """A set; returns the pattern of its files."""
    shards.claim(str(folder), "test", ["test"])
    names = shards.names(2)
    infos = [shards.write_shard(str(folder / name), records[number::2]) for number, name in enumerate(names)]
    manifest.write(str(folder), shards.combined_manifest(infos, classes, ["test"]))
    return f"{folder}/*.tfrecord"


def merged(out: Path, patterns: Sequence[str], same: Sequence[str] = (), **options: Any) -> manifest.Manifest:
    """Merges in this process."""
    return convert.run(merge.merged(patterns, same), convert.Options(str(out), **{"workers": 1} | options)).manifest


def notes(found: manifest.Manifest) -> dict[str, int]:
    """{reason: how often}."""
    return {reason: entry["count"] for reason, entry in found.notes.items()}


def features(serialized: bytes) -> Any:
    """The keys of a record."""
    return tf.train.Example.FromString(serialized).features.feature


@pytest.fixture
def patterns(tmp_path: Path) -> list[str]:
    """Boxes of images 1 and 2; depth of 2 and 3."""
    boxes = {"detection": (objects([2, 1]), "real:boxes")}
    depth = {"depth": (metres(3.0), "real:depth")}
    return [
        make(tmp_path / "boxes", [one("1", boxes), one("2", boxes)], {"detection": ["cat", "dog"]}),
        make(tmp_path / "depth", [one("2", depth), one("3", depth)], {}),
    ]
