"""Order and augmentation are functions of (seed, epoch, index); evaluation covers every image exactly once."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from must_tf.data import record
from must_tf.data.input import Data, Reader, Start, evaluation, training
from tests.support.contract import SPECS, example, golden

READER = Reader({}, {}, 32)
BATCH = 4


def _write(folder: Path, name: str, first: int, counts: tuple[int, ...]) -> str:
    """Writes record files of so many images each; the grey level identifies the image."""
    for number, count in enumerate(counts):
        with tf.io.TFRecordWriter(str(folder / f"{name}-{number}.tfrecord")) as writer:
            for index in range(first, first + count):
                ramp = np.full([20, 30, 3], 10 * index, np.uint8) + np.arange(30, dtype=np.uint8)[None, :, None] // 4
                writer.write(example(ramp, {}, str(index)))
        first += count
    return str(folder / f"{name}-*.tfrecord")


@pytest.fixture
def twelve(tmp_path: Path) -> str:
    """12 images in 3 files of different length, one of them empty."""
    return _write(tmp_path, "a", 0, (0, 5, 7))


def _batches(
    path: str | tuple[str, ...], batches: int, seed: int = 1, start: Start | None = None
) -> list[dict[str, Any]]:
    data = Data(input_path=path, global_batch_size=BATCH, is_training=True, shuffle_buffer=5, seed=seed)
    return list(training(READER, data, start or Start(), None).take(batches).as_numpy_iterator())


def _which(batches: list[dict[str, Any]]) -> list[int]:
    """Image ids, from the grey level of the top left corner, which augmentation leaves within 10 of it."""
    return [int(image[0, 0, 0]) // 10 for batch in batches for image in batch["image"]]


def _assert_equal(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> None:
    tf.nest.map_structure(np.testing.assert_array_equal, first, second)


def test_the_same_seed_gives_the_same_batches(twelve: str) -> None:
    _assert_equal(_batches(twelve, 6), _batches(twelve, 6))


def test_another_seed_gives_another_order_and_augmentation(twelve: str) -> None:
    first, second = _batches(twelve, 3), _batches(twelve, 3, seed=2)
    assert _which(first) != _which(second)
    assert any(np.any(a["image_info"] != b["image_info"]) for a, b in zip(first, second, strict=True))


def test_every_image_once_an_epoch(twelve: str) -> None:
    """12 images are 3 batches; the second epoch has another order and another augmentation."""
    order = _which(_batches(twelve, 6))
    assert sorted(order[:12]) == sorted(order[12:]) == list(range(12))
    assert order[:12] != order[12:] and order[:12] != list(range(12))


def test_epochs_augment_anew(twelve: str) -> None:
    """No image and no position in the epoch repeats its zoom: it depends on (seed, position in the endless order)."""
    batches = _batches(twelve, 6)
    zooms = [tuple(info) for batch in batches for info in batch["image_info"]]
    order = _which(batches)
    assert sum(a != b for a, b in zip(zooms[:12], zooms[12:], strict=True)) > 8
    first, second = (dict(zip(order[i : i + 12], zooms[i : i + 12], strict=True)) for i in (0, 12))
    assert sum(first[image] != second[image] for image in range(12)) > 8


@pytest.mark.parametrize("epoch", [0, 12])
def test_starting_at_an_image_is_skipping_those_before(twelve: str, epoch: int) -> None:
    """Also beyond the first epoch: 16 images are 4 batches."""
    _assert_equal(_batches(twelve, 2, start=Start(16, epoch)), _batches(twelve, 6)[4:])


def test_united_sets_have_every_image_once(tmp_path: Path) -> None:
    paths = (_write(tmp_path, "a", 0, (3, 2)), _write(tmp_path, "b", 5, (7,)))
    order = _which(_batches(paths, 3))
    assert sorted(order) == list(range(12))
    assert order[:5] != list(range(5))  # mixed, not one after the other
    assert sorted(_which(_batches(",".join(paths), 3))) == list(range(12))


@pytest.mark.parametrize("batch_size", [1, 5, 7])
def test_evaluation_covers_every_image_once(twelve: str, batch_size: int) -> None:
    """12 images; the last batch is filled up with -1."""
    data = Data(input_path=twelve, global_batch_size=batch_size)
    batches = list(evaluation(READER, data, 12, None).as_numpy_iterator())
    assert {len(batch["index"]) for batch in batches} == {batch_size}
    indices = np.concatenate([batch["index"] for batch in batches])
    assert sorted(indices[indices >= 0]) == list(range(12)) and len(indices) - 12 < batch_size
    assert [image for image, index in zip(_which(batches), indices, strict=True) if index >= 0] == list(range(12))
    for batch in batches:
        assert np.all(batch["image_info"] == [20, 30, 21, 32])  # fitted: never mirrored or zoomed


def test_replicas_share_the_batch(twelve: str) -> None:
    """Model Garden reads per replica: 2 replicas of 1 worker read half a batch at a time, in the same order."""
    context = tf.distribute.InputContext(num_input_pipelines=1, input_pipeline_id=0, num_replicas_in_sync=2)
    data = Data(input_path=twelve, global_batch_size=BATCH, is_training=True, shuffle_buffer=5)
    halves = list(training(READER, data, Start(), context).take(4).as_numpy_iterator())
    assert {len(half["index"]) for half in halves} == {2}
    assert _which(halves) == _which(_batches(twelve, 2))


def test_nothing_tunes_itself(twelve: str) -> None:
    """At the end of an iterator TensorFlow would wait for the tuning thread, which sleeps for up to a minute."""
    training_data = Data(input_path=twelve, global_batch_size=BATCH, is_training=True)
    sets = training(READER, training_data, Start(), None), evaluation(READER, Data(input_path=twelve), 12, None)
    assert [each.options().autotune.enabled for each in sets] == [False, False]


@functools.cache
def _labelled_record() -> bytes:
    labels = {name: record.Labelled(golden(name).example(48, 80), "real:test") for name in SPECS}
    needed = {need for spec in SPECS.values() for need in spec.needs}
    ordered = {name: labels[name] for name in SPECS if name not in needed}
    return example(np.zeros([48, 80, 3], np.uint8), ordered | labels)


def test_all_tasks_go_through_one_batch(tmp_path: Path) -> None:
    """Labelled and unlabelled images mix; every array has a static shape and a batch axis."""
    with tf.io.TFRecordWriter(str(tmp_path / "all.tfrecord")) as writer:
        writer.write(_labelled_record())
        writer.write(example(np.zeros([30, 20, 3], np.uint8), {}))
    configs = {name: golden(name).CONFIG for name in SPECS}
    data = Data(input_path=str(tmp_path / "*.tfrecord"), global_batch_size=2, is_training=True)
    dataset = training(Reader(SPECS, configs, 128), data, Start(), None)
    assert all(spec.shape.is_fully_defined() for spec in tf.nest.flatten(dataset.element_spec))
    batch = next(iter(dataset))
    assert set(batch["targets"]) == set(SPECS) and batch["image"].dtype == tf.uint8
    for targets in batch["targets"].values():
        assert sorted(targets["weight"].numpy()) == [0.0, 1.0]
