"""The labelling benchmark: its rows come from its rounds, and its bare side runs only the forward passes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from benchmarks.data import coco_data
from benchmarks.rows import labelling, labelling_host, labelling_row
from must_tf.data import manifest, record
from must_tf.pseudo_gate import verdict
from must_tf.tasks import discover
from must_tf.tasks.depth import Config as Depth
from tests.support.teaching import red_slope
from tests.support.tiny import image_bytes
from tfrecords_tools.teachers import BATCH_SIZE, About
from tfrecords_tools.teachers.trained import TrainedTeacher


def test_both_sides_see_the_same_images(tmp_path: Path) -> None:
    """Eleven records of two photos: each side makes two passes, and every record gets a label."""
    (tmp_path / "images").mkdir()
    for number, size in enumerate(((30, 50), (60, 40))):
        (tmp_path / "images" / f"{number}.png").write_bytes(image_bytes(red_slope(*size)))
    seen = list[np.ndarray]()

    def forward(image: tf.Tensor, shape: tf.Tensor) -> dict[str, dict[str, tf.Tensor]]:
        tf.numpy_function(seen.append, [image], [])
        return {"depth": {"metres": tf.ones([BATCH_SIZE, 8, 8]) + tf.reduce_mean(shape)}}

    teacher = TrainedTeacher(About("test", ("depth",), "0" * 12, {}), forward, {"depth": Depth()}, 32)
    source = coco_data.Set(tmp_path / "images", tmp_path / "none.json")
    for steps in labelling.sides([teacher], source, tmp_path, 11).values():
        for step in steps:
            step()
    assert len(seen) == 2 * 3  # passes, sides
    for bare, beside, label in zip(seen[:2], seen[2:4], seen[4:], strict=True):
        np.testing.assert_array_equal(bare, label)
        np.testing.assert_array_equal(beside, label)
    (out,) = (tmp_path / "out").glob("*.tfrecord")
    records = list(tf.data.TFRecordDataset(str(out)).as_numpy_iterator())
    found = [record.read_labels(one, discover(), {"depth": Depth()})["depth"].origin for one in records]
    assert found == ["pseudo:000000000000"] * 11
    assert (
        manifest.read(str(tmp_path / "out")).records == 11
        and verdict.of_folder(str(tmp_path / "out")).state == "passed"
    )


def test_a_network_is_run_for_answers_that_are_made_up() -> None:
    """Also in a graph, which leaves out what no result depends on."""
    seen = list[np.ndarray]()

    def noted(values: np.ndarray) -> np.ndarray:
        seen.append(values)
        return values

    def network(image: tf.Tensor, shape: tf.Tensor) -> dict[str, dict[str, tf.Tensor]]:
        (counted,) = tf.numpy_function(noted, [image], [tf.float32], stateful=False)
        return {"depth": {"metres": counted * tf.reduce_sum(shape)}}

    run = tf.function(labelling._answering(network, {"depth": {"metres": np.full([2, 3], 7.0, np.float32)}}))
    found = run(tf.ones([2, 3]), tf.ones([2, 2]))
    np.testing.assert_array_equal(found["depth"]["metres"], np.full([2, 3], 7.0))
    assert len(seen) == 1


def test_the_floor_is_the_faster_of_the_bare_sides(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Medians decide, not one fast round of the slower side. Judging, the second step of labelling, is kept apart."""
    seconds = {"bare": [[9.0], [1.0], [8.0]], "beside": [[5.0], [6.0], [5.0]], "label": [[7.0, 2.0]] * 3}
    monkeypatch.setattr(
        labelling.apart, "call", lambda what, given, work: [(each, 1.0) for each in seconds[given["side"]].pop(0)]
    )
    found = labelling.measured(coco_data.Set(tmp_path, tmp_path), tmp_path, {"count": 1}, 3)
    assert [one for one, _ in found["bare"]] == [5.0, 6.0, 5.0]
    assert found["label"] == [(7.0, 1.0)] * 3 and found["judge"] == [(2.0, 1.0)] * 3


def test_a_missed_rate_says_whether_it_is_work_or_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """96 images: 9.6 s on two processors, 15.36 s of work, and 9.6 s of work in the bare passes; medians."""
    monkeypatch.setattr(labelling_row.devices, "cores", lambda: 2)
    label = [(9.6, 15.36), (9.6, 15.36), (99.0, 99.0)]
    found = {"label": label, "judge": [(0.0, 0.0)] * 3, "bare": [(4.8, 9.6), (48.0, 96.0), (4.8, 9.6)]}
    assert labelling_row.rows(found)[1].why == (
        "labelling takes 160 ms of processor time per image, the bare passes 100 ms; the processors are busy for 80 % "
        "of the 100 ms per image"
    )


def test_of_a_large_set_few_images_are_judged() -> None:
    """96 images: 8 s to label them and 2 s to judge them all, of which a fiftieth counts in a set of a million."""
    found = {"label": [(8.0, 16.0)], "judge": [(2.0, 2.0)], "bare": [(7.6, 15.0)]}
    small, large = labelling_row.rows(found)
    assert small.ours and small.ours.value == pytest.approx(96 / 10) and small.at_least is None
    assert large.ours and large.ours.value == pytest.approx(96 / 8.04) and not large.reached
    assert labelling_row.rows(found | {"bare": [(7.7, 15.0)]})[1].reached  # 0.958 of the floor


def test_rows_are_medians_and_ratios_of_pairs() -> None:
    found = {"bare": [(1.0, 2.0), (2.0, 2.0), (4.0, 2.0)], "label": [(1.5, 3.0), (2.0, 1.5), (3.0, 1.0)]}
    found["judge"] = [(0.5, 1.0)] * 2 + [(1.0, 1.0)]
    bare, label, clock, processor = labelling.rates(found, 10)
    assert (bare.value, label.value) == (5.0, 4.0)
    assert clock.rounds == pytest.approx((0.5, 0.8, 1.0)) and clock.value == pytest.approx(0.8)
    assert processor.value == pytest.approx(0.8)
    assert labelling.table([label]) == ["label  4.000  images/s"]


def test_the_host_side_has_no_network(tmp_path: Path) -> None:
    """Two photos in a process of this test: every task is labelled, and both steps take time."""
    (tmp_path / "images").mkdir()
    for number, size in enumerate(((30, 50), (60, 40))):
        (tmp_path / "images" / f"{number}.png").write_bytes(image_bytes(red_slope(*size)))
    found = labelling_host.one_round(str(tmp_path / "images"), str(tmp_path / "work"), 64, 3)
    assert set(found) == {"label", "judge", "kB", "label_half", "judge_half", "kB_half"} and min(found.values()) > 0
    assert found["kB_half"] < found["kB"]
    labelled = manifest.read(str(tmp_path / "work" / "timed" / "out"))
    assert {task: sum(counts.values()) for task, counts in labelled.origins.items()} == dict.fromkeys(discover(), 3)


def test_cores_follow_from_the_processor_time() -> None:
    """Medians of the sums: 20 + 5 ms; 400 images/s then take ten cores."""
    half = {"label_half": 9.0, "judge_half": 2.0, "kB": 400.0, "kB_half": 100.0}
    rounds = [{"label": 20.0, "judge": 5.0}, {"label": 18.0, "judge": 4.0}, {"label": 50.0, "judge": 9.0}]
    cost, large, few, many, *halved = labelling_host.rows(640, [one | half for one in rounds])
    assert [(row.ratio, row.note) for row in halved] == [
        (9.0, "whole maps: 20.0 ms/image"),
        (2.0, "whole maps: 5.0 ms/image"),
        (100.0, "whole maps: 400.0 kB/image"),
    ]
    assert cost.ratio == 25.0 and cost.reached
    assert large.ratio == pytest.approx(20.0 + 5.0 / 50)  # 20,000 of a million are judged
    assert (few.ours.value, many.ours.value) == (2.5, 10.0)  # type: ignore[union-attr]
