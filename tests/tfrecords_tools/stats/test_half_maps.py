"""Maps of half the size are judged as they are stored: by the same shares as the enlarged ones, in less time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from must_tf.data import label_reader, map_png, record
from must_tf.spec import ImageInfo, Labels
from must_tf.tasks import discover
from tests.contract.golden_cases import golden
from tests.support.contract import example
from tfrecords_tools.stats.sums import PSEUDO, SumJob, Sums, sum_shards

SIZE, HALF = (96, 160), (48, 80)
TASKS = ("segmentation", "depth", "normals")
CONFIGS = {task: golden(task).CONFIG for task in TASKS}
ORIGIN = "pseudo:0123456789ab"


def enlarged(labels: Labels) -> Labels:
    return {key: np.repeat(np.repeat(value, 2, axis=0), 2, axis=1) for key, value in labels.items()}


def written(labelled: dict[str, Labels], size: tuple[int, int] = SIZE) -> bytes:
    return example(
        np.zeros([*size, 3], np.uint8), {task: record.Labelled(one, ORIGIN) for task, one in labelled.items()}
    )


def summed(path: Path, serialized: bytes) -> dict[tuple[str, str], Sums]:
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(serialized)
    return sum_shards(SumJob((str(path),), CONFIGS, PSEUDO), lambda: None)


@pytest.mark.parametrize("task", TASKS)
def test_shares_are_those_of_the_enlarged_map(task: str, tmp_path: Path) -> None:
    labels = golden(task).example(*HALF)
    half = summed(tmp_path / "half", written({task: labels}))[task, ORIGIN]
    whole = summed(tmp_path / "whole", written({task: enlarged(labels)}))[task, ORIGIN]
    assert (half.pixels, whole.pixels) == (48 * 80, 96 * 160)
    for name in ("pixels", "valid", "scores", "believed"):
        np.testing.assert_array_equal(np.asarray(getattr(half, name)) * 4, getattr(whole, name))
    assert (half.images, half.empty, half.unsure, half.not_finite) == (1, 0, whole.unsure, 0)
    for name, value in whole.own.items():
        of_images = name in ("flat", "relative")
        np.testing.assert_allclose(np.asarray(half.own[name]) * (1 if of_images else 4), value, rtol=1e-9)
    for key, grid in whole.grids.items():
        np.testing.assert_allclose(half.grids[key], grid, atol=1e-4)


def info_of(serialized: bytes, task: str) -> ImageInfo:
    reader = label_reader.LabelReader(discover(), CONFIGS)
    return reader.map_info(tf.train.Example.FromString(serialized), task)


def test_only_if_all_maps_of_a_task_have_half_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Odd sides are rounded up; maps of large images are enlarged, one task after the other."""
    odd = written({"depth": golden("depth").example(49, 81)}, (97, 161))
    assert info_of(odd, "depth") == ImageInfo("image", 49, 81)
    mixed = tf.train.Example.FromString(written({"segmentation": golden("segmentation").example(*HALF)}))
    assert info_of(mixed.SerializeToString(), "segmentation")[1:] == HALF
    whole = map_png.encode(np.full(SIZE, 255, np.uint8))
    mixed.features.feature["image/segmentation/confidence/encoded"].bytes_list.value[:] = [whole]
    assert info_of(mixed.SerializeToString(), "segmentation")[1:] == SIZE
    monkeypatch.setattr(label_reader, "LARGE", 97 * 161 - 1)
    assert info_of(odd, "depth")[1:] == (97, 161)


def test_tasks_of_one_record_may_differ(tmp_path: Path) -> None:
    whole, half = golden("depth").example(*SIZE), golden("normals").example(*HALF)
    found: Any = summed(tmp_path / "both", written({"depth": whole, "normals": half}))
    assert {task: sums.pixels for (task, _), sums in found.items()} == {"depth": 96 * 160, "normals": 48 * 80}


def test_masks_are_not_maps() -> None:
    reader = label_reader.LabelReader(discover(), {"masks": golden("masks").CONFIG})
    masked = written({"masks": golden("masks").example(*SIZE)})
    assert reader.map_info(tf.train.Example.FromString(masked), "masks")[1:] == SIZE
