"""Small record sets with hand-made labels, for tests that merge them."""

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
from tfrecords_tools.merge.run import merged_sets
from tfrecords_tools.writing import shards

H, W = 20, 30
BOXES = np.array([[0.1, 0.1, 0.5, 0.5], [0.2, 0.3, 0.9, 0.8]], np.float32)
Labelled = Mapping[str, tuple[Labels, str]]  # task -> labels, origin


def objects(classes: Sequence[int]) -> Labels:
    """Returns up to two boxes of these classes."""
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
    """Returns the same boxes with masks that fill their pixels: rows 2..9, columns 3..14, and 4..17, 9..23."""
    crops = [np.ones([8, 12], np.uint8), np.ones([14, 15], np.uint8)]
    return objects(classes) | {"crops": crops[: len(classes)]}


def metres(value: float) -> Labels:
    """Returns the depth labels of a wall at this distance."""
    return {"metres": np.full([H, W], value, np.float32)}


def picture(number: int) -> bytes:
    """Returns image `number`, encoded."""
    return image_bytes(noise(H, W, number))


def image_record(source_id: str, labelled: Labelled, image: int | None = None) -> bytes:
    """Returns a record. By default, the number of its image is its id."""
    encoded = picture(int(source_id) if image is None else image)
    labels_by_task = {task: record.Labelled(labels, origin) for task, (labels, origin) in labelled.items()}
    return record.encode(encoded, ImageInfo(source_id, H, W), labels_by_task, discover())


def make(folder: Path, records: Sequence[bytes], classes: Mapping[str, Sequence[str]]) -> str:
    """Writes a record set and returns the pattern of its files."""
    shards.claim(str(folder), "test", ["test"])
    names = shards.names(2)
    infos = [shards.write_shard(str(folder / name), records[number::2]) for number, name in enumerate(names)]
    manifest.write(str(folder), shards.combined_manifest(infos, classes, ["test"]))
    return f"{folder}/*.tfrecord"


def merged(out: Path, patterns: Sequence[str], same: Sequence[str] = (), **options: Any) -> manifest.Manifest:
    """Merges in this process and returns the manifest."""
    return convert.run(merged_sets(patterns, same), convert.Options(str(out), **{"workers": 1} | options)).manifest


def notes(written: manifest.Manifest) -> dict[str, int]:
    """Returns {reason: count} of the manifest's notes."""
    return {reason: entry["count"] for reason, entry in written.notes.items()}


def features(serialized: bytes) -> Any:
    """Returns the features of a record."""
    return tf.train.Example.FromString(serialized).features.feature


@pytest.fixture
def patterns(tmp_path: Path) -> list[str]:
    """Two sets: boxes of images 1 and 2; depth of images 2 and 3."""
    boxes = {"detection": (objects([2, 1]), "real:boxes")}
    depth = {"depth": (metres(3.0), "real:depth")}
    return [
        make(tmp_path / "boxes", [image_record("1", boxes), image_record("2", boxes)], {"detection": ["cat", "dog"]}),
        make(tmp_path / "depth", [image_record("2", depth), image_record("3", depth)], {}),
    ]
