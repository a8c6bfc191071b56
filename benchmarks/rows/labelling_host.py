"""The processor time of `must label` besides its networks, per image, for all six tasks.

The teachers return prepared predictions, see `benchmarks/data/answers.py`. Everything else is as in the command:
reading, decoding, fitting, restoring, keeping, encoding, counting and writing; and judging the labels at the end, which
is timed by itself. The photos have the size of the networks' inputs, so that they are not resampled.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import tensorflow as tf

from benchmarks.data import answers, coco_data, input_data
from benchmarks.harness import apart, table
from benchmarks.harness.table import BenchmarkSettings, Comparison, Measure
from benchmarks.rows import labelling
from must_tf.tasks import discover
from tfrecords_tools.label import parallelism
from tfrecords_tools.stats.run import ENOUGH
from tfrecords_tools.teachers import BATCH_SIZE, About, Teacher
from tfrecords_tools.teachers.trained import TrainedTeacher

TASKS = (("classification",), ("detection", "masks"), ("segmentation",), ("depth",), ("normals",))  # of each teacher
TARGETS = {640: 25.0, 320: 12.0}  # longer side of the photos and of the networks' inputs -> milliseconds an image
IMAGES = 64
MANY = 1_000_000  # images of a large set, of which `ENOUGH` are judged


def teacher(tasks: Sequence[str], predictions: Mapping[str, Mapping[str, np.ndarray]], size: int) -> Teacher:
    """Makes a teacher whose network takes no time: it returns these predictions for every batch."""
    known = answers.classes()
    configs = {task: discover()[task].Config(enabled=True, classes=known.get(task, ())) for task in tasks}
    about = About(tasks[0], tuple(tasks), f"{len(tasks[0]):012}", {t: list(known[t]) for t in tasks if t in known})
    constants = {task: {key: tf.constant(value) for key, value in predictions[task].items()} for task in tasks}
    return TrainedTeacher(about, lambda pixels, shape: constants, configs, size)


def one_round(images: str, work: str, size: int, count: int = IMAGES) -> dict[str, float]:
    """Returns what an image takes, once warm: processor milliseconds of "label" and "judge", and "kB" of its labels.

    "label_half", "judge_half" and "kB_half" are the same with `--half-maps`. Called in its own process.

    Args:
      images: folder of the photos.
      work: an empty folder.
      size: longer side of the photos and of the networks' inputs, pixels.
      count: number of images labelled.
    """
    parallelism.settle()
    source = resized(Path(images), Path(work) / "photos", size)
    photos = [np.asarray(cv2.imread(str(path)))[..., ::-1] for path in sorted(source.iterdir())[:BATCH_SIZE]]
    predictions = answers.of_photos([photos[row % len(photos)] for row in range(BATCH_SIZE)], size)
    teachers = [teacher(tasks, predictions, size) for tasks in TASKS]
    found = dict[str, float]()
    for name, number in (("warm", 2 * BATCH_SIZE), ("timed", count)):
        path = Path(work) / name / "in" / "images.tfrecord"
        labelling.shard(coco_data.Set(source, source), number, path)
        for ending, half_maps in (("", False), ("_half", True)):
            out = path.parents[1] / f"out{ending}"
            label, judge = labelling.label_and_judge(teachers, path, out, half_maps)
            found[f"label{ending}"] = 1000 * _seconds(label) / number
            found[f"kB{ending}"] = (_bytes(out) - path.stat().st_size) / 1000 / number
            found[f"judge{ending}"] = 1000 * _seconds(judge) / number
    return found


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.tfrecord"))


def resized(images: Path, folder: Path, size: int) -> Path:
    """Writes as many photos as are used, with a longer side of `size` pixels."""
    folder.mkdir(parents=True)
    for path in sorted(images.iterdir())[:IMAGES]:
        photo = np.asarray(cv2.imread(str(path)))
        scale = size / max(photo.shape[:2])
        width, height = (round(side * scale) for side in (photo.shape[1], photo.shape[0]))
        small = photo if scale == 1.0 else cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(folder / f"{path.stem}.jpg"), small, [cv2.IMWRITE_JPEG_QUALITY, coco_data.JPEG_QUALITY])
    return folder


def _seconds(step: Callable[[], None]) -> float:
    """Returns the processor seconds of a step with all its threads and processes."""
    before = os.times()
    step()
    after = os.times()
    return sum(after[:4]) - sum(before[:4])


def measure(settings: BenchmarkSettings) -> list[Comparison]:
    """Measures both sizes in turn."""
    source = input_data.source(settings)
    found: dict[int, list[dict[str, float]]] = {size: [] for size in TARGETS}
    for number in range(settings.rounds):
        for size, known in found.items():
            work = settings.work / f"{size}-{number}"
            work.mkdir()
            given = {"images": str(source.images), "work": str(work), "size": size}
            known.append(apart.call("benchmarks.rows.labelling_host:one_round", given, work))
    return [row for size, rounds in found.items() for row in rows(size, rounds)]


def rows(size: int, rounds: Sequence[Mapping[str, float]]) -> list[Comparison]:
    """Returns the rows of one size: processor time per image, the part of judging, and the cores for an accelerator."""
    label, judge = ([one[part] for one in rounds] for part in ("label", "judge"))
    total = table.median([sum(pair) for pair in zip(label, judge, strict=True)])
    what = f"host cost of labelling, {size} px, six tasks"
    note = f"processor time without networks, {IMAGES} photos, {answers.FOUND} objects each; predictions are made up"
    why = f"labelling {statistics.median(label):.1f} ms, judging the labels {statistics.median(judge):.1f} ms"
    note = f"{note}; photos of the input's size are not resampled"
    large = [one + other * ENOUGH / MANY for one, other in zip(label, judge, strict=True)]
    cost = Comparison(what, "ms/image", total, against="", at_most=TARGETS[size], note=f"{note}; {why}", why=why)
    of_many = f"{ENOUGH:,} images are judged"
    cores = [
        Comparison(f"{what}, of {MANY:,} images", "ms/image", table.median(large), against="", note=of_many),
        *table.cores(what, total.value),
    ]
    halved = [
        Comparison(
            f"{title}, half maps",
            unit,
            table.median([one[f"{name}_half"] for one in rounds]),
            against="",
            note=f"whole maps: {statistics.median(one[name] for one in rounds):.1f} {unit}",
        )
        for name, title, unit in (
            ("label", f"{what}, without judging", "ms/image"),
            ("judge", f"{what}, judging", "ms/image"),
            ("kB", f"labels of six tasks, {size} px", "kB/image"),
        )
    ]
    return [cost, *cores, *halved]


ROWS: dict[str, Measure] = {"labelling-host": measure}
