"""Every discovered task: read(write(labels)) == labels, eagerly and in tf.data; absent is not empty."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from must_tf.data import geometry, label_reader, record
from must_tf.data.input import Reader
from must_tf.tasks import discover
from tests.support.contract import FITTED, SCENES, SIZE, SPECS, golden, scene
from tests.support.contract import example as serialise

H, W = 48, 80


def _samples(task: str) -> list[tuple[Any, tuple[int, int]]]:
    """Returns labels of scenes, the task's `example`, and empty labels."""
    own = golden(task)
    scenes = [(own.scene_labels(scene(domain, index, FITTED.original)), FITTED.original) for domain, index in SCENES]
    return [*scenes, (own.example(H, W), (H, W)), (own.empty(H, W), (H, W))]


def _record(task: str, labels: Any, size: tuple[int, int], origin: str = "real:scenes") -> bytes:
    return serialise(np.zeros([*size, 3], np.uint8), {task: record.Labelled(labels, origin)})


def _assert_same(task: str, got: dict[str, Any], expected: dict[str, Any]) -> None:
    tolerance = golden(task).TOLERANCE
    assert set(got) == set(expected) <= set(tolerance)
    for key, value in expected.items():
        assert len(got[key]) == len(value), key
        pairs = zip(got[key], value, strict=True) if isinstance(value, list) else [(got[key], value)]
        for read, written in pairs:
            assert read.shape == written.shape and read.dtype == written.dtype, key
            np.testing.assert_allclose(read.astype(float), written.astype(float), rtol=0, atol=tolerance[key])


@pytest.mark.parametrize("task", SPECS)
@pytest.mark.parametrize("number", range(len(SCENES) + 2))
def test_what_is_written_is_read(task: str, number: int) -> None:
    labels, size = _samples(task)[number]
    read = record.read_labels(_record(task, labels, size), SPECS, {task: golden(task).CONFIG})
    assert set(read) == {task} and read[task].origin == "real:scenes"
    _assert_same(task, read[task].labels, labels)


@pytest.mark.parametrize("task", SPECS)
@pytest.mark.parametrize("number", range(len(SCENES) + 2))
def test_what_is_written_is_the_published_format(task: str, number: int) -> None:
    """Read with Pillow and NumPy, because a round trip hides a swap in both `read` and `write`."""
    labels, size = _samples(task)[number]
    written = tf.train.Example.FromString(_record(task, labels, size)).features.feature
    _assert_same(task, golden(task).by_hand(written), labels)


@pytest.mark.parametrize("task", SPECS)
def test_what_is_written_is_read_inside_tf_data(task: str) -> None:
    config, samples = golden(task).CONFIG, _samples(task)

    def read(serialized: tf.Tensor, size: tf.Tensor) -> dict[str, tf.Tensor]:
        return SPECS[task].read(record.parse(serialized, SPECS, {task: config}), size, config)

    records = [_record(task, *sample) for sample in samples]
    dataset = tf.data.Dataset.from_tensor_slices((records, [size for _, size in samples])).map(read)
    for tensors, (labels, _) in zip(dataset, samples, strict=True):
        got = {key: record._to_numpy(value) for key, value in tensors.items()}
        _assert_same(task, record._without_absent(got), labels)


def _by_graphs(records: list[bytes]) -> list[dict[str, record.Labelled]]:
    """Reads a record as evaluation does, with all tasks."""
    reader = label_reader.shared(discover(), {task: golden(task).CONFIG for task in SPECS})
    return [reader.read(one, tf.train.Example.FromString(one)) for one in records]


@pytest.mark.usefixtures("optimised_graphs")  # which divide by constants in their own way
def test_graphs_read_of_all_tasks_those_that_a_record_has() -> None:
    """The same bits as if each task were read alone."""
    labels = {task: golden(task).example(H, W) for task in SPECS}
    alone = {task: _record(task, labels[task], (H, W), f"real:{task}") for task in SPECS}
    found = _by_graphs([*alone.values(), serialise(np.zeros([H, W, 3], np.uint8), {})])
    assert found.pop() == {}
    for task, read in zip(alone, found, strict=True):
        assert {name: one.origin for name, one in read.items()} == {task: f"real:{task}"}
        _assert_same(task, read[task].labels, labels[task])
        wanted = record.read_labels(alone[task], SPECS, {task: golden(task).CONFIG})[task].labels
        tf.nest.map_structure(np.testing.assert_array_equal, read[task].labels, wanted)


def test_keys_without_an_origin_are_not_read() -> None:
    """Other tools may write other content under these keys."""
    example = tf.train.Example.FromString(_record("depth", golden("depth").example(H, W), (H, W), "real:depth"))
    example.features.feature["image/object/class/label"].float_list.value.append(90.0)
    example.features.feature["image/segmentation/class/encoded"].bytes_list.value.append(b"no PNG")
    (read,) = _by_graphs([example.SerializeToString()])
    assert list(read) == ["depth"]


@pytest.mark.parametrize("task", SPECS)
def test_merging_replaces_and_keeps(task: str) -> None:
    """New labels replace old ones entirely, and the image does not change."""
    own = golden(task)
    kinds = (own.example(H, W), own.empty(H, W))
    for first, second in (kinds, kinds[::-1]):
        before = _record(task, first, (H, W))
        after = record.merge(before, {task: record.Labelled(second, "pseudo:abc")}, SPECS)
        read = record.read_labels(after, SPECS, {task: own.CONFIG})
        assert read[task].origin == "pseudo:abc"
        _assert_same(task, read[task].labels, second)
        merged, true = (tf.train.Example.FromString(each).features.feature for each in (after, before))
        assert merged["image/encoded"] == true["image/encoded"]


@pytest.mark.parametrize("task", SPECS)
def test_a_scenes_labels_are_right_for_draw_and_metric(task: str) -> None:
    """Labels measured against themselves are perfect; drawing keeps the size and does not change its input."""
    spec, own = SPECS[task], golden(task)
    metric = spec.Metric(own.CONFIG)
    for domain, index in SCENES:
        made = scene(domain, index, FITTED.original)
        labels = own.scene_labels(made)
        metric.add(labels, labels, record.ImageInfo(str(index), *FITTED.original))
        before = made.image.copy()
        drawn = spec.draw(made.image, labels, own.CONFIG)
        assert drawn.shape == before.shape and drawn.dtype == np.uint8
        np.testing.assert_array_equal(made.image, before)
    best = 1.0 if spec.Metric.higher_is_better else 0.0
    assert metric.result()[spec.Metric.headline] == pytest.approx(best, abs=1e-4)


def _targets(task: str, records: list[bytes], config: Any = None) -> list[dict[str, tf.Tensor]]:
    """The task's targets of each record, by the reader inside of tf.data."""
    reader = Reader(SPECS, {task: config or golden(task).CONFIG}, SIZE)
    dataset = tf.data.Dataset.from_tensor_slices(records)
    dataset = dataset.map(lambda s: reader.element(s, tf.constant(0), lambda size: geometry.fit(size, SIZE)))
    return [element["targets"][task] for element in dataset]


@pytest.mark.parametrize("task", SPECS)
def test_absent_is_not_empty(task: str) -> None:
    """Without an origin the weight is 0; an empty label with an origin has weight 1. The shapes are the same."""
    own = golden(task)
    absent = serialise(np.zeros([H, W, 3], np.uint8), {})
    assert record.read_labels(absent, SPECS, {task: own.CONFIG}) == {}
    empty, unseen = _targets(task, [_record(task, own.empty(H, W), (H, W)), absent])
    assert float(empty["weight"]) == 1.0 and float(unseen["weight"]) == 0.0
    assert {k: (v.shape, v.dtype) for k, v in empty.items()} == {k: (v.shape, v.dtype) for k, v in unseen.items()}


@pytest.mark.parametrize("task", SPECS)
def test_pseudo_labels_weigh_pseudo_weight(task: str) -> None:
    own = golden(task)
    config = own.CONFIG.replace(pseudo_weight=0.25)
    labels = own.example(H, W)
    records = [_record(task, labels, (H, W), origin) for origin in ("pseudo:abc", "real:coco")]
    pseudo, real = _targets(task, records, config)
    assert (float(pseudo["weight"]), bool(pseudo["pseudo"])) == (0.25, True)
    assert (float(real["weight"]), bool(real["pseudo"])) == (1.0, False)


@pytest.mark.parametrize("task", [name for name, spec in SPECS.items() if spec.needs])
def test_a_needed_task_may_be_labelled_alone(task: str) -> None:
    """Boxes without masks: detection trains on them; masks has weight 0 and no target."""
    needed = SPECS[task].needs[0]
    labels = {key: value for key, value in golden(task).example(H, W).items() if key in golden(needed).empty(H, W)}
    configs = {name: golden(name).CONFIG for name in (needed, task)}
    serialized = _record(needed, labels, (H, W))
    read = record.read_labels(serialized, SPECS, configs)
    assert set(read) == {needed}
    element = Reader(SPECS, configs, SIZE).element(
        tf.constant(serialized), tf.constant(0, tf.int64), lambda original: geometry.fit(original, SIZE)
    )
    assert [float(element["targets"][name]["weight"]) for name in (needed, task)] == [1.0, 0.0]
    assert np.all(element["targets"][task]["classes"] == -1) and np.any(element["targets"][needed]["classes"] > 0)


@pytest.mark.parametrize("task", [name for name, spec in SPECS.items() if spec.class_ids])
def test_an_id_beyond_the_classes_ends_the_read(task: str) -> None:
    """Model Garden trains such ids as background or with a loss of 0."""
    serialized = _record(task, golden(task).example(H, W), (H, W))
    few = {task: golden(task).CONFIG.replace(classes=("one",))}
    with pytest.raises(tf.errors.InvalidArgumentError):  # as in the input pipeline
        record.label_tensors(tf.constant(serialized), tf.constant([H, W]), SPECS, few)


CLASSED = [name for name, spec in SPECS.items() if spec.class_ids]


@pytest.mark.parametrize("task", CLASSED)
def test_labels_are_counted_by_class(task: str) -> None:
    """The counts of the manifest, by hand."""
    class_ids = SPECS[task].class_ids
    assert class_ids is not None
    counted = class_ids.count(_features(task))
    assert dict(counted) == golden(task).COUNTS


@pytest.mark.parametrize("task", CLASSED)
def test_labels_follow_their_classes_into_a_larger_set(task: str) -> None:
    """Twice as many classes, the old ones last and in reverse order."""
    spec, features = SPECS[task], _features(task)
    class_ids = spec.class_ids
    assert class_ids is not None
    old = len(golden(task).CONFIG.classes)
    if class_ids.recode is None:
        assert spec.needs and SPECS[spec.needs[0]].class_ids  # it uses their ids
        return
    ids = {class_ids.first + place: class_ids.first + 2 * old - 1 - place for place in range(old)}
    class_ids.recode(features, ids, 2 * old)
    assert dict(class_ids.count(features)) == {ids[class_id]: count for class_id, count in golden(task).COUNTS.items()}


def _features(task: str) -> Any:
    serialized = _record(task, golden(task).example(H, W), (H, W))
    return tf.train.Example.FromString(serialized).features.feature
