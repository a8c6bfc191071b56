"""Datasets that know only some of a task's classes: what the record says, the loss leaves alone, and is measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from must_tf.common.errors import UserError
from must_tf.config import values as config_values
from must_tf.data import geometry, label_reader, manifest, record
from must_tf.data.input import Reader
from must_tf.data.opening import BadRecord
from must_tf.evaluation.evaluator import Evaluator
from must_tf.experiments import experiment_config
from must_tf.model.student import StudentConfig
from must_tf.tasks import discover
from must_tf.tasks.detection import loss
from must_tf.training import preflight
from tests.support import tiny
from tests.support.contract import FITTED, SCENES, SIZE, SPECS, batched, example, golden, scene

H, W = FITTED.original
CLASSED = [name for name, spec in SPECS.items() if spec.class_ids]


def _labelled(task: str, annotated: tuple[int, ...] | None) -> bytes:
    labels = golden(task).scene_labels(scene(*SCENES[0], FITTED.original))
    return example(np.zeros([H, W, 3], np.uint8), {task: record.Labelled(labels, "real:some", annotated)})


def _masks(task: str, serialized: list[bytes]) -> list[list[bool]]:
    reader = Reader(SPECS, {task: golden(task).CONFIG}, SIZE)
    records = tf.data.Dataset.from_tensor_slices(serialized)
    dataset = records.map(lambda s: reader.element(s, tf.constant(0), lambda size: geometry.fit(size, SIZE)))
    return [element["targets"][task]["annotated"].numpy().tolist() for element in dataset]


@pytest.mark.parametrize("task", CLASSED)
def test_what_was_looked_for_travels_from_the_writer_to_the_loss(task: str) -> None:
    """Ids 1 and 3, by the key, by the reader, and as one flag per id in the targets; absent means all."""
    count = len(golden(task).CONFIG.classes)
    some, everything = _labelled(task, (3, 1)), _labelled(task, None)
    key = f"image/{task}/annotated"
    assert list(tf.train.Example.FromString(some).features.feature[key].int64_list.value) == [1, 3]
    assert key not in tf.train.Example.FromString(everything).features.feature
    read = record.read_labels(some, SPECS, {task: golden(task).CONFIG})[task]
    assert read.annotated == (1, 3)
    assert record.read_labels(everything, SPECS, {task: golden(task).CONFIG})[task].annotated is None
    by_id = [number in (1, 3) for number in range(count + 1)]
    assert _masks(task, [some, everything]) == [by_id, [True] * (count + 1)]


def test_newer_labels_do_not_inherit_what_older_ones_looked_for() -> None:
    labels = golden("detection").scene_labels(scene(*SCENES[0], FITTED.original))
    merged = record.merge(_labelled("detection", (1,)), {"detection": record.Labelled(labels, "pseudo:abc")}, SPECS)
    assert record.annotated_of(tf.train.Example.FromString(merged), "detection") is None


def test_labels_of_other_tasks_leave_it_alone() -> None:
    depth = golden("depth").scene_labels(scene(*SCENES[0], FITTED.original))
    merged = record.merge(_labelled("detection", (1,)), {"depth": record.Labelled(depth, "pseudo:abc")}, SPECS)
    assert record.annotated_of(tf.train.Example.FromString(merged), "detection") == (1,)


def test_masks_were_looked_for_where_their_boxes_were() -> None:
    made = scene(*SCENES[0], FITTED.original)
    labelled = {name: record.Labelled(golden(name).scene_labels(made), "real:some") for name in ("detection", "masks")}
    labelled["detection"] = labelled["detection"]._replace(annotated=(2,))
    serialized = example(made.image, labelled)
    assert record.annotated_of(tf.train.Example.FromString(serialized), "masks") == (2,)


@pytest.mark.parametrize(
    ("annotated", "design", "refused"),
    [(((1,), (2, 3)), "maskrcnn", True), (((1,), None), "maskrcnn", False), (((1,), (2, 3)), "retinanet", False)],
)
def test_an_rpn_without_a_wholly_annotated_image_is_refused(
    annotated: tuple[Any, ...], design: str, refused: bool, tmp_path: Path
) -> None:
    """Two images; the manifest says on how many of them only some classes were looked for."""
    records = [_labelled("detection", ids) for ids in annotated]
    path = tiny.write_set(tmp_path / "records", [records], ["detection"])
    partial = sum(ids is not None for ids in annotated)
    assert manifest.read(str(tmp_path / "records")).limits == {"detection": {"partial": partial}}
    params = experiment_config.load("must_teacher_detection")
    changes = {"task": {"tasks": {"detection": {"design": design}}}, "trainer": {"validation_steps": -1}}
    for values in (tiny.data(path), changes):
        config_values.apply(params, values, "test")
    if refused:
        with pytest.raises(UserError, match="none of 2 images .* all classes.*design=retinanet"):
            preflight.settle(params, "train")
    else:
        assert preflight.settle(params, "train").train == 2


def test_objects_are_restricted_with_all_that_belongs_to_them() -> None:
    """The example's classes are 3, 1, 4 and 2, its crops a list."""
    labels = golden("masks").example(H, W)
    class_ids = SPECS["masks"].class_ids
    assert class_ids is not None
    kept = class_ids.restrict(labels, (4, 1))
    assert kept["classes"].tolist() == [1, 4]
    np.testing.assert_array_equal(kept["boxes"], labels["boxes"][[1, 2]])
    assert [crop.shape for crop in kept["crops"]] == [labels["crops"][i].shape for i in (1, 2)]


def test_nothing_looked_for_is_no_label_and_no_empty_list() -> None:
    """An empty list cannot be told from an absent one, which means the opposite."""
    with pytest.raises(ValueError, match="Leave the labels of this task out"):
        _labelled("detection", ())


@pytest.mark.parametrize("task", CLASSED)
def test_an_id_that_does_not_exist_ends_the_read(task: str) -> None:
    with pytest.raises(BadRecord, match="annotated"):
        record.read_labels(_labelled(task, (1, 99)), SPECS, {task: golden(task).CONFIG})
    reader, serialized = label_reader.shared(discover(), {task: golden(task).CONFIG}), _labelled(task, (1, 99))
    with pytest.raises(BadRecord, match="annotated"):
        reader.read(serialized, tf.train.Example.FromString(serialized))


def test_background_or_unannotated_in_longhand() -> None:
    """NumPy's softmax, summed over what may be there; without gaps it is the plain cross-entropy."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 5, [2, 6, 5]).astype(np.float32)
    classes = rng.integers(0, 5, [2, 6]).astype(np.int32)
    annotated = np.array([[False, True, False, True, False], [True] * 5])
    chance = np.exp(logits.astype(np.float64))
    chance /= chance.sum(-1, keepdims=True)
    expected = np.zeros([2, 6])
    for image, roi in np.ndindex(2, 6):
        true = classes[image, roi]
        unknown = [2, 4] if image == 0 else []
        expected[image, roi] = -np.log(chance[image, roi, [true] if true else [0, *unknown]].sum())
    np.testing.assert_allclose(loss.background_or(classes, annotated, tf.constant(logits)), expected, atol=1e-5)


@pytest.mark.parametrize("design", ["maskrcnn", "retinanet"])
def test_unannotated_objects_have_no_gradient_as_background(design: str) -> None:
    """Logits of a class that nobody looked for are not pushed down where nothing was found."""
    own = golden("detection")
    number = [case[2] for case in own.CASES].index({} if design == "maskrcnn" else {"design": design})
    raw, labels, overrides, _ = own.CASES[number + 2]  # the partial ones follow in the same order
    tensors = {key: tf.constant(value, tf.int32 if key == "roi_classes" else tf.float32) for key, value in raw.items()}
    known = {key: tf.constant(labels[key]) for key in ("boxes", "classes", "ignored")}
    known |= {"weight": tf.ones([1]), "annotated": tf.constant(labels["annotated"])}
    with tf.GradientTape() as tape:
        tape.watch(tensors["class_logits"])
        terms = SPECS["detection"].loss(tensors, known, own.CONFIG.replace(**overrides))
        total = tf.add_n([tf.reduce_sum(term.total) for term in terms.values()])
    gradient = tape.gradient(total, tensors["class_logits"])[0, 1].numpy()  # nothing was found in the second place
    assert np.all(gradient[1:3] > 0)  # 1 and 2 were looked for, and are not there
    assert np.all(gradient[3:] <= 0)  # descending does not lower 3 and 4


def _one_box(number: int) -> dict[str, np.ndarray]:
    """A label with one object, of class `number`, in the middle half of the image."""
    empty = golden("detection").empty(H, W)
    box = {"boxes": [[0.25, 0.25, 0.75, 0.75]], "classes": [number], "scores": [1.0], "area": [H * W / 4.0]}
    return {key: np.asarray(box.get(key, [False]), value.dtype) for key, value in empty.items()}


def _predicted(*objects: tuple[int, float]) -> dict[str, np.ndarray]:
    """One image's predictions, all of the box above: (class, score) each."""
    rows = len(objects)
    top, left, bottom, right = (0.25 * FITTED.scaled[0], 0.25 * FITTED.scaled[1]) * 2
    box = np.array([top, left, 3 * bottom, 3 * right], np.float32)
    classes, scores = np.zeros([4], np.int32), np.zeros([4], np.float32)
    classes[:rows], scores[:rows] = [each[0] for each in objects], [each[1] for each in objects]
    return {"boxes": np.tile(box, [4, 1]), "classes": classes, "scores": scores, "count": np.array(rows, np.int32)}


@pytest.mark.parametrize("annotated,expected", [((1, 2, 3), 1.0), (None, 0.5)])
def test_predictions_that_nobody_can_judge_are_not_measured(
    annotated: tuple[int, ...] | None, expected: float, tmp_path: Path
) -> None:
    """The first image shows a 1; a 4 is predicted there too, and surer than the true one of the second image.

    Where 4 was looked for in the first image that is a false one before the true one: AP of class 4 is 1/2.
    """
    said = ((1, annotated), (4, None))
    records = [
        example(np.zeros([H, W, 3], np.uint8), {"detection": record.Labelled(_one_box(number), "real:some", ids)})
        for number, ids in said
    ]
    settings = StudentConfig()
    settings.input_size, settings.pictures = SIZE, 0
    settings.tasks.detection = golden("detection").CONFIG
    settings.validation_data.input_path = tiny.write_set(tmp_path, [records], ["detection"])
    evaluator = Evaluator(settings, 2)
    predictions = batched([_predicted((1, 0.8), (4, 0.9)), _predicted((4, 0.5))])
    info = np.tile([*FITTED.original, *FITTED.scaled], [2, 1])
    evaluator.add({"index": np.arange(2), "image_info": info, "predictions": {"detection": predictions}})
    figures = evaluator.finish("", 0)
    # The mean with class 1, whose only object is found.
    assert figures["detection/AP"] == pytest.approx((1.0 + expected) / 2.0, abs=0.01)
