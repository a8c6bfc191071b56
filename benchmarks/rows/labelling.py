"""Compares `must label` with the forward passes of its networks: the same teachers, images and batches.

    python -m benchmarks.rows.labelling [--data COCO_FOLDER] [--images 64] [--size 256] [--backbone 50] [--json FILE]

The bare side has all images decoded and fitted in memory and discards its predictions. It runs one batch after the
other or, if that is faster, as many at a time as labelling does. Labelling also reads, decodes, fits, restores, keeps,
encodes, counts and writes, and judges the labels at the end, as the command does. Each side runs warm in its own
process, as its users run it, and they take turns.

The teachers have ResNets with random weights, whose maps are noise, which is slow to restore and to compress. So their
predictions are computed, and then replaced by made up ones, see `benchmarks/data/answers.py`. Without an accelerator
both sides share the processor: then the ratio of processor time shows how much work labelling adds, and other programs'
load hardly changes it. Memory is measured in processes of its own, with a small network.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import tensorflow as tf
import typer

from benchmarks.data import answers, coco_data
from benchmarks.harness import apart, processes
from must_tf.common import devices, tables
from must_tf.common.errors import exit_on_user_error
from must_tf.data import manifest, record
from must_tf.model import forward, student
from must_tf.pseudo_gate import verdict
from must_tf.spec import ImageInfo
from tfrecords_tools.label import parallelism
from tfrecords_tools.label.job import LabelJob, write_shard
from tfrecords_tools.stats import run as stats
from tfrecords_tools.teachers import BATCH_SIZE, About, Predictions, Teacher, stacked
from tfrecords_tools.teachers.frames import view
from tfrecords_tools.teachers.trained import Forward, TrainedTeacher
from tfrecords_tools.writing import shards

TEACHERS: tuple[tuple[str, ...], ...] = (("depth",), ("segmentation",), ("detection", "masks"))
CLASSES = {"segmentation": 150, "detection": 80, "masks": 80}  # as ADE20K and COCO have
MEMORY_SIZES = (256, 2048)  # records
MIB = 1 << 20
WARM = 2  # batches before the timing
LOWEST = -1e30  # no prediction is below

Seconds = dict[str, list[Any]]  # side, or "judge" -> (wall-clock seconds, processor seconds) of each round
Steps = tuple[Callable[[], None], ...]
Answers = Mapping[str, Mapping[str, np.ndarray]]  # {task: {key: [B, ...]}}


@dataclasses.dataclass(frozen=True)
class LabellingResult:
    """One figure; the median of several rounds."""

    what: str
    unit: str
    value: float
    rounds: tuple[float, ...] = ()


def teacher(tasks: Sequence[str], size: int, backbone: int, given: Answers | None = None) -> Teacher:
    """Makes a student with these heads and random weights. It gives these answers, if any, to every batch."""
    config = student.StudentConfig(input_size=size)
    config.model.backbone.resnet.model_id = backbone
    for task in tasks:
        head = getattr(config.tasks, task)
        head.enabled, head.classes = True, tuple(f"class-{number}" for number in range(CLASSES.get(task, 0)))
    model = student.build(config)
    classes = {task: list(getattr(config.tasks, task).classes) for task in tasks if task in CLASSES}
    network = forward.of(model) if given is None else _answering(forward.of(model), {t: given[t] for t in tasks})
    return TrainedTeacher(About("random", tuple(tasks), "0" * 12, classes), network, student.enabled(config), size)


def _answering(network: Forward, given: Answers) -> Forward:
    """Returns a network that computes its predictions and gives these answers instead."""
    constants = {task: {key: tf.constant(value) for key, value in of_task.items()} for task, of_task in given.items()}

    def run(pixels: tf.Tensor, shape: tf.Tensor) -> Predictions:
        computed = tf.nest.flatten(network(pixels, shape))
        # Never, but TensorFlow cannot know. It leaves out what no result depends on.
        is_low = tf.reduce_any([tf.reduce_min(tf.cast(one, tf.float32)) < LOWEST for one in computed])
        return tf.nest.map_structure(lambda value: value + tf.cast(is_low, value.dtype), constants)

    return run


def shard(source: coco_data.Set, count: int, path: Path) -> list[bytes]:
    """Writes `count` unlabelled records that repeat the source's images; returns their images."""
    files = sorted(source.images.iterdir())
    images = [file.read_bytes() for file in files[:count]]
    sizes = [tuple(tf.io.decode_image(image, channels=3).shape[:2]) for image in images]
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for number in range(count):
            image, (height, width) = images[number % len(images)], sizes[number % len(images)]
            writer.write(record.encode(image, ImageInfo(f"image-{number}", height, width), {}, {}))
    return [images[number % len(images)] for number in range(count)]


def bare(teachers: Sequence[Teacher], images: Sequence[bytes], at_a_time: int = 1) -> Callable[[], None]:
    """Prepares the forward passes, `at_a_time` batches in parallel, and nothing else."""
    frames = {one.frame for one in teachers}
    views = {frame: [view(record.decode_image(image), frame) for image in images] for frame in frames}
    batches = [
        {
            frame: (stacked([v.pixels for v in part]), stacked([v.info for v in part]))
            for frame in frames
            for part in [views[frame][start : start + BATCH_SIZE]]
        }
        for start in range(0, len(images), BATCH_SIZE)
    ]

    def forward(batch: Any) -> None:
        for one in teachers:
            one.forward(*batch[one.frame])

    def run() -> None:
        with concurrent.futures.ThreadPoolExecutor(at_a_time) as pool:
            list(pool.map(forward, batches))

    return run


def label_and_judge(teachers: Sequence[Teacher], source: Path, out: Path, half_maps: bool = False) -> Steps:
    """Prepares labelling and judging of one shard, the two steps of the command."""
    out.mkdir(parents=True, exist_ok=True)
    shards.claim(str(out), "benchmark", ["benchmark"])
    ready = tuple(_Ready(one) for one in teachers)
    sha256, path = shards.digest(str(source))[1], str(out / shards.names(1)[0])
    job = LabelJob(str(source), sha256, path, ready, half_maps=half_maps)
    classes = {task: names for one in teachers for task, names in one.about.classes.items()}

    def write() -> None:
        info = write_shard(job, lambda count: None)
        manifest.write(str(out), shards.combined_manifest([info], classes, ["benchmark"]))
        (out / verdict.NAME).unlink(missing_ok=True)  # a verdict of the last round would be reused

    def judge() -> None:
        stats.after_labelling(str(out), force=True)

    return write, judge


class _Ready(NamedTuple):
    """A teacher that is in memory already."""

    teacher: Teacher

    @property
    def about(self) -> About:
        """Returns the teacher's description."""
        return self.teacher.about

    def load(self) -> Teacher:
        """Returns the teacher itself."""
        return self.teacher


def timed(run: Callable[[], None]) -> tuple[float, float]:
    """Returns wall-clock seconds, and seconds of all processors."""
    start, before = time.monotonic(), time.process_time()
    run()
    return time.monotonic() - start, time.process_time() - before


def sides(teachers: Sequence[Teacher], source: coco_data.Set, work: Path, count: int) -> dict[str, Steps]:
    """Prepares the steps of all sides on the same images.

    "bare" runs one forward pass after the other, "beside" as many at a time as labelling does; "label" has two steps.
    """
    images = shard(source, count, work / "in" / "images.tfrecord")
    return {
        "bare": (bare(teachers, images),),
        "beside": (bare(teachers, images, parallelism.passes()),),
        "label": label_and_judge(teachers, work / "in" / "images.tfrecord", work / "out"),
    }


def one_side(side: str, given: dict[str, Any]) -> list[tuple[float, float]]:
    """Returns the seconds of each step of one side, warm. Called in its own process.

    Args:
      side: a key of `sides`.
      given: "images", "annotations" and "work" are paths; "count", "size" and "backbone" as for `main`.
    """
    if side != "bare":
        parallelism.settle()  # before the first computation, as in the command's workers
    source = coco_data.Set(Path(given["images"]), Path(given["annotations"]))
    paths = sorted(source.images.iterdir())[:BATCH_SIZE]
    photos = [np.asarray(record.decode_image(path.read_bytes())) for path in paths]
    made_up = answers.of_photos([photos[row % len(photos)] for row in range(BATCH_SIZE)], given["size"])
    teachers = [teacher(tasks, given["size"], given["backbone"], made_up) for tasks in TEACHERS]
    for step in sides(teachers, source, Path(given["work"]) / "warm", WARM * BATCH_SIZE)[side]:
        step()  # traces the networks and fills the caches
    return [timed(step) for step in sides(teachers, source, Path(given["work"]), given["count"])[side]]


def measured(source: coco_data.Set, work: Path, sizes: dict[str, int], rounds: int) -> Seconds:
    """Runs all sides in turn. Returns only the faster bare side, as "bare"; "judge" is the second step of "label"."""
    given = sizes | {"images": str(source.images), "annotations": str(source.annotations), "work": str(work / "sides")}
    found: Seconds = {"bare": [], "beside": [], "label": []}
    judged = list[Any]()
    for number in range(rounds):
        for side, known in found.items():
            call = {"side": side, "given": given}
            first, *others = apart.call("benchmarks.rows.labelling:one_side", call, work)
            known.append(first)
            judged += others
            clock = " + ".join(f"{wall:.1f}" for wall, _ in (first, *others))
            print(f"{side}, round {number + 1}: {clock} s", file=sys.stderr, flush=True)
    fastest = min(("bare", "beside"), key=lambda side: statistics.median(seconds for seconds, _ in found[side]))
    return {"bare": found[fastest], "label": found["label"], "judge": judged}


def with_judging(found: Seconds, part: float = 1.0) -> list[tuple[float, float]]:
    """Returns the seconds of each round of labelling and of judging this part of the images."""
    pairs = zip(found["label"], found["judge"], strict=True)
    return [(label[0] + part * judge[0], label[1] + part * judge[1]) for label, judge in pairs]


def rates(found: Seconds, count: int) -> list[LabellingResult]:
    """Returns images/s of both sides, and their ratio."""

    def row(what: str, unit: str, values: Sequence[float]) -> LabellingResult:
        return LabellingResult(what, unit, statistics.median(values), tuple(values))

    label = with_judging(found)
    pairs = list(zip(found["bare"], label, strict=True))
    return [
        row("bare forward passes", "images/s", [count / seconds for seconds, _ in found["bare"]]),
        row("label", "images/s", [count / seconds for seconds, _ in label]),
        row("label over bare, by the clock", "", [one[0] / other[0] for one, other in pairs]),
        row("label over bare, by processor time", "", [one[1] / other[1] for one, other in pairs]),
    ]


def memory(source: coco_data.Set, work: Path, sizes: Sequence[int] = MEMORY_SIZES) -> list[LabellingResult]:
    """Returns the peak memory of processes that label datasets of different sizes, and the growth to the largest."""
    rows = []
    for count in sizes:
        path = work / f"of-{count}" / "images.tfrecord"
        shard(source, count, path)
        command = [sys.executable, "-m", "benchmarks.rows.labelling", "--shard", str(path)]
        used = processes.run(command, os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}, work / "log.txt")
        rows.append(LabellingResult(f"peak memory, {count} records", "MiB", used.peak_bytes / MIB))
    return [*rows, LabellingResult(f"peak memory at {sizes[-1]} over {sizes[0]}", "", rows[-1].value / rows[0].value)]


def label_small(path: Path) -> None:
    """Labels a shard with depth by a small network; `memory` measures it."""
    parallelism.settle()
    with tempfile.TemporaryDirectory(prefix="labelling-") as folder:
        for step in label_and_judge([teacher(("depth",), 128, 10)], path, Path(folder)):
            step()


def table(rows: Sequence[LabellingResult]) -> list[str]:
    """Formats the rows for people."""
    cells = [(row.what, f"{row.value:.3f}", row.unit) for row in rows]
    return tables.table(("", "", ""), cells).splitlines()


def main(
    data: Annotated[Path | None, typer.Option(help="COCO's folder; without it scenes are generated.")] = None,
    images: Annotated[int, typer.Option(help="Number of images labelled in each round.")] = 64,
    size: Annotated[int, typer.Option(help="Side of the networks' input.")] = 256,
    backbone: Annotated[int, typer.Option(help="Number of layers of the ResNet.")] = 50,
    rounds: Annotated[int, typer.Option(help="How often each side is run.")] = 3,
    json_file: Annotated[Path | None, typer.Option("--json", help="File for the results.")] = None,
    shard_file: Annotated[Path | None, typer.Option("--shard", hidden=True)] = None,
) -> None:
    """Prints and stores rates and memory."""
    if shard_file:
        label_small(shard_file)
        return
    with tempfile.TemporaryDirectory(prefix="labelling-") as folder:
        work = Path(folder)
        source = coco_data.real(data) if data else coco_data.generated(work / "scenes")
        rows = memory(source, work)
        sizes = {"count": images, "size": size, "backbone": backbone}
        rows += rates(measured(source, work, sizes, rounds), images)
    about = {"cores": devices.cores(), "load": os.getloadavg()[0], "size": size, "backbone": backbone}
    print("\n".join(table(rows)))
    print(f"{about['cores']} cores, load {about['load']:.1f} at the end; images: {data or 'generated scenes'}")
    if json_file:
        json_file.write_text(json.dumps(about | {"rows": [dataclasses.asdict(row) for row in rows]}, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(exit_on_user_error(lambda: typer.run(main)))
