"""The steps of one shard overlap, keep the order, hold a bounded number of images, and end with a failure's message.

The teachers are written by hand, so that it is known what they answer and when.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

from must_tf.common.errors import UserError
from must_tf.data import label_reader, record
from must_tf.spec import Labels
from must_tf.tasks import depth, discover
from tests.support.teaching import red_slope, unlabelled
from tests.support.tiny import write_set
from tfrecords_tools.label import parallelism, pipeline
from tfrecords_tools.label.pipeline import AHEAD, labelled
from tfrecords_tools.reading import recordset
from tfrecords_tools.teachers import BATCH_SIZE, About, Predictions, frames
from tfrecords_tools.teachers.frames import InputFrame, View
from tfrecords_tools.teachers.trained import TrainedTeacher

PATIENCE = 60.0  # seconds until a test fails because something hangs


class ByHand:
    """Labels depth with the mean of the red channel, in metres, and counts its work."""

    def __init__(self, task: str = "depth", side: int = 16):
        self.about = About(f"by-hand-{task}", (task,), "0123456789ab", {})
        self.configs = {task: discover()[task].Config()}
        self.frame = InputFrame(side, side, "stretch")
        self.forwards: list[int] = []  # distinct images in each pass

    def forward(self, pixels: np.ndarray, info: np.ndarray) -> Predictions:
        assert pixels.shape == (BATCH_SIZE, self.frame.height, self.frame.width, 3) and info.shape == (BATCH_SIZE, 4)
        self.forwards.append(len({one.tobytes() for one in pixels}))
        return {"mean": pixels[..., 0].mean(axis=(1, 2))}

    def labels(self, predictions: Any, info: np.ndarray, source_id: str, step: int = 1) -> dict[str, Labels]:
        height, width = info[:2]
        if self.about.tasks == ("normals",):
            return {"normals": {"normals": np.tile(np.array([0, 0, -1], np.float32), [height, width, 1])}}
        return {"depth": {"metres": np.full([height, width], predictions["mean"], np.float32)}}

    def notes(self, predictions: Any) -> list[str]:
        """See `teachers.Teacher`."""
        del predictions
        return []


def records(count: int) -> tuple[list[bytes], list[float]]:
    """Returns images of different sizes, each with its own level of red, and these levels."""
    reds = [float(10 + number) for number in range(count)]
    images = [np.full([20 + number, 40 - number % 7, 3], red, np.uint8) for number, red in enumerate(reds)]
    return [unlabelled(number, image) for number, image in enumerate(images)], reds


@pytest.fixture(autouse=True)
def one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """One batch in the network at a time, whatever number of threads an earlier test has set in TensorFlow."""
    monkeypatch.setattr(parallelism, "passes", lambda: 1)


@pytest.fixture
def shard(tmp_path: Path) -> str:
    """Two and a half batches."""
    return write_set(tmp_path / "in", [records(20)[0]], ())


def counted_decodes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Returns a list that grows by one with every decoded image."""
    count, decode = list[int](), record.decode_image

    def counted(encoded: tf.Tensor) -> tf.Tensor:
        count.append(1)
        return decode(encoded)

    monkeypatch.setattr(record, "decode_image", counted)
    return count


def metres(serialized: bytes) -> np.ndarray:
    """Reads the depth label of a record."""
    return record.read_labels(serialized, discover(), {"depth": depth.Config()})["depth"].labels["metres"]


def run(pattern: str, *teachers: Any, ticks: list[int] | None = None) -> list[bytes]:
    """Labels all records of a set with one file."""
    (path,) = tf.io.gfile.glob(pattern)
    return [one.serialized for one in labelled(path, teachers, (ticks if ticks is not None else []).append)]


def test_every_image_gets_its_own_label_in_order(shard: str) -> None:
    """The last batch is filled up to the size of the others; the fillers do not label anything."""
    teacher, ticks = ByHand(), list[int]()
    written = run(shard, teacher, ticks=ticks)
    for one, red in zip(written, records(20)[1], strict=True):
        info = record.info_of(tf.train.Example.FromString(one))
        np.testing.assert_allclose(metres(one), np.full([info.height, info.width], red), atol=5.1e-4)
    assert teacher.forwards == [8, 8, 4] and sum(ticks) == 20


def test_an_image_is_decoded_once_and_fitted_once_for_each_frame(shard: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three teachers, two of which have the same frame."""
    fitted, view = list[InputFrame](), pipeline.view

    def noted(image: tf.Tensor, frame: InputFrame) -> View:
        fitted.append(frame)
        return view(image, frame)

    decoded = counted_decodes(monkeypatch)
    monkeypatch.setattr(pipeline, "view", noted)
    run(shard, ByHand("depth", 16), ByHand("normals", 16), ByHand("normals", 24))
    assert len(decoded) == 20
    assert sorted(frame.height for frame in fitted) == [16] * 20 + [24] * 20


def test_teachers_with_the_same_views_share_their_batch(tmp_path: Path) -> None:
    """It is megabytes to copy. A teacher that leaves out an image gets a batch of its own."""
    given = list[int]()

    class Noted(ByHand):
        def forward(self, pixels: np.ndarray, info: np.ndarray) -> Predictions:
            given.append(id(pixels))
            assert (info[:, 0] > 0).all()
            return super().forward(pixels, info)

    images = records(3)[0]
    half = record.Labelled({"metres": np.ones(record.info_of(tf.train.Example.FromString(images[0]))[1:])}, "real:x")
    images[0] = record.merge(images[0], {"depth": half}, discover())
    with tf.io.TFRecordWriter(str(tmp_path / "some.tfrecord")) as writer:
        for one in images:
            writer.write(one)
    teachers = Noted("normals"), Noted("normals"), Noted("depth"), Noted("normals", 24)
    run(str(tmp_path / "some.tfrecord"), *teachers)
    assert given[0] == given[1] and len(set(given)) == 3
    assert [one.forwards for one in teachers] == [[3], [3], [2], [3]]


def test_no_config_is_made_for_a_record(shard: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of all tasks take more time than a small network."""
    configs_of = mock.Mock(side_effect=recordset.configs_of)
    monkeypatch.setattr(recordset, "configs_of", configs_of)
    run(shard, ByHand())
    assert configs_of.call_count == 1


def test_a_teacher_does_not_look_at_what_is_labelled_already(tmp_path: Path) -> None:
    """The whole first batch and half of the second have depth; no image has normals."""
    there = {"depth": record.Labelled({"metres": np.ones([20, 30], np.float32)}, "real:test")}
    images = [unlabelled(number, np.full([20, 30, 3], number, np.uint8)) for number in range(16)]
    some = [record.merge(one, there, discover()) if number < 12 else one for number, one in enumerate(images)]
    pattern = write_set(tmp_path / "in", [some], ())
    depth, normals = ByHand("depth"), ByHand("normals")
    written = run(pattern, depth, normals)
    assert (depth.forwards, normals.forwards) == ([4], [8, 8])
    origins = [record.origins_of(tf.train.Example.FromString(one)) for one in written]
    assert [one["depth"] for one in origins] == ["real:test"] * 12 + ["pseudo:0123456789ab"] * 4
    assert run(pattern, depth)[:12] == some[:12]
    # The four rows in its pass belong to the last four records, each with its own level of red.
    np.testing.assert_allclose([metres(one).mean() for one in written[12:]], [12, 13, 14, 15], atol=1e-3)


def test_labels_of_other_teachers_are_replaced_on_demand_and_real_ones_never(tmp_path: Path) -> None:
    image = unlabelled(0, np.full([20, 30, 3], 50, np.uint8))
    values = {"metres": np.ones([20, 30], np.float32)}
    origins = ("real:test", "pseudo:other")
    both = [record.merge(image, {"depth": record.Labelled(values, origin)}, discover()) for origin in origins]
    (path,) = tf.io.gfile.glob(write_set(tmp_path / "in", [both], ()))
    real, pseudo = (one.serialized for one in labelled(path, [ByHand()], lambda count: None, frozenset({"depth"})))
    assert real == both[0] and record.origins_of(tf.train.Example.FromString(pseudo))["depth"] == "pseudo:0123456789ab"
    assert run(str(path), ByHand()) == both


def test_the_three_steps_overlap(shard: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first pass waits until an image of the second batch is decoded, the first label until the second pass ran.

    If the steps ran one after the other, both would wait for ever.
    """
    decoded, passed = threading.Event(), threading.Event()
    waited, count, decode = list[bool](), list[int](), record.decode_image

    class Waits(ByHand):
        def forward(self, pixels: np.ndarray, info: np.ndarray) -> Predictions:
            waited.append(decoded.wait(PATIENCE))
            predictions = super().forward(pixels, info)
            if len(self.forwards) == 2:
                passed.set()
            return predictions

        def labels(self, predictions: Any, info: np.ndarray, source_id: str, step: int = 1) -> dict[str, Labels]:
            waited.append(passed.wait(PATIENCE))
            return super().labels(predictions, info, source_id, step)

    def counted(encoded: Any) -> tf.Tensor:
        count.append(1)
        if len(count) > BATCH_SIZE:
            decoded.set()
        return decode(encoded)

    monkeypatch.setattr(record, "decode_image", counted)
    run(shard, Waits())
    assert all(waited) and len(waited) == 3 + 20


@pytest.mark.parametrize("small", [0, 39 * 40])
def test_small_images_are_finished_one_at_a_time(small: int, shard: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads wait for each other's image if both are large, and none is ever beside a small one."""
    together, running, most = threading.Barrier(2), list[str](), list[int]()

    class Notes(ByHand):
        def labels(self, predictions: Any, info: np.ndarray, source_id: str, step: int = 1) -> dict[str, Labels]:
            running.append(source_id)
            if small:
                time.sleep(0.005)
            else:
                together.wait(PATIENCE)
            most.append(len(running))
            running.remove(source_id)
            return super().labels(predictions, info, source_id, step)

    monkeypatch.setattr(pipeline, "SMALL", small)
    assert len(run(shard, Notes())) == len(most) == 20
    assert (max(most) == 1) == bool(small)


def test_batches_in_the_network_at_the_same_time(shard: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first two passes wait for each other. The second one ends first, and the order is kept."""
    together, second = threading.Barrier(2), threading.Event()

    class Meets(ByHand):
        def forward(self, pixels: np.ndarray, info: np.ndarray) -> Predictions:
            reds = set(pixels[:, 0, 0, 0].tolist())
            if reds & {10, 18}:
                together.wait(PATIENCE)
            if 10 in reds:
                assert second.wait(PATIENCE)
            if 18 in reds:
                second.set()
            return super().forward(pixels, info)

    monkeypatch.setattr(parallelism, "passes", lambda: 2)
    written = run(shard, Meets())
    np.testing.assert_allclose([metres(one).mean() for one in written], records(20)[1], atol=1e-3)


def test_a_shard_of_any_size_holds_a_few_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After one record is taken, only AHEAD batches are decoded, and the one in the network."""
    many = 3 * AHEAD * BATCH_SIZE
    (path,) = tf.io.gfile.glob(write_set(tmp_path / "in", [[records(1)[0][0]] * many], ()))
    count = counted_decodes(monkeypatch)
    stream = labelled(path, [ByHand()], lambda count: None)
    assert isinstance(stream, Generator) and next(stream)
    time.sleep(0.5)  # time in which more could be decoded
    assert len(count) <= (AHEAD + 1) * BATCH_SIZE
    stream.close()
    assert not workers()


def workers() -> list[str]:
    """Returns the names of the running threads of the three steps."""
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith(("prepare", "forward", "finish"))]


@pytest.mark.parametrize("fails", ["forward", "labels"])
def test_a_failure_in_a_thread_ends_the_shard_with_its_message(shard: str, fails: str) -> None:
    """The failure is in the second batch: records finished before come out, and no thread stays."""

    class Fails(ByHand):
        def forward(self, pixels: np.ndarray, info: np.ndarray) -> Predictions:
            if fails == "forward" and self.forwards:
                raise UserError("the message")
            return super().forward(pixels, info)

        def labels(self, predictions: Any, info: np.ndarray, source_id: str, step: int = 1) -> dict[str, Labels]:
            if fails == "labels" and source_id == "photo-11":
                raise UserError("the message")
            return super().labels(predictions, info, source_id, step)

    written = list[bytes]()
    (path,) = tf.io.gfile.glob(shard)
    with pytest.raises(UserError, match="the message"):
        for one in labelled(path, [Fails()], lambda count: None):
            written.append(one.serialized)
    assert len(written) == {"forward": 8, "labels": 11}[fails]
    assert not workers()


def test_a_damaged_image_and_a_truncated_file(tmp_path: Path) -> None:
    example = tf.train.Example.FromString(records(1)[0][0])
    example.features.feature["image/encoded"].bytes_list.value[0] = b"\x89PNG\r\n\x1a\nno more"
    with pytest.raises(UserError, match="record 0 cannot be read: image/encoded: image cannot be decoded"):
        run(write_set(tmp_path / "one", [[example.SerializeToString()]], ()), ByHand())
    pattern = write_set(tmp_path / "two", [records(20)[0]], ())
    path = Path(tf.io.gfile.glob(pattern)[0])
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(UserError, match="truncated or damaged"):
        run(pattern, ByHand())


def test_large_records_are_few_at_a_time(shard: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more bytes than one record has, only one is in a batch, and only one batch is in progress."""
    teacher, decoded = ByHand(), counted_decodes(monkeypatch)
    monkeypatch.setattr(pipeline, "BATCH_BYTES", 1)
    monkeypatch.setattr(pipeline, "MOST_BYTES", 1)
    (path,) = tf.io.gfile.glob(shard)
    for number, one in enumerate(labelled(path, [teacher], lambda count: None)):
        assert len(decoded) <= number + 2
        np.testing.assert_allclose(metres(one.serialized).mean(), records(20)[1][number], atol=5.1e-4)
    assert teacher.forwards == [1] * 20


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_are_not_labels(tmp_path: Path, value: float) -> None:
    """The message names the teacher, the task and the image."""

    def forward(image: tf.Tensor, shape: tf.Tensor) -> Any:
        red = tf.cast(image[:, :1, :1, 0], tf.float32)
        return {"depth": {"metres": tf.where(red == 60.0, value, red) * tf.ones([1, 8, 8])}}

    teacher = TrainedTeacher(About("runs/d", ("depth",), "0" * 12, {}), forward, {"depth": depth.Config()}, 32)
    images = [unlabelled(number, np.full([20, 30, 3], 58 + number, np.uint8)) for number in range(5)]
    with pytest.raises(UserError, match=r"--teacher depth=runs/d: depth of image 'photo-2' is NaN"):
        run(write_set(tmp_path / "in", [images], ()), teacher)


@pytest.mark.parametrize("passes", [1, 3])
def test_everything_is_traced_once(passes: int, shard: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty sizes and a last batch that is not full. Heads that are not asked for do not run."""
    monkeypatch.setattr(parallelism, "passes", lambda: passes)
    traced = list[int]()

    def forward(image: tf.Tensor, shape: tf.Tensor) -> Any:
        traced.append(image.shape[0])
        red = tf.cast(image[:, ::4, ::4, 0], tf.float32)
        return {"depth": {"metres": red + 1.0}, "normals": {"normals": tf.stack([red] * 3, -1)}}

    teacher = TrainedTeacher(About("runs/d", ("depth",), "0" * 12, {}), forward, {"depth": depth.Config()}, 36)
    written = run(shard, teacher)
    assert traced == [BATCH_SIZE]
    viewer: Any = frames._viewer(teacher.frame)
    assert viewer.experimental_get_tracing_count() == 1
    np.testing.assert_allclose([metres(one)[3, 3] for one in written], [red + 1 for red in records(20)[1]], atol=1e-3)


def test_large_images_get_one_task_after_the_other(shard: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the same bytes. Masks stay with their boxes, and only maps are compared with those of the mirrored image."""

    def forward(image: tf.Tensor, shape: tf.Tensor) -> Any:
        red = tf.cast(image[:, ::4, ::4, 0], tf.float32) + 1.0
        maps = {"depth": {"metres": red}, "normals": {"normals": tf.stack([red] * 3, -1)}}
        boxes = tf.constant([[[2.0, 3.0, 20.0, 30.0]]] * BATCH_SIZE)
        found = {"boxes": boxes, "classes": tf.ones([BATCH_SIZE, 1], tf.int32), "scores": boxes[..., 0] * 0.4}
        found["count"] = tf.ones([BATCH_SIZE], tf.int32)
        return {**maps, "masks": {**found, "probability": tf.ones([BATCH_SIZE, 1, 28, 28])}, "detection": found}

    tasks, seen, write = ("depth", "detection", "masks", "normals"), list[tuple[str, ...]](), TrainedTeacher.labels
    configs = {task: discover()[task].Config() for task in tasks}
    teacher = TrainedTeacher(About("runs/d", tasks, "0" * 12, {}), forward, configs, 36)

    def noted(self: TrainedTeacher, predictions: Any, *others: Any) -> dict[str, Labels]:
        seen.append(tuple(sorted(predictions)))
        return write(self, predictions, *others)

    monkeypatch.setattr(TrainedTeacher, "labels", noted)
    (path,) = tf.io.gfile.glob(shard)
    whole = [one.serialized for one in labelled(path, [teacher], lambda count: None, with_confidence=True)]
    assert {*seen} == {tasks} and len(seen) == 40
    seen.clear()
    monkeypatch.setattr(label_reader, "LARGE", 0)
    assert [one.serialized for one in labelled(path, [teacher], lambda count: None, with_confidence=True)] == whole
    assert {part: seen.count(part) for part in seen} == {("depth",): 40, ("detection", "masks"): 20, ("normals",): 40}


def test_red_slopes_are_not_symmetric() -> None:
    """Otherwise the tests that use them could not detect a mirrored label."""
    image = red_slope(40, 60)
    assert not np.array_equal(image, image[::-1]) and not np.array_equal(image, image[:, ::-1])
