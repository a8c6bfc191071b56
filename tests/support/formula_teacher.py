"""A teacher without a network, for tests that are not about networks: its labels are a formula of the first pixel.

Every image has one colour (r, g, b), so that any crop or size of it gives the same labels:

    depth: 1 + r / 64 metres everywhere      detection: a box of class 1 over the left half, none where g < 128
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from must_tf.data import manifest, record
from must_tf.spec import ImageInfo, Labels, TaskConfig
from must_tf.tasks import discover
from tests.support.tiny import image_bytes
from tfrecords_tools.label.arguments import LabelRequest
from tfrecords_tools.label.parallelism import Parallelism
from tfrecords_tools.label.results import TaskResult, per_task
from tfrecords_tools.label.run import LabelResult, label_records
from tfrecords_tools.teachers import About, Predictions
from tfrecords_tools.teachers.frames import InputFrame
from tfrecords_tools.writing import shards

H, W = 6, 8
CLASSES = {"detection": ["thing"]}


class Formula(NamedTuple):
    """The teacher and its description in one."""

    about: About
    log: str = ""  # a file that gets a line each time a process loads the teacher
    seconds: float = 0.0  # spent on each image if `seen` is set
    seen: str = ""  # a file that gets a byte for each image
    deadly: str = ""  # a file: the first process that labels an image without it writes it and is killed

    def load(self) -> Formula:
        """Returns itself."""
        if self.log:
            with open(self.log, "a") as file:
                file.write(f"{os.getpid()} {os.environ.get('CUDA_VISIBLE_DEVICES')}\n")
        print("a table of restored weights")
        return self

    @property
    def configs(self) -> dict[str, TaskConfig]:
        """The tasks' defaults, with the class names."""
        return {task: discover()[task].Config(classes=tuple(CLASSES.get(task, ()))) for task in self.about.tasks}

    @property
    def frame(self) -> InputFrame:
        """A small square."""
        return InputFrame(8, 8)

    def forward(self, pixels: np.ndarray, info: np.ndarray) -> Predictions:
        """See `teachers.Teacher`."""
        del info
        return {"pixels": pixels}

    def labels(self, predictions: Predictions, info: np.ndarray, source_id: str, step: int = 1) -> dict[str, Labels]:
        """See `teachers.Teacher`."""
        del source_id
        die_once(self.deadly)
        if self.seen:
            time.sleep(self.seconds)
            with open(self.seen, "ab") as file:
                file.write(b".")
        labels = formula(np.full([info[0], info[1], 3], predictions["pixels"][0, 0]))
        return {task: labels[task] for task in self.about.tasks}

    def notes(self, predictions: Predictions) -> list[str]:
        """See `teachers.Teacher`."""
        del predictions
        return []


def die_once(mark: str) -> None:
    """Kills this process, as a lack of memory would, unless the file exists, which it then does. "" never kills."""
    if mark and not os.path.exists(mark):
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)


def formula(image: np.ndarray) -> dict[str, Labels]:
    """Returns the labels of uint8 [h, w, 3] by task."""
    height, width = image.shape[:2]
    red, green, _ = (int(value) for value in image[0, 0])
    boxes = np.array([[0.0, 0.0, 1.0, 0.5]] if green >= 128 else np.zeros([0, 4]), np.float32)
    count = len(boxes)
    metres = np.full([height, width], 1 + red / 64, np.float32)
    return {
        "depth": {"metres": metres, "inverse_depth": np.zeros_like(metres)},
        "detection": {
            "boxes": boxes,
            "classes": np.ones([count], np.int32),
            "scores": np.full([count], 0.5, np.float32),
            "is_crowd": np.zeros([count], bool),
            "area": np.full([count], height * width / 2, np.float32),
        },
    }


def teacher(tasks: Sequence[str] = ("depth",), teacher_id: str = "f0", **options: Any) -> Formula:
    """Returns a teacher that labels these tasks."""
    classes = {task: CLASSES[task] for task in tasks if task in CLASSES}
    facts = {"kind": "adapter", "step": 7, "units": {"depth": "metres"}}
    return Formula(About(f"formula/{teacher_id}", tuple(tasks), teacher_id, classes, facts), **options)


def colour(number: int) -> tuple[int, int, int]:
    """Returns the colour of image `number`."""
    return number * 37 % 256, number * 101 % 256, number % 256


def image_record(number: int, origins: dict[str, str] | None = None, annotated: tuple[int, ...] | None = None) -> bytes:
    """Returns the record of image `number` with labels (all 2 m, no box) of these origins."""
    labels = {"depth": {"metres": np.full([H, W], 2, np.float32), "inverse_depth": np.zeros([H, W], np.float32)}}
    labels["detection"] = formula(np.zeros([H, W, 3], np.uint8))["detection"]
    labelled_tasks = {
        task: record.Labelled(labels[task], origin, annotated if task == "detection" else None)
        for task, origin in (origins or {}).items()
    }
    picture = image_bytes(np.full([H, W, 3], colour(number), np.uint8))
    return record.encode(picture, ImageInfo(str(number), H, W), labelled_tasks, discover())


def write(folder: Path, files: Sequence[Sequence[bytes]], **teachers: Any) -> str:
    """Writes a record set and returns the glob of its files."""
    shards.claim(str(folder), "tests", ["tests"])
    names = shards.names(len(files))
    infos = [shards.write_shard(str(folder / name), records) for name, records in zip(names, files, strict=True)]
    manifest.write(str(folder), shards.combined_manifest(infos, CLASSES, ["tests"], teachers=teachers))
    return f"{folder}/*.tfrecord"


def request(records: str, *teachers: Formula, replace: Sequence[str] = ()) -> LabelRequest:
    """Returns the request that these teachers label these records."""
    files = sorted(tf.io.gfile.glob(records))
    return LabelRequest(list(teachers or [teacher()]), files, os.path.dirname(records), frozenset(replace))


def labelled(what: LabelRequest, out: Path, **parallelism: Any) -> LabelResult:
    """Labels in this process, or as `parallelism` says."""
    return label_records(what, str(out), ["test"], Parallelism(**parallelism))


def content(out: Path) -> dict[str, bytes]:
    """Returns the bytes of the shards, and of the manifest without the time, by file name.

    Checks that no partial files and locks are left.
    """
    assert not [*out.rglob("*partial"), *out.rglob(".lock*"), *out.rglob(".turn")]
    contents = {path.name: path.read_bytes() for path in out.glob("*.tfrecord")}
    written = manifest.read(str(out))
    times = {entry.pop("time") for entry in written.teachers.values()}
    assert len(times) == 1, times
    return contents | {manifest.NAME: repr(written).encode()}


BOTH = ("depth", "detection")


def origins(out: Path) -> list[dict[str, str]]:
    """Returns the origins of every record."""
    records = tf.data.TFRecordDataset(sorted(map(str, out.glob("*.tfrecord")))).as_numpy_iterator()
    return [record.origins_of(tf.train.Example.FromString(each)) for each in records]


def results(records: str, out: Path, **options: Any) -> dict[str, TaskResult]:
    """Labels depth and detection with one teacher and returns the results."""
    label_request = request(records, teacher(BOTH), **options)
    result = labelled(label_request, out)
    assert result.manifest
    return per_task(result.source, result.manifest, label_request)
