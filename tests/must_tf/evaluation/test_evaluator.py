"""One pass over a set: every image once, in original coordinates, with its protocol. NaN is always reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from must_tf.common.errors import UserError
from must_tf.common.finite import is_finite
from must_tf.data import input as input_lib
from must_tf.data import record, scenes
from must_tf.evaluation.evaluator import Evaluator
from must_tf.model.student import StudentConfig, enabled
from must_tf.spec import Given, ImageInfo
from must_tf.tasks import discover
from must_tf.tasks.detection import model as detection
from tests.support.tiny import SIZES, Tiny, image_bytes, scene_record, write_set

COUNT = 5  # images in the tiny records


def settings(path: str, batch_size: int, **tasks: dict[str, Any]) -> StudentConfig:
    """A config with these heads."""
    config = StudentConfig(input_size=128, pictures=0)
    config.validation_data.input_path = path
    config.validation_data.global_batch_size = batch_size
    for name, fields in tasks.items():
        getattr(config.tasks, name).override({"enabled": True} | fields)
    return config


def brightness(batch: Any) -> np.ndarray:
    """[B] in metres: a prediction that differs from image to image."""
    return np.mean(batch["image"].numpy(), axis=(1, 2, 3)) / 32


def outputs(batch: Any, replicas: int, predict: Any) -> dict[str, Any]:
    """The outputs of `validation_step`: tensors on one replica, tuples of tensors on several."""
    whole = {key: batch[key] for key in ("index", "image_info")} | {"predictions": predict(batch)}
    if replicas == 1:
        return whole
    return tf.nest.map_structure(lambda x: tuple(tf.split(x, replicas)), whole)


def constant_depth(batch: Any) -> dict[str, Any]:
    """The same depth everywhere in an image."""
    return {"depth": {"metres": tf.constant(np.tile(brightness(batch)[:, None, None], (1, 32, 32)), tf.float32)}}


def evaluator_and_batches(config: StudentConfig, count: int) -> tuple[Evaluator, list[Any]]:
    configs = enabled(config)
    reader = input_lib.Reader({name: discover()[name] for name in configs}, configs, config.input_size)
    return Evaluator(config, count), list(input_lib.evaluation(reader, config.validation_data, count, None))


def evaluated(config: StudentConfig, count: int, replicas: int = 1, predict: Any = constant_depth) -> Evaluator:
    """An evaluator that has seen the whole set."""
    evaluator, batches = evaluator_and_batches(config, count)
    for batch in batches:
        evaluator.add(outputs(batch, replicas, predict))
    return evaluator


def true_metres(records: str) -> list[np.ndarray]:
    """Every image's depth in its own frame, in the order of the records."""
    metres = []
    paths = sorted(tf.io.gfile.glob(f"{records}/*.tfrecord"))
    for serialized in tf.data.TFRecordDataset(paths).as_numpy_iterator():
        feature = tf.train.Example.FromString(serialized).features.feature
        units = tf.io.decode_png(feature["image/depth/encoded"].bytes_list.value[0], dtype=tf.uint16).numpy()[..., 0]
        metres.append(units * feature["image/depth/scale"].float_list.value[0])
    return metres


@pytest.mark.parametrize(("batch_size", "replicas"), [(1, 1), (2, 1), (3, 1), (5, 1), (8, 1), (2, 2), (4, 2), (6, 3)])
def test_every_image_once_for_any_batch_and_replicas(
    tiny_records: Tiny, batch_size: int, replicas: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """abs_rel at the images' original sizes, recomputed with NumPy."""
    config = settings(f"{tiny_records.records}/*.tfrecord", batch_size, depth={})
    evaluator, batches = evaluator_and_batches(config, COUNT)
    predicted = {}
    for batch in batches:
        for index, value in zip(batch["index"].numpy(), brightness(batch), strict=True):
            if index >= 0:
                assert index not in predicted
                predicted[index] = value
        evaluator.add(outputs(batch, replicas, constant_depth))
    figures = evaluator.finish("", 7)
    truths = true_metres(tiny_records.records)
    assert {truth.shape for truth in truths} == set(SIZES)
    errors = [np.mean(np.abs(predicted[i] - g[g > 0]) / g[g > 0]) for i, g in enumerate(truths)]
    assert figures["depth/abs_rel"] == pytest.approx(np.mean(errors), rel=1e-5)
    assert "evaluated 5 of 5 images at step 7" in capsys.readouterr().out


def test_an_image_that_is_missing_or_twice_ends_the_evaluation(tiny_records: Tiny) -> None:
    config = settings(f"{tiny_records.records}/*.tfrecord", 1, depth={})
    evaluator, batches = evaluator_and_batches(config, COUNT)
    for batch in batches[:-1]:
        evaluator.add(outputs(batch, 1, constant_depth))
    with pytest.raises(UserError, match="read 4 images, but the manifest counts 5"):
        evaluator.finish("", 1)
    for place in (3, 4):  # no record is left for the second
        with pytest.raises(RuntimeError, match=f"image {place} was evaluated twice"):
            evaluator.add(outputs(batches[place], 1, constant_depth))


def test_metrics_are_written_with_their_protocol(tiny_records: Tiny, tmp_path: Path) -> None:
    """Every evaluation adds a line to evaluations.jsonl."""
    path = f"{tiny_records.records}/*.tfrecord"
    config = settings(path, 2, depth={"alignment": "median", "max_metres": 20.0})
    for step in (10, 20):
        evaluated(config, COUNT).finish(str(tmp_path), step)
    written = json.loads((tmp_path / "evaluation.json").read_text())
    assert (written["step"], written["images"], written["labelled"]) == (20, COUNT, {"depth": COUNT})
    assert written["set"] == [path]
    assert written["protocol"]["depth"] == {
        "averaged": "per image",
        "alignment": "median",
        "min_metres": 0.0,
        "max_metres": 20.0,
        "crop": "none",
    }
    assert all(isinstance(value, float) for value in written["figures"].values())
    assert written["not_finite"] == {}
    history = [json.loads(line) for line in (tmp_path / "evaluations.jsonl").read_text().splitlines()]
    assert [line["step"] for line in history] == [10, 20]
    assert history[1] == written
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evaluation.json", "evaluations.jsonl"]


def classes_of(batch: Any) -> dict[str, Any]:
    """Predicts the second class for every image."""
    return {"classification": {"probability": tf.one_hot(tf.ones_like(batch["index"]), 4)}}


def test_absent_classes_and_reasons_are_named_not_averaged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One image, whose class is not predicted."""
    path = write_set(tmp_path / "set", [[scene_record(0, ("classification",))]], ("classification",))
    scene = tf.train.Example.FromString(scene_record(0, ("classification",)))
    label = scene.features.feature["image/class/label"].int64_list.value[0]
    names = ["a", "b", "c", "d"]
    assert label != 1
    config = settings(path, 1, classification={"classes": names})
    evaluated(config, 1, predict=classes_of).finish(str(tmp_path), 3)
    written = json.loads((tmp_path / "evaluation.json").read_text())
    assert written["figures"] == {"classification/top1": 0.0}
    assert written["classes"] == {"classification": {"top1": {names[label]: 0.0}}}
    assert written["absent"] == {"classification": [name for name in names if name != names[label]]}
    expected = f"no image is classified correctly; predicted b (1); labelled {names[label]} (1)"
    assert written["reasons"] == {"classification": expected}
    printed = capsys.readouterr().out
    assert expected in printed and "classes without labels in the set, left out of averages (3): " in printed


def test_a_set_without_labels_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_set(tmp_path / "set", [[scene_record(0, ())]], ())
    evaluated(settings(path, 1, depth={}), 1).finish(str(tmp_path), 3)
    written = json.loads((tmp_path / "evaluation.json").read_text())
    assert (written["figures"], written["reasons"]) == ({}, {"depth": "no labels in the set"})
    assert "no labels in the set" in capsys.readouterr().out


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_predictions_of_nan_or_infinity_are_reported(
    tiny_records: Tiny, tmp_path: Path, value: float, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the task and the first such image. Metrics stay finite, and such pixels count as wrong."""

    def broken(batch: Any) -> dict[str, Any]:
        metres = constant_depth(batch)["depth"]["metres"].numpy()
        metres[np.isin(batch["index"].numpy(), [1, 3])] = value
        return {"depth": {"metres": tf.constant(metres)}}

    config = settings(f"{tiny_records.records}/*.tfrecord", 2, depth={})
    figures = evaluated(config, COUNT, predict=broken).finish(str(tmp_path), 1)
    sound = evaluated(config, COUNT).finish("", 1)
    written = json.loads((tmp_path / "evaluation.json").read_text())
    assert written["not_finite"] == {"depth": {"images": 2, "first": "scene-1"}}
    assert "NaN or infinity predicted for 2 images, first 'scene-1'" in capsys.readouterr().out
    assert np.isfinite(list(figures.values())).all()
    assert figures["depth/delta3"] < sound["depth/delta3"]


def test_nan_is_not_a_segment(tmp_path: Path) -> None:
    """NaN does not stand for the first class: every pixel of such an image is wrong, whatever its label."""
    path = write_set(tmp_path / "set", [[scene_record(0, ("segmentation",))]], ("segmentation",))
    names = scenes.CLASSES["segmentation"]
    config = settings(path, 1, segmentation={"classes": list(names)})

    def nothing(batch: Any) -> dict[str, Any]:
        return {"segmentation": {"probability": tf.fill([len(batch["index"]), 32, 32, len(names)], np.nan)}}

    assert evaluated(config, 1, predict=nothing).finish("", 1)["segmentation/pixel_accuracy"] == 0.0


def test_a_label_of_nan_ends_the_evaluation(tmp_path: Path) -> None:
    """The error names image, key and task."""
    box = {
        "boxes": np.array([[0, 0, np.nan, 1]], np.float32),
        "classes": np.array([1], np.int32),
        "scores": np.array([1], np.float32),
    }
    box |= {"is_crowd": np.array([False]), "area": np.array([9], np.float32)}
    image = image_bytes(np.zeros((96, 128, 3), np.uint8))
    labelled = {"detection": record.Labelled(box, "real:test")}
    broken = record.encode(image, ImageInfo("street/7", 96, 128), labelled, discover())
    path = write_set(tmp_path / "set", [[broken]], ("detection",))

    def nothing(batch: Any) -> dict[str, Any]:
        del batch
        empty = {"boxes": tf.zeros([1, 2, 4]), "classes": tf.zeros([1, 2], tf.int32), "scores": tf.zeros([1, 2])}
        return {"detection": empty | {"count": tf.zeros([1], tf.int32)}}

    with pytest.raises(UserError, match="image 'street/7': image/object/bbox/ymax: detection: .*nan"):
        evaluated(settings(path, 1, detection={"classes": ["a"]}), 1, predict=nothing)


@pytest.mark.parametrize("broken", ["class_logits", "box_deltas"])
def test_nan_in_a_detector_does_not_look_like_an_empty_image(broken: str) -> None:
    """NMS drops boxes with NaN. One of two images is broken."""
    raw = {"class_logits": np.zeros((2, 5, 3), np.float32), "box_deltas": np.zeros((2, 5, 12), np.float32)}
    raw["class_logits"][..., 1] = 5.0
    raw[broken][0, 3, 2] = np.nan
    raw["rois"] = np.tile(np.array([[[0, 0, 30, 40]]], np.float32), (2, 5, 1))
    given = Given(tf.constant([[128.0, 128.0]] * 2), 128, None, None, {}, {})
    config = discover()["detection"].Config(classes=("a", "b"), max_detections=4)
    predictions = detection.decode({key: tf.constant(value) for key, value in raw.items()}, given, config)
    assert np.isnan(predictions["scores"][0]).all()
    assert np.isfinite(predictions["scores"][1]).all() and predictions["scores"][1, 0] > 0.9


@pytest.mark.parametrize(
    ("task", "key", "shape"),
    [("classification", "logits", (2, 3)), ("segmentation", "map", (2, 4, 4, 3)), ("normals", "map", (2, 4, 4, 3))]
    + [("depth", "map", (2, 4, 4, 1))],
)
def test_nan_of_a_head_survives_decoding(task: str, key: str, shape: tuple[int, ...]) -> None:
    """No argmax, softmax or clip in a decoder hides it."""
    raw = np.ones(shape, np.float32)
    spec = discover()[task]
    given = Given(tf.constant([[128.0, 128.0]] * 2), 128, None, None, {}, {})
    for value, finite in ((1.0, True), (np.nan, False)):
        raw[1, ..., 0] = value
        predictions = spec.decode({key: tf.constant(raw)}, given, spec.Config(classes=("a", "b", "c")))
        assert is_finite({name: tensor.numpy() for name, tensor in predictions.items()}) == finite
