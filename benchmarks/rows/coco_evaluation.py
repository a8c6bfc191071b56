"""The cost of COCO metrics: boxes and masks of 100 detections an image, beside Model Garden's evaluator.

Both sides get the same made-up detections on the same annotations, as batches of network outputs. They are timed from
there to the metrics: masks in the image, matching and ranking. This project does the first two between forward passes,
Model Garden all three after the last pass. All of it counts on both sides.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.data import coco_data
from benchmarks.data.coco_detections import DETECTIONS, TASKS, Detections, Image, images, made_up
from benchmarks.harness import apart, processes, table
from benchmarks.harness.table import BenchmarkSettings, Comparison, Figure, Measure
from benchmarks.profile import input_path
from benchmarks.rows import coco_agreement, converter
from must_tf.data import geometry, manifest
from must_tf.evaluation.evaluator import Evaluator
from must_tf.model import student
from must_tf.tasks import discover

IMAGES, WARM = 256, 16
BATCH, SIZE = 8, 640
MIB = 2**20


class Ours:
    """This project's evaluation of the two tasks, fed as `StudentTask.aggregate_logs` feeds it."""

    def __init__(self, glob: str, configs: dict[str, Any], count: int):
        params = student.StudentConfig(input_size=SIZE, pictures=0)
        params.validation_data.input_path = glob
        for name, config in configs.items():
            setattr(params.tasks, name, config)
        self._evaluator, self._next = Evaluator(params, count), 0

    def prepared(self, batch: list[Image], made: list[Detections]) -> Any:
        """Returns what a forward pass would give."""
        scaled = [_scaled(image) for image in batch]
        detection = {
            "boxes": np.stack([each.boxes * np.tile(size, 2) for each, size in zip(made, scaled, strict=True)]),
            "classes": np.stack([each.classes for each in made]),
            "scores": np.stack([each.scores for each in made]),
            "count": np.full([len(batch)], DETECTIONS, np.int32),
        }
        masks = detection | {"probability": np.stack([each.maps for each in made])}
        places = np.arange(self._next, self._next + len(batch))
        self._next += len(batch)
        info = [[*image.size, *size.astype(int)] for image, size in zip(batch, scaled, strict=True)]
        outputs = {"index": places, "image_info": np.array(info, np.int32)}
        return tf.nest.map_structure(tf.constant, outputs | {"predictions": {"detection": detection, "masks": masks}})

    def add(self, outputs: Any) -> None:
        """Measures a batch."""
        self._evaluator.add(outputs)

    def result(self) -> dict[str, float]:
        """Returns {metric: value}: "AP" for boxes, "mask_AP" for masks."""
        figures = self._evaluator.finish("", 0)
        names = {"detection": "", "masks": "mask_"}
        return {names[key.split("/")[0]] + key.split("/")[1]: value for key, value in figures.items()}


class ModelGardens:
    """Model Garden's COCOEvaluator, fed as its Mask R-CNN task feeds it; the annotations are COCO's own file."""

    def __init__(self, annotations: str, names: Sequence[str]):
        from official.vision.evaluation import coco_evaluator

        ids = {each["name"]: each["id"] for each in json.loads(Path(annotations).read_text())["categories"]}
        self._ids = np.array([0] + [ids[name] for name in names], np.int32)
        self._evaluator = coco_evaluator.COCOEvaluator(annotations, include_mask=True)

    def prepared(self, batch: list[Image], made: list[Detections]) -> Any:
        """Returns what a forward pass would give."""
        scaled = [_scaled(image) for image in batch]
        info = [
            [image.size, (SIZE, SIZE), size / image.size, (0, 0)] for image, size in zip(batch, scaled, strict=True)
        ]
        outputs = {
            "source_id": np.array([image.number for image in batch], np.int64),
            "image_info": np.array(info, np.float32),
            "num_detections": np.full([len(batch)], DETECTIONS, np.int32),
            "detection_boxes": np.stack([each.boxes * np.tile(s, 2) for each, s in zip(made, scaled, strict=True)]),
            "detection_classes": np.stack([self._ids[each.classes] for each in made]),
            "detection_scores": np.stack([each.scores for each in made]),
            "detection_masks": np.stack([each.maps for each in made]),
        }
        return tf.nest.map_structure(tf.constant, outputs)

    def add(self, outputs: Any) -> None:
        """Keeps a batch."""
        self._evaluator.update_state({}, outputs)

    def result(self) -> dict[str, float]:
        """Returns {metric: value} under Model Garden's names."""
        return {name: float(value) for name, value in self._evaluator.result().items()}


def _scaled(image: Image) -> np.ndarray:
    """Returns height and width of the image within the network's input, float32 [2]."""
    return geometry.fitted_size(tf.constant(image.size), SIZE).numpy().astype(np.float32)


def configs_of(glob: str) -> dict[str, Any]:
    """Returns the configs of the two tasks for these records."""
    classes = manifest.read(os.path.dirname(glob)).classes
    return {name: discover()[name].Config(enabled=True, classes=tuple(classes[name])) for name in TASKS}


def measured(side: str, glob: str, annotations: str) -> dict[str, Any]:
    """Returns time, processor time and memory per image of one side, and its metrics. Called in its own process."""
    configs = configs_of(glob)
    found, names = images(glob, configs), configs["detection"].classes

    def evaluator(count: int) -> Ours | ModelGardens:
        return Ours(glob, configs, count) if side == "ours" else ModelGardens(annotations, names)

    _evaluated(evaluator(WARM), found[:WARM], len(names))
    every = evaluator(len(found))
    before = _reset_peak()
    seconds, cpu, figures = _evaluated(every, found, len(names))
    held, left = _status("VmHWM") - before, _status("VmRSS") - before
    each = {"ms": 1000 * seconds, "cpu_ms": 1000 * cpu, "mib": held / MIB, "left_mib": left / MIB}
    return {key: value / len(found) for key, value in each.items()} | {"figures": figures}


def _evaluated(
    evaluator: Ours | ModelGardens, found: list[Image], classes: int
) -> tuple[float, float, dict[str, float]]:
    """Returns seconds and processor seconds within the evaluator, and its metrics."""
    spent = np.zeros(2)

    def now() -> np.ndarray:
        return np.array([time.perf_counter(), time.process_time()])

    for first in range(0, len(found), BATCH):
        batch = found[first : first + BATCH]
        outputs = evaluator.prepared(batch, [made_up(image, classes, first + i) for i, image in enumerate(batch)])
        start = now()
        evaluator.add(outputs)
        spent += now() - start
    start = now()
    figures = evaluator.result()
    spent += now() - start
    return float(spent[0]), float(spent[1]), figures


def _reset_peak() -> int:
    """Returns the bytes of resident memory now, and starts a new peak there."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _status(key: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) * 1024


def measure(settings: BenchmarkSettings) -> list[Comparison]:
    """Runs both sides in turn, each in its own processes."""
    source = coco_data.real(settings.data) if settings.data else coco_data.generated(settings.work / "scenes")
    many = coco_data.repeated(source, IMAGES, settings.work / "coco")
    environment = os.environ | apart.ENVIRONMENT
    processes.run(converter.ours(many, IMAGES, settings.work / "records"), environment, settings.work / "convert.txt")
    glob = str(settings.work / "records" / "*.tfrecord")
    found: dict[str, list[dict[str, Any]]] = {"ours": [], "model_gardens": []}
    for _ in range(settings.rounds):
        for side, results in found.items():
            arguments = {"side": side, "glob": glob, "annotations": str(many.annotations)}
            results.append(apart.call("benchmarks.rows.coco_evaluation:measured", arguments, settings.work))
    pasted = apart.call("benchmarks.rows.coco_agreement:pasted", {"glob": glob}, settings.work)
    figures = [found[side][0]["figures"] for side in ("ours", "model_gardens")]
    parts = apart.call("benchmarks.profile.evaluation:parts", {"glob": glob}, settings.work)
    return [*rows(found["ours"], found["model_gardens"], parts), *coco_agreement.rows(figures[0], figures[1], pasted)]


def rows(mine: list[dict[str, Any]], theirs: list[dict[str, Any]], parts: input_path.Parts) -> list[Comparison]:
    """Returns the rows of time and memory; `parts` says where this project's processor time goes."""

    def figure(results: list[dict[str, Any]], key: str) -> Figure:
        return table.median([each[key] for each in results], [each["cpu_ms"] for each in results])

    what = f"COCO evaluation, boxes and masks, {DETECTIONS} detections an image"
    return [
        Comparison(
            f"{what}: from outputs to figures",
            "ms/image",
            figure(mine, "ms"),
            figure(theirs, "ms"),
            at_most=0.5,
            note="separate rows compare the metrics of both sides",
            why=input_path.sentence(parts),
        ),
        Comparison(
            f"{what}: memory",
            "MiB/image",
            table.median([each["mib"] for each in mine]),
            table.median([each["mib"] for each in theirs]),
            at_most=0.25,
            note="growth of the peak until the metrics are computed, in this project with a part that does not grow",
            why=f"{statistics.median(each['left_mib'] for each in mine):.3f} MiB are still resident after the "
            "metrics are computed, the rest is temporary",
        ),
    ]


ROWS: dict[str, Measure] = {"evaluation-coco": measure}
