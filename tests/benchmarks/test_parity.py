"""Parity rows: both sides read the same labels and have the same settings, and results are compared and kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tensorflow as tf
from pycocotools import mask as mask_utils
from pycocotools.coco import COCO

from benchmarks import __main__ as bench
from benchmarks.data import parity_data
from benchmarks.data.parity_data import MEASURED, OBJECTS, TRAIN, ParityRecords
from benchmarks.harness import apart
from benchmarks.harness.table import BenchmarkSettings, Comparison
from benchmarks.rows import parity, parity_settings, parity_sides
from benchmarks.rows.parity_settings import KINDS, RANDOM, Job
from must_tf.common.errors import UserError
from must_tf.model.trunk import DEVIATION, MEAN
from must_tf.runs.pretrained.weights import LITE0
from must_tf.training.task import StudentTask
from tests.support.mistakes import run_records
from tests.support.session.graphs import eagerly

COUNTS = {TRAIN: 4, MEASURED: 3}
SIDE = 128


def convert_here(words: list[str], out: Path) -> None:
    """Does the work of `parity_data._convert` in this process."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        run_records(["convert", *words, "--out", str(out), "--workers", "1"], patch)
    assert ended.value.code == 0


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> ParityRecords:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parity_data, "_convert", convert_here)
        return parity_data.scenes(tmp_path_factory.mktemp("scenes"), COUNTS, SIDE)


def job_of(records: ParityRecords, kind: str, side: str, begin: str = RANDOM, steps: int = 2) -> Job:
    own = getattr(records, side)
    ours = records.ours[MEASURED]
    return Job(kind, 1, steps, SIDE, 4, begin, own[TRAIN], own[MEASURED], ours, COUNTS[MEASURED], records.classes)


def our_batch(records: ParityRecords, kind: str, **task: Any) -> Any:
    """This project's first training batch, in the order of the records and not mirrored."""
    params = parity_settings.evaluation(job_of(records, kind, "ours"))
    params.train_data.shuffle_buffer, params.train_data.augmentation.flip = 1, False
    for name, values in task.items():
        getattr(params.tasks, name).override(values)
    return next(iter(StudentTask(params).build_inputs(params.train_data)))


def their_batch(records: ParityRecords, kind: str, begin: str = RANDOM) -> Any:
    """Model Garden's first training batch, in the order of the records and not mirrored."""
    job = job_of(records, kind, "model_gardens", begin)
    params = parity_settings.their_settings(job)
    data = params.task.train_data
    data.shuffle_buffer_size = 1
    (data.parser if kind in parity_settings.BOXED else data).aug_rand_hflip = False
    return next(iter(parity_sides._task(params, job).build_inputs(data)))


def test_both_sides_read_the_same_boxes_and_masks(records: ParityRecords) -> None:
    mine = our_batch(records, "maskrcnn")
    images, theirs = their_batch(records, "maskrcnn")
    np.testing.assert_allclose(images, (tf.cast(mine["image"], tf.float32) - MEAN) / DEVIATION, atol=1e-4)
    own = mine["targets"]["masks"]
    np.testing.assert_allclose(own["boxes"], theirs["gt_boxes"], atol=1e-3)
    found, classes = own["classes"].numpy(), theirs["gt_classes"].numpy()
    np.testing.assert_array_equal(np.maximum(found, 0), np.maximum(classes, 0))
    real = classes > 0
    assert real.sum() > 3 and set(classes[real]) <= set(range(1, 5)) and len(set(classes[real])) > 1
    ours, others = own["masks"].numpy()[real] > 127, theirs["gt_masks"].numpy()[real] > 0.5
    shared, either = ((ours & others).sum((1, 2)), (ours | others).sum((1, 2)))
    assert ours.shape[1:] == (parity_settings.TARGET_SIDE,) * 2
    # Model Garden takes a mask's values to lie at the corners of its cells.
    assert (shared / either).min() > 0.7 and np.mean(shared / either) > 0.85


def test_both_sides_read_the_same_boxes_for_retinanet(records: ParityRecords) -> None:
    """Model Garden's anchors have the classes of this project's boxes that they overlap, by pycocotools' IoU."""
    own = our_batch(records, "retinanet")["targets"]["detection"]
    _, theirs = their_batch(records, "retinanet")
    overlapping = 0
    for image, (boxes, classes) in enumerate(zip(own["boxes"].numpy(), own["classes"].numpy(), strict=True)):
        boxes, classes = boxes[classes > 0], classes[classes > 0]
        levels = sorted(theirs["anchor_boxes"], key=int)
        anchors = np.concatenate([theirs["anchor_boxes"][level][image].numpy().reshape(-1, 4) for level in levels])
        found = np.concatenate([theirs["cls_targets"][level][image].numpy().ravel() for level in levels])
        assert set(found[found > 0]) == set(classes)  # each object has at least its best anchor
        if not len(boxes):
            continue
        corners = [np.concatenate([each[:, :2], each[:, 2:] - each[:, :2]], 1) for each in (anchors, boxes)]
        overlaps = mask_utils.iou(corners[0].astype(float), corners[1].astype(float), [0] * len(boxes))
        certain = overlaps.max(1) > 0.55
        np.testing.assert_array_equal(found[certain], classes[overlaps.argmax(1)][certain])
        overlapping += certain.sum()
    assert overlapping > 5


def test_both_sides_read_the_same_classes_of_pixels_and_images(records: ParityRecords) -> None:
    mine = our_batch(records, "segmentation", segmentation={"stride": 1})
    _, theirs = their_batch(records, "segmentation")
    np.testing.assert_array_equal(mine["targets"]["segmentation"]["class_bytes"], theirs["masks"][..., 0])
    mine, (_, labels) = our_batch(records, "classification"), their_batch(records, "classification")
    np.testing.assert_array_equal(tf.argmax(mine["targets"]["classification"]["probability"], -1), labels)


def test_trained_weights_get_the_pixels_that_they_know(records: ParityRecords, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lite0's are (x - 127) / 128, also of Model Garden's input."""

    class Known:
        model = {
            "backbone": {"type": "efficientnet", "efficientnet": {"model_id": "b0", "se_ratio": 0.0}},
            "norm_activation": {"activation": "relu6", "norm_epsilon": 1e-3},
            "normalisation": {"mean": [127.0] * 3, "deviation": [128.0] * 3},
        }

    monkeypatch.setattr(parity_settings.weights, "read", lambda start: Known)
    mine = our_batch(records, "classification")
    images, _ = their_batch(records, "classification", LITE0)
    np.testing.assert_allclose(images, (tf.cast(mine["image"], tf.float32) - 127.0) / 128.0, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_both_sides_have_the_same_settings(records: ParityRecords, kind: str) -> None:
    job = job_of(records, kind, "ours", steps=300)
    mine, theirs = parity_settings.evaluation(job), parity_settings.their_settings(job)
    model, data = theirs.task.model, theirs.task.train_data
    assert model.backbone.as_dict() == mine.model.backbone.as_dict()
    assert model.norm_activation.as_dict() == mine.model.norm_activation.as_dict()
    assert model.input_size == [mine.input_size] * 2 + [3]
    assert theirs.task.losses.l2_weight_decay == mine.l2_weight_decay
    assert data.global_batch_size == mine.train_data.global_batch_size == 4
    flips = data.parser if kind in parity_settings.BOXED else data
    assert flips.aug_rand_hflip is mine.train_data.augmentation.flip is True
    assert theirs.trainer.train_steps == 300 and theirs.trainer.steps_per_loop == 20
    if kind == "classification":
        assert model.num_classes == 4 and not data.aug_crop
        return
    assert (model.min_level, model.max_level) == (mine.model.min_level, mine.model.max_level)
    assert model.decoder.as_dict() == mine.model.decoder.as_dict()
    assert flips.aug_scale_min == flips.aug_scale_max == mine.train_data.augmentation.scale_max == 1.0
    if kind == "segmentation":
        assert model.num_classes == 8 and model.head.num_filters == mine.tasks.segmentation.filters
        return
    detection = mine.tasks.detection
    assert model.num_classes == 5 and model.anchor.num_scales == detection.anchor_scales
    assert model.anchor.anchor_size == detection.anchor_size
    assert flips.max_num_instances == detection.max_objects == OBJECTS
    assert model.detection_generator.max_num_detections == detection.max_detections


def test_mask_rcnn_has_the_same_heads(records: ParityRecords) -> None:
    job = job_of(records, "maskrcnn", "ours")
    mine, model = parity_settings.evaluation(job).tasks, parity_settings.their_settings(job).task.model
    detection, masks = mine.detection, mine.masks
    assert (model.rpn_head.num_filters, model.rpn_head.num_convs) == (detection.filters, 2)
    assert (model.detection_head.num_filters, model.detection_head.fc_dims) == (detection.filters, detection.fc)
    assert model.roi_generator.num_proposals == model.roi_generator.test_num_proposals == detection.proposals
    assert model.roi_sampler.num_sampled_rois == detection.sampled_rois
    assert (model.mask_head.num_filters, model.mask_sampler.num_sampled_masks) == (masks.filters, masks.sampled_rois)


def test_a_training_of_each_side_ends_with_metrics_and_a_speed(records: ParityRecords, tmp_path: Path) -> None:
    for side in ("ours", "model_gardens"):
        job = job_of(records, "classification", side)._asdict()
        with eagerly():
            result = getattr(parity_sides, side)(job, str(tmp_path / side))
        assert 0.0 <= result["figures"]["classification/top1"] <= 1.0
        assert result["images_per_second"] > 0 and result["cpu_ms"] > 0


def test_the_first_loop_is_not_timed() -> None:
    loops = [parity_sides.Timing(*each) for each in ((20, 100.0, 90.0), (20, 8.0, 10.0), (20, 12.0, 6.0))]
    job = Job("classification", 1, 60, SIDE, 16, RANDOM, "", "", "", 1, {})
    result = parity_sides._result(job, {"classification/top1": 0.5, "classification/top5": 1.0}, loops)
    speed = {"images_per_second": 32.0, "cpu_ms": 25.0}
    assert result == {"figures": {"classification/top1": 0.5}} | speed
    assert [parity_settings.loop_of(steps) for steps in (2, 7, 60, 300)] == [1, 1, 20, 20]


def made_up(seeds: dict[str, list[float]]) -> parity.Results:
    speeds = {"ours": 30.0, "model_gardens": 25.0}
    return {
        side: [{"figures": {"classification/top1": x}, "images_per_second": speeds[side], "cpu_ms": 20.0} for x in each]
        for side, each in seeds.items()
    }


@pytest.mark.parametrize(("ours", "reached"), [([0.62, 0.64, 0.57], True), ([0.58, 0.59, 0.6], False)])
def test_the_target_is_model_gardens_mean_less_its_spread(ours: list[float], reached: bool) -> None:
    """0.6, 0.64 and 0.68 have the mean 0.64 and the deviation 0.04: at least 0.6 of 0.64 is 0.9375."""
    metric, speed = parity.compared("classification", made_up({"ours": ours, "model_gardens": [0.6, 0.64, 0.68]}), "x")
    assert metric.at_least == pytest.approx(0.9375)
    assert metric.ours and metric.ours.value == pytest.approx(sum(ours) / 3) and metric.reached is reached
    assert "Model Garden 0.6400 +- 0.0400 (mean and standard deviation of 3 seeds)" in metric.note
    assert "Model Garden 0.6000, 0.6400, 0.6800" in metric.why
    assert (speed.ratio, speed.reached) == (1.2, False) and speed.what.endswith("training")


def test_one_seed_has_no_spread_and_no_target() -> None:
    metric, _ = parity.compared("classification", made_up({"ours": [0.5], "model_gardens": [0.6]}), "x")
    assert metric.at_least is None and metric.reached is None and "no spread" in metric.note


def test_what_is_trained_is_not_trained_again(
    records: ParityRecords, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    called: list[tuple[str, int]] = []

    def train(function: str, arguments: dict[str, Any], work: Path) -> Any:
        side = function.rpartition(":")[2]
        if len(called) == 3 and side == "model_gardens":
            raise RuntimeError("stopped")
        called.append((side, arguments["job"]["seed"]))
        assert arguments["job"]["train"] == getattr(records, side)[TRAIN]
        return {"figures": {"classification/top1": 0.25}, "images_per_second": 5.0, "cpu_ms": 9.0}

    monkeypatch.setattr(apart, "call", train)
    monkeypatch.setattr(parity_data, "scenes", lambda *given: records)
    measured = parity.Parity(parity.Plan(), None, tmp_path / "kept")
    with pytest.raises(RuntimeError, match="stopped"):
        measured.rows("classification", 2, tmp_path / "a")
    assert called == [("ours", 1), ("model_gardens", 1), ("ours", 2)]
    called.append(("begins again", 0))
    rows = measured.rows("classification", 2, tmp_path / "b")
    assert called[4:] == [("model_gardens", 2)] and len(rows) == 2
    assert capsys.readouterr().err.count("kept from") == 3
    with pytest.raises(UserError, match="measured with other settings"):
        parity.Parity(parity.Plan(steps=60), None, tmp_path / "kept").rows("classification", 2, tmp_path / "c")


def test_a_kind_without_labels_is_said_not_to_be_measured(
    records: ParityRecords, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity_data, "scenes", lambda *given: records._replace(tasks=["detection"]))
    [row] = parity.Parity(parity.Plan(), None, tmp_path).rows("maskrcnn", 3, tmp_path)
    assert row.ours is None and "no maskrcnn labels" in row.note


def test_parity_is_measured_only_if_it_is_named() -> None:
    known = bench.measurements()
    assert not any(name.startswith("parity") for name in bench.chosen("", known))
    assert list(bench.chosen("parity", known)) == [f"parity-{kind}" for kind in KINDS]
    assert len(bench.chosen("", known)) == len(known) - len(KINDS)


def test_results_are_kept_beside_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = []

    def rows(self: parity.Parity, *given: Any) -> list[Comparison]:
        folders.append(self._results)
        return parity.compared("classification", made_up({"ours": [0.5], "model_gardens": [0.6]}), "x")

    monkeypatch.setattr(parity.Parity, "rows", rows)
    about = {"cores": 2, "load_at_start": 0.0, "images": "scenes", "rounds": 1, "versions": {"tensorflow": "1"}}
    (tmp_path / "work").mkdir()
    wanted = bench.chosen("parity-maskrcnn", bench.measurements())
    bench.measured(wanted, BenchmarkSettings(tmp_path / "work"), tmp_path / "out", about)
    assert folders == [tmp_path / "out" / "kept" / "parity" / "results"]


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two parts of three photos of 60 x 90 pixels. In the first of each, an object has no mask."""
    folder = tmp_path_factory.mktemp("coco")
    (folder / "photos").mkdir()
    for part in ("train", "val"):
        images: list[dict[str, Any]] = []
        objects: list[dict[str, Any]] = []
        for number in range(1, 4):
            name = f"{part}{number}.jpg"
            grey = np.full([60, 90, 3], 40 * number + (10 if part == "val" else 0), np.uint8)
            cv2.imwrite(str(folder / "photos" / name), grey)
            images.append({"id": number, "file_name": name, "height": 60, "width": 90})
            for left in (10, 50):
                corners = [left, 20, left + 30, 20, left + 30, 40, left, 40]
                entry: dict[str, Any] = {
                    "id": len(objects) + 1,
                    "image_id": number,
                    "category_id": 1 + (left == 50),
                    "iscrowd": 0,
                }
                entry |= {"bbox": [left, 20, 30, 20], "area": 600, "segmentation": [corners]}
                objects.append(entry if number > 1 or left == 10 else entry | {"segmentation": None})
        categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
        content = {"images": images, "annotations": objects, "categories": categories}
        (folder / f"instances_{part}.json").write_text(json.dumps(content))
    return folder


def test_photos_with_all_masks_are_used_and_the_rest_of_them_is_background(
    coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity_data, "_convert", convert_here)
    made = parity_data.photos(coco, tmp_path)
    assert made.images == {TRAIN: 2, MEASURED: 2} and "2 with an object without a mask are left out" in made.said
    assert set(made.tasks) == {"detection", "masks", "segmentation"}
    names = made.classes["segmentation"]
    assert sorted(names) == ["background", "cat", "dog"] and made.classes["detection"] == ["cat", "dog"]
    [first, _] = tf.data.TFRecordDataset(made.model_gardens[MEASURED]).as_numpy_iterator()
    features = tf.train.Example.FromString(first).features.feature
    assert features["image/source_id"].bytes_list.value == [b"0"]
    surface = tf.io.decode_png(features["image/segmentation/class/encoded"].bytes_list.value[0])[..., 0].numpy()
    wanted = np.full([60, 90], names.index("background"))
    wanted[20:40, 10:40], wanted[20:40, 50:80] = names.index("cat"), names.index("dog")
    np.testing.assert_array_equal(surface, wanted)
    masks = [tf.io.decode_png(each)[..., 0].numpy() for each in features["image/object/mask"].bytes_list.value]
    np.testing.assert_array_equal(np.stack(masks).max(0), wanted != names.index("background"))


def test_the_masks_of_the_background_are_whole_images(coco: Path, tmp_path: Path) -> None:
    """Read by pycocotools."""
    content, left_out = parity_data.with_masks(json.loads((coco / "instances_train.json").read_text()))
    (tmp_path / "all.json").write_text(json.dumps(parity_data.with_background(content)))
    api = COCO(str(tmp_path / "all.json"))
    background = api.loadAnns(api.getAnnIds(catIds=[3]))
    assert left_out == 1 and sorted(each["image_id"] for each in background) == [2, 3]
    assert all(api.annToMask(each).all() for each in background)


def test_a_folder_without_a_part_to_measure_on_is_refused(coco: Path, tmp_path: Path) -> None:
    train, other = parity_data.parts(coco)
    assert (train.annotations.name, other.annotations.name) == ("instances_train.json", "instances_val.json")
    assert train.images == other.images == coco / "photos"
    (tmp_path / "photos").symlink_to(coco / "photos")
    (tmp_path / "instances_train.json").symlink_to(coco / "instances_train.json")
    with pytest.raises(UserError, match="another instances_.*to measure on"):
        parity.Parity(parity.Plan(), tmp_path, tmp_path)
    for text, said in (("{", "is not JSON"), ("[1]", "has no images, annotations"), ('{"images": []}', "annotations")):
        (tmp_path / "instances_val.json").write_text(text)
        with pytest.raises(UserError, match=said):
            parity.Parity(parity.Plan(), tmp_path, tmp_path)
