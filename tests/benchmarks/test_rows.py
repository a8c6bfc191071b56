"""The benchmark's data has the properties that it claims, and a row runs both sides end to end."""

from __future__ import annotations

import importlib
import json
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tensorflow as tf
from pycocotools.coco import COCO

from benchmarks import __main__ as bench
from benchmarks.data import coco_data, input_data
from benchmarks.harness import apart
from benchmarks.harness.table import BenchmarkSettings
from benchmarks.profile import input_path
from benchmarks.rows import growth, input_rows, inputs
from must_tf.data import record
from must_tf.data.scenes import CLASSES, render
from must_tf.spec import ImageInfo
from must_tf.tasks import discover
from must_tf.tasks.masks.labels import write_full
from tests.support.tiny import image_bytes


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> coco_data.Set:
    """Two scenes as a COCO dataset."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coco_data, "SCENES", 2)
        return coco_data.generated(tmp_path_factory.mktemp("scenes") / "set")


def test_a_crowd_has_as_many_objects_and_they_are_ellipses(scenes: coco_data.Set, tmp_path: Path) -> None:
    """Checked with pycocotools: a polygon of 24 corners has 1.1 percent less area than its ellipse."""
    api = COCO(str(input_data.crowded(scenes, tmp_path / "crowd", 7).annotations))
    assert [len(api.getAnnIds(imgIds=[number])) for number in api.imgs] == [7, 7]
    drawn = [int(api.annToMask(each).sum()) / each["area"] for each in api.anns.values()]
    assert np.median(drawn) == pytest.approx(1.0, abs=0.06)


def test_linked_records_are_the_same_records(tmp_path: Path) -> None:
    with tf.io.TFRecordWriter(str(tmp_path / "a.tfrecord")) as writer:
        writer.write(b"one")
    files = sorted(tf.io.gfile.glob(input_data.linked(str(tmp_path / "a.tfrecord"), tmp_path / "many", 3)))
    assert [list(tf.data.TFRecordDataset(file).as_numpy_iterator()) for file in files] == [[b"one"]] * 3


def test_a_teachers_maps_have_the_images_size_and_units() -> None:
    grey = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, [50, 70], dtype=np.uint8), (0, 0), 3)
    maps = input_data.maps(grey, np.random.default_rng(0))
    assert {task: next(iter(one.values())).shape for task, one in maps.items()} == {
        "classification": (input_data.IMAGE_CLASSES,),
        "segmentation": (50, 70),
        "depth": (50, 70),
        "normals": (50, 70, 3),
    }
    assert maps["depth"]["metres"].min() >= 1.0 and maps["depth"]["metres"].max() <= input_data.FARTHEST
    np.testing.assert_allclose(np.linalg.norm(maps["normals"]["normals"], axis=-1), 1.0, rtol=1e-5)
    assert len(np.unique(maps["segmentation"]["classes"])) > 1


def test_growth_is_over_the_first_case() -> None:
    found: dict[str, dict[str, list[float]]] = {
        f"{where} {count}": {"cpu_ms": [cpu, 99.0, 0.0], "images": [64], "first_batch": [first]}
        for where, begun in (("first", 0.0), ("middle", 1.0))
        for count, cpu, first in zip(growth.RECORDS, (2.0, 2.1, 9.0), (3.0, 3.0, 3.0 + 4 * begun), strict=True)
    }
    rows = growth._rates(found)
    assert [row.ratio for row in rows] == pytest.approx([1.05, 4.5])
    assert [row.reached for row in rows] == [True, False]
    assert "timed on 64 images after the first 50,000" in rows[1].note
    assert rows[1].why == "7.00 ms more; the rounds at 1,000 records differ by 99.00 ms"
    batches = growth._first_batches(found)
    assert [row.ours.value for row in batches if row.ours] == [3.0, 3.0, 3.0, 3.0, 3.0, 7.0]
    assert batches[5].note.startswith("80 microseconds for each of the 50,000")
    assert all("links to one file of 250 images" in row.note for row in [*rows, *batches])


@pytest.mark.parametrize(
    ("power", "ratio", "reached"),
    [(1, 1.0, True), (2, 400.0 / 110.0, False)],  # (300^2 - 100^2) / 200 over (100^2 - 10^2) / 90
)
def test_quadratic_growth_in_objects_misses(power: int, ratio: float, reached: bool) -> None:
    row = growth.linear([5.0 + 0.001 * count**power for count in growth.OBJECTS])
    assert row.ratio == pytest.approx(ratio) and row.reached is reached
    assert growth.linear([5.0, 5.0, 5.0]).reached is None


def _called_here(function: str, arguments: dict[str, Any], work: Path) -> Any:
    """Does the work of `apart.call` in this process, which saves the start of another one."""
    del work
    module, _, name = function.partition(":")
    return getattr(importlib.import_module(module), name)(**json.loads(json.dumps(arguments)))


def _scenes(folder: Path) -> str:
    """The pattern of records with masks for both sides."""
    with tf.io.TFRecordWriter(str(folder / "a.tfrecord")) as writer:
        for index in range(2):
            scene = render("wild", 5, index, (64, 96))
            labelled = {task: record.Labelled(scene.labels[task], "real:scenes") for task in inputs.MASKS}
            info = ImageInfo(str(index), 64, 96)
            encoded = record.encode(image_bytes(scene.image, ".jpg"), info, labelled, discover())
            example = tf.train.Example.FromString(encoded)
            for key, feature in write_full(scene.labels["masks"], info).items():
                example.features.feature[key].CopyFrom(feature)
            writer.write(example.SerializeToString())
    return str(folder / "*.tfrecord")


def test_a_row_goes_through_both_sides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs this project's input, Model Garden's, and the decoder."""
    glob = _scenes(tmp_path)
    monkeypatch.setattr(input_data, "both", lambda *_: input_data.Sets(glob, glob, CLASSES))
    monkeypatch.setattr(input_data, "source", lambda _: None)
    monkeypatch.setattr(apart, "call", _called_here)
    row, few, many, rate, own = input_rows.masks(128, 1e6)(BenchmarkSettings(tmp_path, rounds=1, seconds=0.2))
    assert row.reached and row.unit == "ms/image" and "128 px" in row.what
    assert row.floor and row.model_garden and 0 < row.floor.value < row.model_garden.value
    assert row.ours and row.ratio == row.ours.value == row.ours.cpu_ms and row.ours.value > 0
    assert few.ours and few.ours.value == pytest.approx(row.ours.value / 10)  # 100 images/s
    assert many.ours and many.ours.value == pytest.approx(4 * few.ours.value)
    assert rate.ours and rate.ours.cpu_ms == row.ours.value and rate.unit == "images/s"
    assert (own.ours, own.floor) == (rate.ours, rate.floor) and "its own pyramid" in own.what
    assert own.model_garden and own.model_garden != rate.model_garden
    levels = [sorted(next(iter(each))[1]["rpn_score_targets"]) for each in _model_gardens(glob)]
    assert levels == [list("34567"), list("23456")]
    known = [
        input_path.PARSE,
        input_path.DECODE,
        input_path.WARP,
        *(f"labels of {task}" for task in inputs.MASKS),
    ]
    assert "parts timed separately" in row.why and sum(part in row.why for part in known) == input_path.NAMED
    late = inputs.ours(glob, inputs.MASKS, CLASSES, 128, start=(7, 2))
    assert next(iter(late))["index"].numpy().tolist() == list(range(7, 15))


def _model_gardens(glob: str) -> list[tf.data.Dataset]:
    """Model Garden runs with the student's pyramid and with its own."""
    sides = input_rows._sides({}, input_data.Sets("", glob, {}), 128)
    return [inputs.SIDES[side](**sides[side]) for side in ("model_gardens", "model_gardens_own")]


def test_the_largest_parts_of_the_input_are_named_first() -> None:
    found = {"a": 1.0, "b": 4.0, "c": 2.0, "d": 3.0}
    said = input_path.sentence(found)
    assert said == "10.00 ms of processor time per image, parts timed separately; largest: b 4.00, d 3.00, c 2.00"
    rows = input_path.rows("input", found)
    assert [row.ours.value for row in rows if row.ours] == [4.0, 3.0, 2.0, 1.0] and rows[0].what.endswith("goes: b")
    assert all(row.reached is None for row in rows)


def test_a_part_costs_what_its_call_costs() -> None:
    """A sleep takes hardly any processor time, sums do. The results are returned."""

    def sums(x: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(tf.linalg.matmul(tf.fill([512, 512], x), tf.fill([512, 512], 1.0)))

    made, busy = input_path._timed(sums, [(tf.constant(1.0),), (tf.constant(2.0),)])
    assert [float(each) for each in made] == [512.0**3, 2 * 512.0**3]

    def sleep(x: np.ndarray) -> np.ndarray:
        time.sleep(0.02)
        return x

    idle = input_path._timed(lambda x: tf.numpy_function(sleep, [x], tf.float32), [(1.0,)])
    assert busy > idle[1] >= 0.0 and idle[1] < 20.0


def test_all_measurements_have_names_of_their_own() -> None:
    names = [name for module in (*bench.MODULES, *bench.ON_REQUEST) for name in module.ROWS]
    assert len(set(names)) == len(names) == len(bench.measurements())
    assert json.dumps(names) and all(name == name.lower() for name in names)
