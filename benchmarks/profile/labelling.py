"""Profiles the host's part of `must label`: processor time of each step, with whole maps and with half maps.

    python -m benchmarks.profile.labelling [--data COCO_FOLDER] [--size 640] [--images 16]

One image after the other, one operation at a time; predictions are made up, see `benchmarks/data/answers.py`. Every
operation has one thread. In the command, steps of several images overlap.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import tensorflow as tf
import typer

from benchmarks.data import answers, coco_data
from benchmarks.rows import labelling, labelling_host
from must_tf.common import tables
from must_tf.data import label_reader, opening, record
from must_tf.tasks import discover
from tfrecords_tools.label import parallelism
from tfrecords_tools.reading import recordset
from tfrecords_tools.stats import sums
from tfrecords_tools.teachers import BATCH_SIZE, Predictions, Teacher, trained
from tfrecords_tools.teachers.frames import view
from tfrecords_tools.writing import shards
from tfrecords_tools.writing.shard_counts import Counts

STEPS = {"whole": 1, "half": 2}  # pixels of an image per pixel of a map, downwards and to the right


class _Profile:
    """Labels and judges records, and adds up the seconds of each step."""

    def __init__(self, step: int):
        self.seconds: dict[str, float] = defaultdict(float)
        self._step, self._specs = step, discover()
        self._configs = recordset.configs_of(answers.classes())
        self._reader = label_reader.shared(self._specs, self._configs)

    @contextlib.contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Adds the processor seconds of a block."""
        start = time.process_time()
        yield
        self.seconds[what] += time.process_time() - start

    def labelled(self, serialized: bytes, teachers: list[tuple[Teacher, Predictions]]) -> bytes:
        """Returns a record with the labels of all teachers, as `label.pipeline` makes it."""
        with self.timed("parse and check the record"):
            example = opening.parsed(serialized)
            opening.require(example, self._specs, self._configs)
            info = record.info_of(example)
        with self.timed("decode the photo"):
            image = record.decode_image(opening.image_of(example))
        with self.timed("fit it into the input"):
            fitted = view(image, teachers[0][0].frame)
        for teacher, predictions in teachers:
            name, origin = " and ".join(teacher.about.tasks), teacher.about.origin
            with self.timed(f"restore {name}"):
                restored = teacher._restorer.restored(predictions, fitted.info, self._step)  # type: ignore[attr-defined]
            with self.timed("look for NaN"):
                trained.check_finite(teacher.about, restored, info.source_id)
            with self.timed(f"keep {name}"):
                kept = trained.kept(restored, info, teacher.configs)
            labels = {task: record.Labelled(one, origin) for task, one in kept.items()}
            with self.timed(f"encode {name}"):
                features = record.label_features(labels, info, self._specs)
            with self.timed("parse and serialise again"):
                serialized = _merged(serialized, features)
        return serialized

    def written(self, path: Path, records: list[bytes]) -> None:
        """Writes and counts the records, as `writing.shards`."""
        with self.timed("write and hash the file"):
            with tf.io.TFRecordWriter(str(path)) as writer:
                for one in records:
                    writer.write(one)
            shards.digest(str(path))
        counts = Counts()
        with self.timed("count the labels"):
            for one in records:
                counts.add(one)

    def judged(self, serialized: bytes) -> None:
        """Sums up a record's labels, as `stats.sums`."""
        example = opening.parsed(serialized)
        with self.timed("judge: read the labels"):
            found = self._reader.read(serialized, example, as_stored=True)
        for task, labels in found.items():
            info = self._reader.map_info(example, task)
            with self.timed(f"judge: {task}"):
                sums.add(sums.Sums(), self._specs[task], labels.labels, info, self._configs[task])


def _merged(serialized: bytes, features: dict[str, tf.train.Feature]) -> bytes:
    """Merges features into a record, as `record.merge` does."""
    example = opening.parsed(serialized)
    for key, feature in features.items():
        example.features.feature[key].CopyFrom(feature)
    return example.SerializeToString(deterministic=True)


def profile(photos: Path, work: Path, size: int, count: int, step: int) -> dict[str, float]:
    """Returns the processor milliseconds of each step per image, warm."""
    images = [np.asarray(cv2.imread(str(path)))[..., ::-1] for path in sorted(photos.iterdir())[:BATCH_SIZE]]
    rows = answers.of_photos([images[row % len(images)] for row in range(BATCH_SIZE)], size)
    teachers = [labelling_host.teacher(tasks, rows, size) for tasks in labelling_host.TASKS]
    labelling.shard(coco_data.Set(photos, photos), count, work / "images.tfrecord")
    records = list(tf.data.TFRecordDataset(str(work / "images.tfrecord")).as_numpy_iterator())
    for number in (BATCH_SIZE, count):  # the first ones warm up
        found = _Profile(step)
        made = []
        for place, one in enumerate(records[:number]):
            own: list[Any] = [
                (
                    each,
                    {task: {key: values[place % BATCH_SIZE] for key, values in rows[task].items()} for task in tasks},
                )
                for each, tasks in zip(teachers, labelling_host.TASKS, strict=True)
            ]
            made.append(found.labelled(one, own))
        found.written(work / "out.tfrecord", made)
        for one in made:
            found.judged(one)
    return {what: 1000 * seconds / count for what, seconds in found.seconds.items()}


def main(
    data: Annotated[Path | None, typer.Option(help="Photos in COCO's layout; without it scenes are generated.")] = None,
    size: Annotated[int, typer.Option(help="Longer side of the photos and of the networks' inputs.")] = 640,
    images: Annotated[int, typer.Option(help="Number of photos.")] = 16,
) -> None:
    """Prints one line per step."""
    parallelism.settle()
    with tempfile.TemporaryDirectory(prefix="labelling-") as folder:
        work = Path(folder)
        source = coco_data.real(data) if data else coco_data.generated(work / "scenes")
        photos = labelling_host.resized(source.images, work / "photos", size)
        found = {name: profile(photos, work, size, images, step) for name, step in STEPS.items()}
    order = sorted(found["whole"], key=lambda what: (what.startswith("judge"), -found["whole"][what]))
    rows = [(what, *(f"{values[what]:.1f}" for values in found.values())) for what in order]
    for name, of in (("all labelling", False), ("all judging", True)):
        totals = [sum(v for what, v in values.items() if what.startswith("judge") == of) for values in found.values()]
        rows.append((name, *(f"{total:.1f}" for total in totals)))
    print(tables.table(("step", *(f"{name} maps, ms" for name in found)), rows))


if __name__ == "__main__":
    typer.run(main)
