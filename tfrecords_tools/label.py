"""Teachers label the images that lack their labels: `must-records label`.

One pass: an image is read and decoded once for all teachers. Real labels are never replaced. One input shard gives one
output shard of the same name, whole or absent, so a killed run goes on and ends with the same bytes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from must_tf import devices, restore
from must_tf.data import geometry, manifest, record
from must_tf.data.input import Reader
from must_tf.errors import Mistakes, UserError, nearest
from must_tf.predict import Restorer
from must_tf.progress import Progress
from must_tf.student import StudentConfig, enabled
from must_tf.tasks import discover
from tfrecords_tools import shards

BATCH_SIZE = 8  # images in one forward pass; fixed, so that it is compiled once


class Asked(NamedTuple):
    """What the command line asks for."""

    teachers: dict[str, list[str]]  # run directory -> the tasks it labels
    files: list[str]  # input shards, sorted
    directory: str  # that they all lie in


class Teacher:
    """A trained run that labels some of its tasks."""

    def __init__(self, path: str, tasks: Sequence[str]):
        trained = restore.load(path)
        configs = enabled(trained.config)
        self.tasks, self.path = tuple(tasks), path
        self.origin = f"pseudo:{trained.id}"
        self.classes = {task: list(configs[task].classes) for task in tasks if discover()[task].classed}
        # Masks need detection's head to run, whoever's boxes are written.
        self.specs = {name: discover()[name] for name in configs}
        self.size = trained.config.input_size
        self._restorer = Restorer(self.specs, configs, self.size)
        self._reader = Reader(self.specs, {}, self.size)
        self._forward = tf.function(lambda batch: trained.model(batch, training=False)["predictions"], autograph=False)

    def label(self, images: list[tf.Tensor], ids: list[str]) -> list[dict[str, Any]]:
        """Labels by task for up to BATCH_SIZE images uint8 [h, w, 3] of any sizes."""
        views = [self._view(image) for image in images]
        views += [views[0]] * (BATCH_SIZE - len(views))
        batch = tf.nest.map_structure(lambda *parts: tf.stack(parts), *views)
        predictions = tf.nest.map_structure(lambda x: x.numpy(), self._forward(batch))
        labelled = []
        for row, source_id in enumerate(ids):
            one = tf.nest.map_structure(lambda x, row=row: x[row], predictions)
            labels = self._restorer.labels(one, batch["image_info"][row].numpy(), source_id)
            labelled.append({task: labels[task] for task in self.tasks})
        return labelled

    def _view(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        warp = geometry.fit(tf.shape(image)[:2], self.size)
        return self._reader.view(image, warp, tf.constant(0, tf.int64))


def parse_teachers(values: Sequence[str], mistakes: Mistakes) -> dict[str, list[str]]:
    """["depth=runs/a", ...] -> {run directory: tasks}, each task once; what is wrong goes to `mistakes`."""
    teachers: dict[str, list[str]] = {}
    for value in values:
        task, _, path = value.partition("=")
        if task not in discover():
            hint = nearest(task, discover())
            mistakes.found.append(f"--teacher {value}: no task {task!r}.{hint} Write TASK=RUN_DIRECTORY.")
        elif not path:
            mistakes.found.append(f"--teacher {value}: no path. Write {task}=RUN_DIRECTORY.")
        elif any(task in tasks for tasks in teachers.values()):
            mistakes.found.append(f"--teacher {task} is given twice; one teacher per task.")
        else:
            teachers.setdefault(path.rstrip("/"), []).append(task)
    if not values:
        mistakes.found.append("no --teacher; give at least one TASK=RUN_DIRECTORY.")
    for path, tasks in teachers.items():
        _check_needs(path, tasks, mistakes)
        with mistakes.noted():
            _check_trained(path, tasks, restore.read_config(path))
    return teachers


def _check_needs(path: str, tasks: Sequence[str], mistakes: Mistakes) -> None:
    for task in tasks:
        missing = [need for need in discover()[task].needs if need not in tasks]
        if missing:
            mistakes.found.append(
                f"--teacher {task}={path}: {task} belong to the {missing[0]} of the same teacher. "
                f"Add --teacher {missing[0]}={path}"
            )


def _check_trained(path: str, tasks: Sequence[str], config: StudentConfig) -> None:
    missing = [task for task in tasks if task not in enabled(config)]
    if missing:
        raise UserError(
            f"--teacher {missing[0]}={path}: that run was not trained for {missing[0]}, but for "
            f"{', '.join(enabled(config))}."
        )


def asked(records: str, teachers: Sequence[str]) -> Asked:
    """Checks the command line and the teachers' configs, all of it, before any weights are loaded."""
    mistakes = Mistakes()
    files = sorted(tf.io.gfile.glob(records))
    directories = {os.path.dirname(path) for path in files}
    if not files:
        mistakes.found.append(f"--records={records!r} matches no file. Is the path right, and in quotes?")
    if len(directories) > 1:
        mistakes.found.append(
            f"--records={records!r} spans {len(directories)} folders; label one record set at a time."
        )
    for directory in directories if len(directories) == 1 else ():
        with mistakes.noted():
            _check_whole(directory, files)
    parsed = parse_teachers(teachers, mistakes)
    mistakes.end()
    return Asked(parsed, files, directories.pop())


def run(what: Asked, out: str, command: Sequence[str]) -> manifest.Manifest:
    """Labels every shard that is not finished yet, and writes the manifest.

    Args:
      what: from `asked`.
      out: the new record set's folder.
      command: for the manifest.

    Raises:
      UserError: a teacher that cannot be loaded or names classes otherwise than the records; an unreadable record.
    """
    source = manifest.read(what.directory)
    devices.seen()
    teachers = [Teacher(path, tasks) for path, tasks in what.teachers.items()]
    classes = _classes(source, what.directory, teachers)
    with shards.claimed(out, _fingerprint(source, teachers), command):
        done = shards.finished(out)
        progress = Progress(source.records, "label", done=sum(info.records for info in done.values()))
        for path in what.files:
            name = os.path.basename(path)
            if name not in done:
                done[name] = shards.write_shard(os.path.join(out, name), _labelled(path, teachers, progress))
        progress.close()
        result = shards.summed([done[os.path.basename(path)] for path in what.files], classes, command)
        manifest.write(out, result)
    return result


def left(result: manifest.Manifest, what: Asked) -> list[str]:
    """A line per asked task that some images still lack."""
    tasks = [task for given in what.teachers.values() for task in given]
    missing = {task: result.records - sum(result.origins.get(task, {}).values()) for task in tasks}
    return [
        f"  {task}: {count} images left without; their {discover()[task].needs[0]} is somebody else's"
        for task, count in missing.items()
        if count
    ]


def _check_whole(directory: str, paths: Sequence[str]) -> None:
    listed = {shard["file"] for shard in manifest.read(directory).shards}
    found = {os.path.basename(path) for path in paths}
    if listed != found:
        raise UserError(
            f"{directory}: the manifest lists {len(listed)} shards, --records matches {len(found & listed)} of "
            "them. Label whole record sets: DIR/*.tfrecord"
        )


def _classes(source: manifest.Manifest, directory: str, teachers: Sequence[Teacher]) -> dict[str, list[str]]:
    """The records' class names and the teachers', which must agree where both name a task's."""
    classes = {task: list(names) for task, names in source.classes.items()}
    for teacher in teachers:
        for task, names in teacher.classes.items():
            if classes.get(task, names) != names:
                raise UserError(
                    f"{teacher.path} names {task}'s classes otherwise than {directory}; "
                    "their labels must not be mixed. Train the teacher on the same classes."
                )
            classes[task] = names
    return classes


def _fingerprint(source: manifest.Manifest, teachers: Sequence[Teacher]) -> str:
    parts = [shard["sha256"] for shard in source.shards]
    parts += [f"{teacher.origin}:{','.join(teacher.tasks)}" for teacher in teachers]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _labelled(path: str, teachers: Sequence[Teacher], progress: Progress) -> Iterator[bytes]:
    """The records of one shard with the labels that they lacked."""
    for batch in _batches(path):
        serialized = list(batch.numpy())
        examples = [tf.train.Example.FromString(one) for one in serialized]
        images = [_image(example, path) for example in examples]
        ids = [record.info_of(example).source_id for example in examples]
        found = [teacher.label(images, ids) for teacher in teachers]
        for row, one in enumerate(serialized):
            new = _missing(record.origins_of(examples[row]), [labels[row] for labels in found], teachers)
            yield record.merge(one, new, discover())
        progress.advance(len(serialized))


def _batches(path: str) -> Iterator[tf.Tensor]:
    try:
        yield from tf.data.TFRecordDataset(path).batch(BATCH_SIZE)
    except tf.errors.DataLossError as error:
        raise UserError(f"{path} is truncated or damaged ({error.message}). Convert it again.") from error


def _image(example: tf.train.Example, path: str) -> tf.Tensor:
    info = record.info_of(example)
    try:
        return record.decode_image(example.features.feature["image/encoded"].bytes_list.value[0])
    except (tf.errors.InvalidArgumentError, IndexError) as error:
        raise UserError(
            f"{path}: the image of record {info.source_id!r} cannot be decoded. Convert it again."
        ) from error


def _missing(
    origins: dict[str, str], labels: list[dict[str, Any]], teachers: Sequence[Teacher]
) -> dict[str, record.Labelled]:
    """What the teachers add to a record that has labels of these origins.

    A task that needs another shares its objects, so it is added only where the other's labels are added too, by the
    same teacher: masks of one teacher do not fit the boxes of another, nor real ones.
    """
    new: dict[str, record.Labelled] = {}
    for task, spec in discover().items():
        for teacher, found in zip(teachers, labels, strict=True):
            fits = all(need in new and new[need].origin == teacher.origin for need in spec.needs)
            if task in found and task not in origins and fits:
                new[task] = record.Labelled(found[task], teacher.origin)
    return new
