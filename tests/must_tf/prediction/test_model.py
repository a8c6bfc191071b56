"""A loaded model predicts what evaluation measures, from a run and from its export alike."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import must_tf
from must_tf.cli import train
from must_tf.common.errors import UserError
from must_tf.data import record
from must_tf.evaluation import predictions
from must_tf.prediction import model as models
from must_tf.prediction.images import ImageError
from must_tf.prediction.model import Model
from must_tf.runs import restore
from must_tf.spec import Labels
from tests.support.predicting import images
from tests.support.session.graphs import eager_functions, eagerly
from tests.support.tiny import ALL, Tiny, arguments, data


@pytest.fixture(scope="module")
def model(tiny: Tiny) -> Model:
    return must_tf.load(tiny.run)


def assert_close(found: Labels, expected: Labels, name: str) -> None:
    """Compares labels up to rounding: the number of threads decides about the last bits."""
    assert found.keys() == expected.keys(), name
    for key, value in expected.items():
        if isinstance(value, list):
            assert [one.shape for one in found[key]] == [one.shape for one in value], name
            assert all(np.mean(a != b) < 0.01 for a, b in zip(found[key], value, strict=True)), name
        elif np.asarray(value).dtype.kind in "iub":
            assert np.shape(found[key]) == np.shape(value), (name, key)
            assert np.mean(found[key] != value) < 0.002 if np.size(value) else True, (name, key)
        else:
            rtol, atol = (0.01, 1.0) if key == "area" else (1e-3, 1e-4)
            np.testing.assert_allclose(found[key], value, rtol=rtol, atol=atol, err_msg=f"{name} {key}")


def test_predictions_are_those_that_evaluation_measures(
    tiny: Tiny, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`train.py --mode=eval` of the same run; its labels are caught on their way to the metrics."""
    measured: dict[str, dict[str, Labels]] = {}
    original = predictions.Restorer.labels

    def caught(self: Any, predicted: Any, image_info: np.ndarray, source_id: str) -> dict[str, Labels]:
        measured[source_id] = original(self, predicted, image_info, source_id)
        return measured[source_id]

    monkeypatch.setattr(predictions.Restorer, "labels", caught)
    shutil.copytree(tiny.run, tmp_path / "run")
    override = data(f"{tiny.records}/*.tfrecord")
    with eagerly():
        train.main(arguments(tiny.config, tmp_path / "run", "must_student", override, "eval"))
    results = model.predict(list(images()), threshold=0)
    assert set(measured) == {f"scene-{index}" for index in range(5)}
    assert any(len(result.boxes) for result in results)  # otherwise there is nothing to compare
    for index, result in enumerate(results):
        assert result.tasks == tuple(measured[f"scene-{index}"])
        for task, labels in measured[f"scene-{index}"].items():
            assert_close(result[task], labels, f"{index} {task}")


def test_an_export_predicts_the_same(tiny_export: str, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through `load`, and through the signature that clients call."""
    monkeypatch.setattr(tf.saved_model, "load", functools.cache(tf.saved_model.load))
    exported = must_tf.load(tiny_export)
    assert (exported.id, exported.step, exported.classes) == (model.id, model.step, model.classes)
    served = tf.saved_model.load(tiny_export).signatures["image_tensor"]
    for image in images()[:3]:
        mine, others = model.predict(image, threshold=0), exported.predict(image, threshold=0)
        for task in ALL:
            assert_close(others[task], mine[task], task)
        raw = {key: value[0].numpy() for key, value in served(image_tensor=tf.constant(image[None])).items()}
        np.testing.assert_allclose(mine.depth, raw["depth/metres"], rtol=1e-3)
        np.testing.assert_allclose(mine.normals, raw["normals/normals"], atol=1e-3)
        np.testing.assert_allclose(mine.probability, raw["classification/probability"], atol=1e-4)
        assert np.mean(mine.segmentation != raw["segmentation/classes"]) < 0.002
        pixels = raw["detection/boxes"][: len(mine.boxes), [1, 0, 3, 2]] * (image.shape[1::-1] * 2)
        np.testing.assert_allclose(mine.boxes, pixels, atol=0.05)


def test_a_best_checkpoint_is_a_model(tiny: Tiny, model: Model) -> None:
    best = must_tf.load(f"{tiny.run}/best/depth/")
    assert best.id == model.id and best.tasks == model.tasks  # the run's only checkpoint


def test_sizes_mix_and_batches_do_not_matter(model: Model) -> None:
    """Five images of three sizes, in batches of 2, 2 and 1."""
    together = model.predict(list(images()), batch_size=2)
    assert [result.depth.shape for result in together] == [image.shape[:2] for image in images()]
    assert [result.name for result in together] == [f"image {place}" for place in range(5)]
    for image, result in zip(images(), together, strict=True):
        alone = model.predict(image)
        for task in model.tasks:
            assert_close(result[task], alone[task], task)


def test_the_threshold_selects_objects_only(model: Model) -> None:
    (every,) = model.predict([images()[0]], threshold=0)
    threshold = float(np.median(every.scores))
    (some,) = model.predict([images()[0]], threshold=threshold)
    wanted = every.scores >= threshold
    assert 0 < wanted.sum() < len(wanted)
    np.testing.assert_array_equal(some.boxes, every.boxes[wanted])
    np.testing.assert_array_equal(some.masks, every.masks[wanted])
    np.testing.assert_array_equal(some.segmentation, every.segmentation)


def test_only_some_tasks(tiny: Tiny, model: Model, capsys: pytest.CaptureFixture[str]) -> None:
    """Masks come with their boxes though detection is not asked for. Loading prints nothing."""
    some = must_tf.load(tiny.run, tasks=["masks", "depth"])
    assert capsys.readouterr().out == ""
    assert some.tasks == ("depth", "masks") and set(some.classes) == {"masks"}
    every = model.predict(images()[1], threshold=0)
    with eager_functions():
        found = some.predict(images()[1], threshold=0)
    np.testing.assert_allclose(found.boxes, every.boxes, atol=0.05)
    assert not hasattr(found, "normals")


def test_a_long_list_is_read_as_it_is_used(model: Model) -> None:
    """At most the batch in the network and the next one are read ahead."""
    taken = []

    def endless() -> Iterator[np.ndarray]:
        while True:
            taken.append(1)
            yield images()[0]

    results = model.predict_each(endless(), batch_size=2)
    next(results)
    assert len(taken) == 2 * (1 + models.AHEAD)
    results.close()  # type: ignore[attr-defined]  # it is a generator


def test_a_folder_is_predicted_in_the_order_of_its_names(model: Model, tmp_path: Path) -> None:
    """A file that is no image raises, or is left out and reported."""
    for name in ("c", "a"):
        (tmp_path / f"{name}.png").write_bytes(tf.io.encode_png(images()[0]).numpy())
    (tmp_path / "b.png").write_bytes(b"no image")
    errors: list[ImageError] = []
    results = list(model.predict_each(tmp_path, skipped=errors.append))
    assert [Path(result.name).name for result in results] == ["a.png", "c.png"]
    assert len(errors) == 1 and "b.png" in str(errors[0])
    with pytest.raises(ImageError, match="b.png"):
        list(model.predict_each(tmp_path))


def test_a_photo_in_a_record_and_as_a_file(tiny: Tiny, model: Model, tmp_path: Path) -> None:
    """The bytes in a record, and the same in a file, by its path as text."""
    serialized = next(iter(tf.data.TFRecordDataset(sorted(tf.io.gfile.glob(f"{tiny.records}/*.tfrecord")))))
    parsed = tf.io.parse_single_example(serialized, record.IMAGE_FEATURES)["image/encoded"].numpy()
    (tmp_path / "photo.png").write_bytes(parsed)
    first, second = model.predict(parsed), model.predict(str(tmp_path / "photo.png"))
    np.testing.assert_array_equal(first.depth, second.depth)
    assert second.name == str(tmp_path / "photo.png")


def test_the_arrays_are_the_callers_to_change(model: Model) -> None:
    result = model.predict(images()[0])
    changed = result.depth.copy() + 1
    for array in (result.depth, result.normals, result.boxes):
        array += 1
    np.testing.assert_array_equal(result.depth, changed)


def test_nan_is_reported_with_its_task_and_image(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    original = model._restorer.restored

    def broken(*given: Any) -> Any:
        restored = original(*given)
        restored["depth"]["metres"] = np.full_like(restored["depth"]["metres"], np.nan)
        return restored

    monkeypatch.setattr(model._restorer, "restored", broken)
    with pytest.raises(ImageError, match="image 0: depth is NaN or infinite. Use another checkpoint than"):
        model.predict(images()[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"threshold": 1.5}, "threshold=1.5 must be from 0 to 1"), ({"batch_size": 0}, "batch_size=0 must be at least 1")],
)
def test_arguments_out_of_range(model: Model, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        model.predict(images()[0], **arguments)


def test_what_is_no_model_is_explained(tiny: Tiny) -> None:
    folder = Path(tiny.run).parent
    with pytest.raises(UserError, match="there is no model. Looked for params.yaml .*There are models in it: .*run"):
        must_tf.load(folder)
    with pytest.raises(UserError, match=f"there is no model.* Did you mean '{folder}/run'"):
        must_tf.load(folder / "runs")
    with pytest.raises(UserError, match="no head for 'dept'. Did you mean 'depth'.*It has classification"):
        Model(models.Network(tiny.run, lambda image, shape: {}, restore.read_config(tiny.run), "", 2), ["dept"])
