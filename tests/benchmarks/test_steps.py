"""Rows of steps, start and COCO evaluation: sums and ratios by hand, the evaluation compared with Model Garden's."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import yaml
from pycocotools import mask as mask_utils

from benchmarks.data.coco_detections import TASKS, Image, made_up
from benchmarks.harness import operations
from benchmarks.harness.processes import Used
from benchmarks.profile import evaluation
from benchmarks.rows import coco_agreement, coco_evaluation, first_step, step_sides, steps
from benchmarks.rows.coco_evaluation import ModelGardens
from benchmarks.rows.step_sides import MODEL_GARDEN, SHARES, STUDENT, Sizes
from must_tf.data import record
from must_tf.spec import ImageInfo
from must_tf.tasks import discover
from must_tf.tasks.detection import metric as detection
from must_tf.tasks.masks import metric as masks
from tests.support.tiny import image_bytes, write_set

build = tf.autograph.experimental.do_not_convert(step_sides.build)  # AutoGraph takes longer than all else
TINY = Sizes(model_id=10, side=128, batch=1, proposals=32, masks=8)
NAMES = ("cat", "dog", "cup")
SIZES = ((96, 128), (120, 90), (100, 100))


def test_operations_of_convolutions_and_products_by_hand() -> None:
    """A multiply-add counts as two operations. Each gradient of a convolution costs as much as the convolution."""
    kernel, dense = tf.Variable(tf.ones([3, 3, 3, 4])), tf.Variable(tf.ones([4, 5]))

    @tf.function
    def step(images: tf.Tensor) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(images)
            found = tf.nn.conv2d(images, kernel, 2, "SAME")  # [2, 4, 4, 4]
            loss = tf.reduce_sum(tf.matmul(tf.reshape(found, [32, 4]), dense) ** 2.0)
        return tape.gradient(loss, [images, kernel, dense])

    graph = step.get_concrete_function(tf.zeros([2, 8, 8, 3])).graph
    convolution, product = 2 * (2 * 4 * 4 * 4) * (3 * 3 * 3), 2 * 32 * 4 * 5
    assert operations.count(graph) == 3 * convolution + 3 * product


def test_model_gardens_models_are_summed_as_often_as_the_student_has_their_like() -> None:
    def result(seconds: float, count: float) -> steps.Result:
        both = {call: {"seconds": [seconds] * 3, "cpu_seconds": [2 * seconds] * 3} for call in steps.CALLS}
        return both | {"operations": dict.fromkeys(steps.CALLS, count), "matrix_rate": 10.0}

    taken = {STUDENT: 12.0, "classification": 2.0, "maskrcnn": 10.0, "segmentation": 6.0, "pixels": 3.0}
    results = {name: [result(seconds, 5 * seconds)] for name, seconds in taken.items()}
    row = steps._row("train", results, Sizes())
    assert row.model_garden and row.floor
    assert row.model_garden.value == 2 + 10 + 6 + 2 * 3
    assert (row.ratio, row.cpu_ratio, row.reached) == (0.5, 0.5, True)
    assert row.floor.value == 60.0 / 10.0
    assert set(SHARES) == set(MODEL_GARDEN)
    assert "2 x pixels 3.00 s" in row.note
    assert "are 0.50 of Model Garden's, computed at" in row.why
    own = steps._own_row("train", results | {"maskrcnn": [result(9.0, 1.0)]}, Sizes())
    assert own.model_garden and (own.model_garden.value, own.reached) == (2 + 9 + 6 + 2 * 3, None)


def test_the_first_steps_row_is_of_medians() -> None:
    mine, theirs = ([Used(s, 2 * s, 1) for s in seconds] for seconds in ((9.0, 30.0, 10.0), (40.0, 41.0, 39.0)))
    said = "first step after 0:08: imports {} s, optimising the graph and running it 4.0 s"
    logs = [f"all is well\n{said.format(seconds)}\ntrain 2/2 images" for seconds in (3.0, 30.0, 4.5)]
    row = first_step.row(mine, theirs, Sizes(), [first_step.phases(log) for log in logs])
    assert (row.ratio, row.cpu_ratio, row.reached) == (0.25, 0.25, True)
    assert row.why.endswith(": imports 4.5 s, optimising the graph and running it 4.0 s, the checkpoint 1.5 s")


def test_what_a_command_does_after_its_checkpoint_is_not_timed(tmp_path: Path) -> None:
    run = tmp_path / "run"
    code = f"import pathlib, time; run = pathlib.Path({str(run)!r}); run.mkdir(); (run / 'ckpt-1.index').touch()"
    used = first_step._used([sys.executable, "-c", f"{code}; time.sleep(3)"], os.environ, run)
    assert 0 < used.seconds < 2.5


def test_both_commands_ask_for_the_same_sizes(tmp_path: Path) -> None:
    asked = {}
    for command in (first_step.ours, first_step.model_gardens):
        words = command("x/*", TINY, tmp_path / "run")
        assert "--mode=train" in words
        asked[command] = yaml.safe_load(words[-1].removeprefix("--params_override="))
    mine, theirs = asked.values()
    for each in asked.values():
        assert each["task"]["model"]["backbone"]["resnet"]["model_id"] == 10
        assert each["trainer"]["train_steps"] == each["trainer"]["steps_per_loop"] == 1
        assert each["task"]["train_data"]["global_batch_size"] == 1
    tasks, model = mine["task"]["tasks"], theirs["task"]["model"]
    assert mine["task"]["input_size"] == 128 and model["input_size"] == [128, 128, 3]
    assert tasks["detection"]["sampled_rois"] == model["roi_sampler"]["num_sampled_rois"] == 32
    assert tasks["masks"]["sampled_rois"] == model["mask_sampler"]["num_sampled_masks"] == 8
    assert theirs["task"]["train_data"]["shuffle_buffer_size"] == first_step.IMAGES


def test_mask_rcnn_is_the_students_network() -> None:
    """Both are built with the same proposals, samples, pyramid, anchors and NMS."""
    mine, theirs = build(STUDENT, TINY), build("maskrcnn", TINY)
    params, config = mine.task.task_config, theirs.task.task_config
    detection, model = params.tasks.detection, config.model
    proposals = mine.model.heads["detection"]._proposals.get_config()
    assert proposals == theirs.model.roi_generator.get_config() and proposals["num_proposals"] == 1000
    assert detection.sampled_rois == model.roi_sampler.num_sampled_rois == 32
    assert params.tasks.masks.sampled_rois == model.mask_sampler.num_sampled_masks == 8
    assert (params.model.min_level, params.model.max_level) == (model.min_level, model.max_level) == (3, 7)
    assert sorted(theirs.model.decoder.output_specs) == sorted(mine.model.trunk.decoder.output_specs)
    assert (detection.anchor_size, detection.anchor_scales) == (model.anchor.anchor_size, model.anchor.num_scales)
    assert detection.aspect_ratios == tuple(model.anchor.aspect_ratios)
    assert detection.nms == theirs.model.detection_generator.get_config()["nms_version"]
    (rpn, other) = (mine.model.heads["detection"]._rpn, theirs.model.rpn_head)
    assert rpn.get_config()["num_convs"] == other.get_config()["num_convs"] == 2


def test_depth_and_normals_have_three_channels_on_the_other_side() -> None:
    """Its step runs on labels of its classes."""
    built = build("pixels", TINY)
    assert built.model.output_shape["logits"][-1] == 3
    assert np.isfinite(float(built.train()))


def test_model_gardens_own_segmentation_has_its_own_head() -> None:
    """As in its experiment, on level 3 of the pyramid. Its step runs."""
    own, ours = (build(f"segmentation{suffix}", TINY) for suffix in (step_sides.OWN, ""))
    heads = [each.task.task_config.model.head for each in (own, ours)]
    assert [(head.level, head.feature_fusion) for head in heads] == [(3, None), (2, "pyramid_fusion")]
    assert [each.model.output_shape["logits"][1] for each in (own, ours)] == [128 // 8, 128 // 4]
    assert np.isfinite(float(own.train()))


@pytest.fixture
def pictures() -> list[Image]:
    """Three images with ellipses of three classes."""
    rng, found = np.random.default_rng(4), []
    for number, (height, width) in enumerate(SIZES, 1):
        rows = []
        for _ in range(4):
            top, left = rng.integers(0, height - 40), rng.integers(0, width - 40)
            rows.append((top, left, top + rng.integers(12, 40), left + rng.integers(12, 40)))
        crops = []
        for y0, x0, y1, x1 in rows:
            y, x = np.mgrid[-1 : 1 : (y1 - y0) * 1j, -1 : 1 : (x1 - x0) * 1j]
            crops.append((x**2 + y**2 <= 1).astype(np.uint8))
        labels = {
            "boxes": (np.array(rows) / [height, width, height, width]).astype(np.float32),
            "classes": rng.integers(1, 4, 4).astype(np.int32),
            "scores": np.ones([4], np.float32),
            "is_crowd": np.zeros([4], bool),
            "area": np.array([crop.sum() for crop in crops], np.float32),
            "crops": crops,
        }
        found.append(Image(labels, number, (height, width)))
    return found


def as_file(pictures: list[Image], path: Path) -> str:
    """Writes the images as COCO annotations. The category ids have gaps."""
    annotations: list[dict[str, Any]] = []
    for image in pictures:
        height, width = image.size
        for box, class_id, crop in zip(*(image.labels[key] for key in ("boxes", "classes", "crops")), strict=True):
            y0, x0, y1, x1 = np.round(box * [height, width, height, width]).astype(int).tolist()
            full = np.zeros(image.size, np.uint8, order="F")
            full[y0:y1, x0:x1] = crop
            rle = mask_utils.encode(full)
            segmentation = {"size": rle["size"], "counts": rle["counts"].decode()}
            one: dict[str, Any] = {
                "id": len(annotations) + 1,
                "image_id": image.number,
                "category_id": 10 * int(class_id),
            }
            one |= {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": int(crop.sum()), "iscrowd": 0}
            annotations.append(one | {"segmentation": segmentation})
    content = {
        "images": [{"id": each.number, "height": each.size[0], "width": each.size[1]} for each in pictures],
        "categories": [{"id": 10 * number, "name": name} for number, name in enumerate(NAMES, 1)],
        "annotations": annotations,
    }
    path.write_text(json.dumps(content))
    return str(path)


def as_records(pictures: list[Image], folder: Path) -> str:
    """Writes the images as records."""
    records = []
    for image in pictures:
        boxes = {key: value for key, value in image.labels.items() if key != "crops"}
        labelled = {
            task: record.Labelled(labels, "real:hand")
            for task, labels in (("detection", boxes), ("masks", image.labels))
        }
        png = image_bytes(np.zeros([*image.size, 3], np.uint8))
        records.append(record.encode(png, ImageInfo(str(image.number), *image.size), labelled, discover()))
    return write_set(folder, [records], TASKS)


def test_figures_are_those_of_model_gardens_evaluator(pictures: list[Image], tmp_path: Path) -> None:
    """Masks are pasted by Model Garden on both sides, so that only matching and ranking are compared."""
    theirs = ModelGardens(as_file(pictures, tmp_path / "instances.json"), NAMES)
    made = [made_up(image, len(NAMES), seed) for seed, image in enumerate(pictures)]
    theirs.add(theirs.prepared(pictures, made))
    expected = theirs.result()
    boxes, shapes = (module.Metric(SimpleNamespace(classes=NAMES)) for module in (detection, masks))
    for image, found in zip(pictures, made, strict=True):
        predictions = {"boxes": found.boxes, "classes": found.classes, "scores": found.scores}
        predictions |= {"is_crowd": np.zeros(len(found.boxes), bool), "area": np.zeros(len(found.boxes))}
        boxes.add(image.labels, predictions, ImageInfo(str(image.number), *image.size))
        coco_agreement.add_pasted(shapes, image, found)
    ranks = {"AP": "AP", "AP50": "AP50", "AP75": "AP75", "AR1": "ARmax1", "AR10": "ARmax10", "AR100": "ARmax100"}
    assert 0.1 < expected["AP"] < 0.9 and 0.1 < expected["mask_AP"] < 0.9
    # Model Garden takes the area of a detected box from its mask, if there is one. COCO and this project take the box.
    assert {key: boxes.result()[key] for key in ranks} == pytest.approx(
        {k: expected[v] for k, v in ranks.items()}, abs=1e-6
    )
    sized = {f"A{kind}{size}": f"A{kind}{size}" for kind in "PR" for size in "sml"}
    known = {key: expected[f"mask_{name}"] for key, name in (ranks | sized).items()}
    known = {key: value for key, value in known.items() if value >= 0}  # -1 means no object of that size
    assert {"APs", "ARs"} <= known.keys()
    assert shapes.result() == pytest.approx(known, abs=1e-6)


def test_memory_and_time_of_evaluation_have_their_targets() -> None:
    figures = {"AP": 0.25, "mask_AP": 0.125}
    mine = [{"ms": 40.0, "cpu_ms": 30.0, "mib": 0.1, "left_mib": 0.0625, "figures": figures}]
    theirs = [{"ms": 80.0, "cpu_ms": 90.0, "mib": 1.0, "left_mib": 1.0, "figures": figures}]
    time_row, memory_row = coco_evaluation.rows(mine, theirs, {"matching": 9.0, "ranking": 21.0})
    assert (time_row.ratio, time_row.reached, memory_row.ratio, memory_row.reached) == (0.5, True, 0.1, True)
    assert time_row.why.startswith("30.00 ms") and time_row.why.endswith("ranking 21.00, matching 9.00")
    assert memory_row.why.startswith("0.062 MiB are still resident")


def test_the_parts_of_an_evaluation_are_those_of_the_evaluator(
    pictures: list[Image], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each part is timed, and timing does not change the metrics."""
    glob = as_records(pictures, tmp_path)
    configs = coco_evaluation.configs_of(glob)
    ours, own = coco_evaluation.Ours(glob, configs, len(pictures)), evaluation._Parts(glob, configs)
    for number, image in enumerate(pictures):
        ours.add(ours.prepared([image], [made_up(image, len(NAMES), number)]))
        own.add(*evaluation._outputs(coco_evaluation.Ours(glob, configs, 1), image, len(NAMES), number))
    figures = {task: metric.result() for task, metric in own._metrics.items()}
    assert ours.result() == figures["detection"] | {f"mask_{key}": value for key, value in figures["masks"].items()}
    found = evaluation.parts(glob)
    tasks = [text.format(task=task) for text in (evaluation.KEEP, evaluation.MATCH) for task in TASKS]
    assert set(found) == {evaluation.READ, evaluation.RESTORE, evaluation.RANK, *tasks}
    assert all(each > 0 for each in found.values())


def test_agreement_is_computed_from_both_sides_figures() -> None:
    theirs = {"AP": 0.25, "ARmax10": 0.5, "APs": 0.125, "mask_AP": 0.125, "mask_ARmax1": 0.75, "mask_APl": -1.0}
    mine = {"AP": 0.25, "AR10": 0.5, "APs": 0.25, "mask_AP": 0.25, "mask_AR1": 0.5}
    boxes, shapes = coco_agreement.rows(mine, theirs, {"AP": 0.125, "AR1": 0.75})
    assert (boxes.ratio, boxes.reached, shapes.ratio, shapes.reached) == (0.0, True, 0.0, True)
    assert "0.12500 (APs)" in boxes.note and "0.25000 (AR1)" in shapes.note
    boxes, shapes = coco_agreement.rows(mine | {"AR10": 0.25}, theirs, {"AP": 0.125, "AR1": 0.625})
    assert (boxes.ratio, boxes.reached, shapes.ratio, shapes.reached) == (0.25, False, 0.125, False)
    assert "AR10 0.25000 and 0.50000" in boxes.why and "AR1 0.62500 and 0.75000" in shapes.why
