"""Records for both sides' input paths: the same images, each side's records written by its own converter."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import tensorflow as tf

from benchmarks.data import coco_data
from benchmarks.data.coco_data import Set
from benchmarks.harness import apart, processes
from benchmarks.harness.table import BenchmarkSettings
from benchmarks.rows import converter
from must_tf.data import manifest, record
from must_tf.spec import Labels
from must_tf.tasks import discover
from tfrecords_tools.writing import shards

IMAGES = 256  # per dataset; more would only repeat the same photos
CELL = 4  # pixels per cell of a teacher's map, which is enlarged to the image
BLUR = 4 * CELL  # pixels: surfaces are smooth, and edges are a few cells wide
SCENE_CLASSES, IMAGE_CLASSES, FARTHEST = 150, 1000, 8.0  # as ADE20K and ImageNet have; metres, as in a room
TEACHER = "pseudo:0123456789ab"

Maps = dict[str, Labels]


class Sets(NamedTuple):
    """Globs of record files, and the class names of each task."""

    ours: str
    model_gardens: str
    classes: dict[str, tuple[str, ...]]


def source(settings: BenchmarkSettings, count: int | None = None) -> Set:
    """Returns the given photos, or without any, `count` or the usual number of generated scenes."""
    return coco_data.real(settings.data) if settings.data else coco_data.generated(settings.work / "scenes", count)


def ours(source: Set, work: Path, images: int = IMAGES) -> Sets:
    """Writes `count` images with boxes and masks as this project's records only."""
    many = coco_data.repeated(source, images, work / "coco")
    _convert(converter.ours(many, images, work / "ours"), work / "ours.txt")
    classes = {name: tuple(each) for name, each in manifest.read(str(work / "ours")).classes.items()}
    return Sets(str(work / "ours" / "*.tfrecord"), "", classes)


def both(source: Set, work: Path, images: int = IMAGES) -> Sets:
    """Writes the same images twice: as this project's records and as Model Garden's."""
    mine = ours(source, work, images)
    many = Set(work / "coco" / "images", work / "coco" / "instances.json")
    _convert(converter.model_gardens(many, images, work / "model_gardens"), work / "model_gardens.txt")
    return mine._replace(model_gardens=str(work / "model_gardens" / "train*"))


def _convert(command: list[str], log: Path) -> None:
    processes.run(command, os.environ | apart.ENVIRONMENT, log)


def crowded(source: Set, folder: Path, objects: int) -> Set:
    """Replaces each image's objects by ellipses, a few to forty percent of the image's side in size."""
    content, rng = json.loads(source.annotations.read_text()), np.random.default_rng(0)
    angles, annotations = np.linspace(0.0, 2 * np.pi, 24, endpoint=False), list[coco_data.Entry]()
    categories = [each["id"] for each in content["categories"]]
    for image in content["images"]:
        size = np.array([image["width"], image["height"]], np.float64)
        for number in range(objects):
            radius = size * rng.uniform(0.03, 0.2, 2)
            centre = rng.uniform(radius, size - radius)
            points = centre + radius * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
            box = [*(centre - radius), *(2 * radius)]
            entry = {"id": len(annotations) + 1, "image_id": image["id"], "iscrowd": 0, "bbox": box}
            entry["category_id"] = categories[number % len(categories)]
            entry |= {"area": float(np.pi * radius.prod()), "segmentation": [points.ravel().tolist()]}
            annotations.append(entry)
    folder.mkdir()
    (folder / "instances.json").write_text(json.dumps(content | {"annotations": annotations}))
    return Set(source.images, folder / "instances.json")


def linked(glob: str, folder: Path, times: int) -> str:
    """Links the record files under `times` names each, to look like a larger dataset."""
    folder.mkdir()
    for path in sorted(tf.io.gfile.glob(glob)):
        for number in range(times):
            os.link(path, folder / f"{number:05}-{os.path.basename(path)}")
    return str(folder / "*")


def six_tasks(sets: Sets, out: Path) -> Sets:
    """Writes records with labels of all six tasks; those other than boxes and masks are pseudo labels."""
    (out / shards.FOLDER).mkdir(parents=True)
    paths = sorted(tf.io.gfile.glob(sets.ours))
    infos = [shards.write_shard(str(out / os.path.basename(path)), _with_maps(path)) for path in paths]
    classes = sets.classes | {
        "segmentation": tuple(f"scene-{index}" for index in range(SCENE_CLASSES)),
        "classification": tuple(f"image-{index}" for index in range(IMAGE_CLASSES)),
    }
    manifest.write(str(out), shards.combined_manifest(infos, classes, ["made for a benchmark"]))
    return Sets(str(out / "*.tfrecord"), sets.model_gardens, classes)


def _with_maps(path: str) -> Iterator[bytes]:
    for index, each in enumerate(tf.data.TFRecordDataset(path).as_numpy_iterator()):
        example = tf.train.Example.FromString(each)
        stored = np.frombuffer(example.features.feature["image/encoded"].bytes_list.value[0], np.uint8)
        labels = maps(np.asarray(cv2.imdecode(stored, cv2.IMREAD_GRAYSCALE)), np.random.default_rng(index))
        labelled = {task: record.Labelled(one, TEACHER) for task, one in labels.items()}
        yield record.merge(each, labelled, discover())


def maps(grey: np.ndarray, rng: np.random.Generator) -> Maps:
    """Makes label maps for an image uint8 [h, w] with the grain of predictions: computed per cell, then enlarged."""
    height, width = grey.shape
    cells = (-(-width // CELL), -(-height // CELL))
    light = cv2.resize(cv2.GaussianBlur(grey, (0, 0), BLUR), cells, interpolation=cv2.INTER_AREA) / 255.0
    near = np.linspace(1.0, 0.0, cells[1])[:, None]  # the ground rises towards the horizon

    def enlarged(values: np.ndarray) -> np.ndarray:
        return cv2.resize(values.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)

    cell_metres = 1.0 + (FARTHEST - 1.0) * (0.7 * near + 0.3 * light)
    slope = enlarged(np.stack([*np.gradient(cell_metres * 10.0)[::-1], -np.ones_like(light)], axis=-1))
    levels = np.floor(light * 12.0)  # a band of similar brightness is one region
    classes = cv2.resize(levels, (width, height), interpolation=cv2.INTER_NEAREST).astype(np.int32)
    confidence = np.clip(enlarged(0.5 + 0.5 * np.abs(light * 12.0 - levels)), 0.0, 1.0)
    probability = rng.dirichlet(np.full([IMAGE_CLASSES], 0.05)).astype(np.float32)
    return {
        "classification": {"probability": probability},
        "segmentation": {"classes": classes, "confidence": confidence},
        "depth": {"metres": enlarged(cell_metres)},
        "normals": {"normals": slope / np.linalg.norm(slope, axis=-1, keepdims=True)},
    }


def task_configs(tasks: tuple[str, ...], classes: dict[str, tuple[str, ...]]) -> dict[str, Any]:
    """Returns the tasks' default configs with these classes."""
    return {name: discover()[name].Config(enabled=True, classes=classes.get(name, ())) for name in tasks}
