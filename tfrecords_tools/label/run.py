"""Teachers label the images that lack their labels: `must-records label`.

One pass: an image is read and decoded once for all teachers. Real labels are never replaced. One input shard gives one
output shard of the same name, whole or absent, so a killed run goes on and ends with the same bytes; so do many
processes and machines that work into one folder, see `label_ways`, and however many cores they have, see
`label_threads`: the arithmetic is the same on processors of one instruction set, and on GPUs of one kind within the
limits that stand there. The manifest is written once all shards are there, by whoever finds them.

| an image has for a task | and gets |
|---|---|
| nothing | the teacher's labels |
| real labels | nothing, also where only some classes were looked for: the others stay unknown |
| a teacher's labels | nothing; with `--replace` this teacher's instead |
| masks or boxes of somebody else | no masks: they fit the boxes that they were made with alone |
| masks of somebody else, and no boxes | no boxes: the masks lie on boxes that stay |
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from must_tf.common import devices
from must_tf.common.errors import UserError
from must_tf.common.progress import Progress
from must_tf.common.text import listed
from must_tf.data import manifest
from tfrecords_tools import teachers
from tfrecords_tools.label import job as label_job
from tfrecords_tools.label import results
from tfrecords_tools.label.arguments import Asked as Asked
from tfrecords_tools.label.arguments import asked as asked
from tfrecords_tools.label.job import Job
from tfrecords_tools.label.parallelism import Ways, environments
from tfrecords_tools.writing import beam, disk_space, shards, worker_pool

# What a teacher that does not tell is, in the manifest.
UNKNOWN: dict[str, Any] = {"kind": "", "step": None, "input_size": None, "floors": {}, "units": {}, "trained_on": {}}
ALONE = Ways()


class Result(NamedTuple):
    """What there is when the command ends.

    Attributes:
      source: the manifest of what was labelled.
      manifest: of the labelled records; None while other jobs' shards are missing.
      finished, total: shards that are there, and that there will be.
      mine: shards of this job.
    """

    source: manifest.Manifest
    manifest: manifest.Manifest | None
    finished: int
    total: int
    mine: int


def run(what: Asked, out: str, command: Sequence[str], ways: Ways = ALONE) -> Result:
    """Labels every shard that is not finished yet, and writes the manifest once all are.

    Args:
      what: from `asked`.
      out: the new record set's folder.
      command: for the manifest.
      ways: how the work is spread; no matter for the result.

    Raises:
      UserError: there is nothing to label, a teacher that cannot be loaded or names classes otherwise than the records,
        an unreadable record, or a folder of another command.
    """
    source = manifest.read(what.directory)
    gpus = _gpus(ways)
    classes = _classes(source, what)
    results.require_work(source, what)
    files, fingerprint = ways.part.of(what.files), _fingerprint(source, what)
    if not files:
        return Result(source, None, len(shards.finished(out)), len(what.files), 0)
    _check_owner(out, fingerprint, what)
    details = {"time": _now(), "teachers": _ids(what)}
    jobs = _jobs(source, what, files, out)
    with shards.claimed(out, fingerprint, command, ways.part.name, details):
        _spread(jobs, out, ways, gpus)
        done = shards.finished(out)
        names = [os.path.basename(path) for path in what.files]
        infos = [done[name] for name in names if name in done]
        written = None
        if len(infos) == len(names):
            written = shards.combined_manifest(
                infos, classes, command, teachers=_teachers(source, what, shards.owner(out)["time"])
            )
            _finish(out, written, ways)
        return Result(source, written, len(infos), len(names), len(files))


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _gpus(ways: Ways) -> int:
    """GPUs that TensorFlow lists here, if the work is done here."""
    ways.check()
    if not ways.runner:
        return devices.seen()
    beam.require(ways.runner)
    return 0


def _jobs(source: manifest.Manifest, what: Asked, files: Sequence[str], out: str) -> list[tuple[Job, int]]:
    """The shards that are asked for, with their numbers of images."""
    listed = {shard["file"]: shard for shard in source.shards}
    jobs = []
    for path in files:
        name = os.path.basename(path)
        job = Job(path, listed[name]["sha256"], os.path.join(out, name), tuple(what.teachers), what.replace)
        jobs.append((job, listed[name]["records"]))
    return jobs


def _spread(jobs: Sequence[tuple[Job, int]], out: str, ways: Ways, gpus: int) -> None:
    """Makes the shards that are missing."""
    done = shards.finished(out)
    wanted = [job for job, _ in jobs if os.path.basename(job.path) not in done]
    _check_space(wanted, out)
    if ways.runner:
        return beam.make_all(label_job.write, wanted, out, [f"--runner={ways.runner}", *ways.runner_options])
    finished = sum(records for job, records in jobs if os.path.basename(job.path) in done)
    progress = Progress(sum(records for _, records in jobs), "label", done=finished)
    crew = environments(ways.workers, len(wanted), gpus)
    if crew and wanted:
        worker_pool.run_in(crew, label_job.write, wanted, progress)
    else:
        for job in wanted:
            label_job.write(job, progress.advance)
    return progress.close()


def _finish(out: str, written: manifest.Manifest, ways: Ways) -> None:
    manifest.write(out, written)
    if not ways.part.name:  # nobody else is at work: what is unfinished is of those who were killed
        shards.remove(out, "*.partial")
        shards.remove(os.path.join(out, shards.FOLDER), "*.partial")


def _teachers(source: manifest.Manifest, what: Asked, begun: str) -> dict[str, dict[str, Any]]:
    """For the manifest: those of the records before, and these."""
    mine = [
        {
            one.about.id: {"path": one.about.path, "tasks": sorted(one.about.tasks), "time": begun}
            | UNKNOWN
            | one.about.facts
        }
        for one in what.teachers
    ]
    return manifest.united_teachers([source.teachers, *mine])


def _classes(source: manifest.Manifest, what: Asked) -> dict[str, list[str]]:
    """The records' class names and the teachers', which must agree where both name a task's."""
    classes, differing = teachers.united_classes(source.classes, [teacher.about for teacher in what.teachers])
    if differing:
        path, task = differing[0]
        names = next(one.about.classes[task] for one in what.teachers if one.about.path == path)
        other = [name for name in classes[task] if name not in names] or ["none"]
        own = [name for name in names if name not in classes[task]] or ["none; the order differs"]
        raise UserError(
            f"{path} names {task}'s classes otherwise than {what.directory} (the teacher alone: {listed(own)}; "
            f"not the teacher: {listed(other)}); their labels must not be mixed. Train the teacher on the same "
            "classes."
        )
    return classes


def _ids(what: Asked) -> dict[str, str]:
    return {one.about.path: one.about.id for one in what.teachers}


def _check_owner(out: str, fingerprint: str, what: Asked) -> None:
    """Says which teacher it is, where the folder was begun by another state of it."""
    owner = shards.owner(out)
    if owner.get("fingerprint", fingerprint) == fingerprint:
        return
    before = owner.get("teachers", {})
    for path, now in _ids(what).items():
        if before.get(path, now) != now:
            raise UserError(
                f"{path} is another teacher than when {out} was begun (pseudo:{before[path]} then, pseudo:{now} now): "
                "it was trained on, or its settings changed. Give another --out, or the checkpoint of then."
            )


def _check_space(wanted: Sequence[Job], out: str) -> None:
    if "://" not in out:
        disk_space.require(sum(_size(job.source) for job in wanted), out)


def _size(path: str) -> int:
    """Bytes; of what is gone the job itself will tell."""
    return tf.io.gfile.stat(path).length if tf.io.gfile.exists(path) else 0


def _fingerprint(source: manifest.Manifest, what: Asked) -> str:
    parts = [shard["sha256"] for shard in source.shards]
    parts += sorted(f"{one.about.origin}:{','.join(sorted(one.about.tasks))}" for one in what.teachers)
    parts += [f"replace:{task}" for task in sorted(what.replace)]
    parts += [f"{name}:{version}" for name, version in shards.versions().items()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
