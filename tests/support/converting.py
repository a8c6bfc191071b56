"""Helpers for tests of converters: writing datasets, converting them, and reading the records back."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from must_tf.data import record
from must_tf.spec import Labels
from must_tf.tasks import discover
from tests.support.mistakes import run_records
from tfrecords_tools.convert import run as convert
from tfrecords_tools.sources import Source
from tfrecords_tools.writing import worker_pool

CocoEntry = dict[str, Any]


class Record(NamedTuple):
    """One record, read back."""

    serialized: bytes
    source_id: str
    image: np.ndarray  # uint8 [h, w, 3]
    stored: bytes  # the image's file
    labels: dict[str, Labels]
    origins: dict[str, str]


class Converted(NamedTuple):
    """The outcome and the records of a conversion."""

    outcome: convert.Outcome
    records: dict[str, Record]  # by source_id

    def counts(self) -> dict[str, int]:
        """Returns {reason: count} of everything that was dropped."""
        return {reason: entry["count"] for reason, entry in self.outcome.manifest.dropped.items()}

    def notes(self) -> dict[str, int]:
        """Returns {reason: count} of everything that was changed."""
        return {reason: entry["count"] for reason, entry in self.outcome.manifest.notes.items()}


def converted(source: Source, out: Path | str, shards: int = 1) -> Converted:
    """Converts a source in this process and reads the records back."""
    outcome = convert.convert(source, convert.Options(str(out), shards=shards, workers=1))
    return Converted(outcome, read(out, outcome.manifest.classes))


def read(out: Path | str, classes: Mapping[str, Sequence[str]]) -> dict[str, Record]:
    """Reads all records of a folder."""
    files = sorted(str(path) for path in Path(out).glob("*.tfrecord"))
    records = [_record(data, classes) for data in tf.data.TFRecordDataset(files).as_numpy_iterator()]
    assert len({item.source_id for item in records}) == len(records)
    return {item.source_id: item for item in records}


def _record(serialized: bytes, classes: Mapping[str, Sequence[str]]) -> Record:
    specs = discover()
    configs = {name: spec.Config(enabled=True, classes=tuple(classes.get(name, ()))) for name, spec in specs.items()}
    example = tf.train.Example.FromString(serialized)
    info, stored = record.info_of(example), example.features.feature["image/encoded"].bytes_list.value[0]
    labelled = record.read_labels(serialized, specs, configs)
    image = np.asarray(Image.open(io.BytesIO(stored)).convert("RGB"))  # Pillow, not the code under test
    assert image.shape[:2] == (info.height, info.width)
    labels = {task: label.labels for task, label in labelled.items()}
    origins = {task: label.origin for task, label in labelled.items()}
    return Record(serialized, info.source_id, image, stored, labels, origins)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A smooth picture uint8 [h, w, 3] whose four corners differ."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, [3, 4, 3], dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BILINEAR))


def save(path: Path | str, pixels: np.ndarray, **options: Any) -> str:
    """Writes an image file and creates its folders; returns the path."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return str(path)


def read_image(path: Path | str, flags: int = cv2.IMREAD_COLOR) -> np.ndarray:
    """Reads an image file with OpenCV (BGR); fails if it is missing or damaged."""
    image = cv2.imread(str(path), flags)
    assert image is not None, path
    return image


def dump(path: Path | str, content: Any) -> str:
    """Writes a JSON file and creates its folders; returns the path."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(content))
    return str(path)


def must_records(arguments: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """Runs the command and restores the environment variables that it sets; returns its exit code."""
    for name in worker_pool.ENVIRONMENT:
        monkeypatch.setenv(name, "0")
    try:
        return run_records(list(arguments), monkeypatch)
    except SystemExit as ended:
        return int(ended.code or 0)


def files_in(folder: Path | str) -> dict[str, bytes]:
    """Returns the bytes of every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}
