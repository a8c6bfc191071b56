"""Records in Model Garden's format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf
from official.vision.data import tfrecord_lib


def record(path: Path, **features: Any) -> None:
    """Writes a record of features with Model Garden's helper; two underscores stand for a slash."""
    found = {key.replace("__", "/"): tfrecord_lib.convert_to_feature(value) for key, value in features.items()}
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(tf.train.Example(features=tf.train.Features(feature=found)).SerializeToString())


def names(folder: Path, *words: str) -> str:
    """Writes a file of class names and returns its path."""
    (folder / "names.txt").write_text("\n".join(words))
    return str(folder / "names.txt")


def boxes(*corners: tuple[float, float, float, float]) -> dict[str, list[float]]:
    """Returns features with ymin, xmin, ymax, xmax of all objects."""
    keys = [f"image__object__bbox__{side}" for side in ("ymin", "xmin", "ymax", "xmax")]
    return {key: list(values) for key, values in zip(keys, zip(*corners, strict=True), strict=True)}
