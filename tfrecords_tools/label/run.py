"""Teachers add the labels that images lack: `must label`.

It takes one pass: each image is read and decoded once for all teachers. Real labels are never replaced. Each input
shard becomes one output shard of the same name, which is whole or absent. A killed run can therefore continue and ends
with the same bytes. So do several processes or machines that work into one folder, whatever their number of cores, see
`parallelism`: the arithmetic is the same on processors with the same instruction set, and on GPUs of one kind within
the limits given there. The command that finds all shards finished writes the manifest.

| labels that an image has for a task | result |
|---|---|
| none | the teacher's labels |
| real labels | unchanged, even if only some classes were annotated: the others stay unknown |
| a teacher's labels | unchanged; with `--replace` this teacher's instead |
| masks or boxes of another source | no masks: they only fit the boxes that they were made with |
| masks of another source, and no boxes | no boxes: the masks lie on boxes that stay |

A teacher with other classes than the records is used for those that both have, see `teachers.matching`.
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
from must_tf.data import manifest
from tfrecords_tools.label import confidence, results
from tfrecords_tools.label.arguments import LabelRequest, with_maps
from tfrecords_tools.label.job import LabelJob, write_shard
from tfrecords_tools.label.parallelism import Parallelism, environments, settle
from tfrecords_tools.reading import bad_records
from tfrecords_tools.teachers.matching import Matched
from tfrecords_tools.writing import beam, disk_space, shards, worker_pool

# The manifest's entry for facts that a teacher does not know.
UNKNOWN: dict[str, Any] = {
    "kind": "",
    "step": None,
    "input_size": None,
    "floors": {},
    "units": {},
    "trained_on": {},
    "licence": "",
    "notes": [],
}
ONE_PROCESS = Parallelism()


class LabelResult(NamedTuple):
    """The state of the output when the command ends.

    Attributes:
      source: the manifest of the input.
      manifest: of the labelled records; None while shards of other jobs are missing.
      finished, total: number of shards that exist, and that will exist.
      mine: shards of this job.
    """

    source: manifest.Manifest
    manifest: manifest.Manifest | None
    finished: int
    total: int
    mine: int


def label_records(
    request: LabelRequest, out: str, command: Sequence[str], parallelism: Parallelism = ONE_PROCESS
) -> LabelResult:
    """Labels every shard that is not finished yet, and writes the manifest once all are.

    Args:
      request: from `arguments.parse_request`.
      out: the new record set's folder.
      command: for the manifest.
      parallelism: how the work is spread. Does not affect the output.

    Raises:
      UserError: there is nothing to label, a teacher cannot be loaded, a record cannot be read, or the folder belongs
        to another command.
    """
    source = manifest.read(request.directory)
    gpus = _gpus(parallelism)
    results.require_work(source, request)
    files, fingerprint = parallelism.part.of(request.files), _fingerprint(source, request)
    if not files:
        return LabelResult(source, None, len(shards.finished(out)), len(request.files), 0)
    _check_owner(out, fingerprint, request)
    details = {"time": _now(), "teachers": _ids(request)}
    jobs = _jobs(source, request, files, out)
    with shards.claimed(out, fingerprint, command, parallelism.part.name, details):
        _spread(jobs, out, parallelism, gpus)
        finished = shards.finished(out)
        names = [os.path.basename(path) for path in request.files]
        infos = [finished[name] for name in names if name in finished]
        written = None
        if len(infos) == len(names):
            entries = _teachers(source, request, shards.owner(out)["time"])
            written = shards.combined_manifest(infos, _classes(source, request), command, teachers=entries)
            manifest.write(out, written)
        return LabelResult(source, written, len(infos), len(names), len(files))


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _gpus(parallelism: Parallelism) -> int:
    """Returns the number of GPUs that TensorFlow lists here; 0 if a Beam runner does the work."""
    parallelism.check()
    if not parallelism.runner:
        return devices.tensorflow_gpus()
    beam.require(parallelism.runner)
    return 0


def _jobs(
    source: manifest.Manifest, request: LabelRequest, files: Sequence[str], out: str
) -> list[tuple[LabelJob, int]]:
    """Returns the job for each of the files, with its number of images."""
    listed = {shard["file"]: shard for shard in source.shards}
    jobs = []
    for path in files:
        name = os.path.basename(path)
        sha256 = listed[name]["sha256"]
        job = LabelJob(
            path,
            sha256,
            os.path.join(out, name),
            tuple(request.teachers),
            request.replace,
            bad_records.allowed(),
            request.with_confidence,
            request.half_maps,
        )
        jobs.append((job, listed[name]["records"]))
    return jobs


def _spread(jobs: Sequence[tuple[LabelJob, int]], out: str, parallelism: Parallelism, gpus: int) -> None:
    """Makes the shards that are missing."""
    finished = shards.finished(out)
    missing = [job for job, _ in jobs if os.path.basename(job.path) not in finished]
    _check_space(missing, out)
    if parallelism.runner:
        return beam.make_all(write_shard, missing, out, [f"--runner={parallelism.runner}", *parallelism.runner_options])
    images_done = sum(records for job, records in jobs if os.path.basename(job.path) in finished)
    progress = Progress(sum(records for _, records in jobs), "label", done=images_done)
    workers = environments(parallelism.workers, len(missing), gpus)
    if workers and missing:
        worker_pool.run_in(workers, write_shard, missing, progress)
    else:
        settle()  # also if no shard is missing: teachers are measured next, and this process may label other records
        for job in missing:
            write_shard(job, progress.advance)
    return progress.close()


def _teachers(source: manifest.Manifest, request: LabelRequest, begun: str) -> dict[str, dict[str, Any]]:
    """Returns the manifest's entries of the teachers before and of these."""
    entries = []
    for about in (teacher.about for teacher in request.teachers):
        entry = {"path": about.path, "tasks": sorted(about.tasks), "time": begun} | UNKNOWN | about.facts
        if request.with_confidence and (compared := confidence.compared(sorted(about.tasks))):
            entry["confidence"] = dict.fromkeys(compared, confidence.METHOD)
        if request.half_maps and (maps := with_maps(sorted(about.tasks))):
            entry["maps"] = dict.fromkeys(maps, "half")
        entries.append({about.id: entry})
    return manifest.united_teachers([source.teachers, *entries])


def _classes(source: manifest.Manifest, request: LabelRequest) -> dict[str, list[str]]:
    """Returns the class names of the records, and for tasks of which they have none, the teachers'."""
    classes = {task: names for teacher in request.teachers for task, names in teacher.about.classes.items()}
    return classes | {task: list(names) for task, names in source.classes.items() if names}


def _ids(request: LabelRequest) -> dict[str, str]:
    return {teacher.about.path: teacher.about.id for teacher in request.teachers}


def _check_owner(out: str, fingerprint: str, request: LabelRequest) -> None:
    """Raises UserError if the folder was begun by the same teacher in another state."""
    owner = shards.owner(out)
    if owner.get("fingerprint", fingerprint) == fingerprint:
        return
    before = owner.get("teachers", {})
    for path, now in _ids(request).items():
        if before.get(path, now) != now:
            raise UserError(
                f"{path} has changed since {out} was begun (then pseudo:{before[path]}, now pseudo:{now}): it has "
                "trained on, or its settings differ. Use another --out, or restore the earlier checkpoint."
            )


def _check_space(missing: Sequence[LabelJob], out: str) -> None:
    if "://" not in out:
        disk_space.require(sum(_size(job.source) for job in missing), out)


def _size(path: str) -> int:
    """Returns the size in bytes; 0 for a missing file, which the job itself will report."""
    return tf.io.gfile.stat(path).length if tf.io.gfile.exists(path) else 0


def _fingerprint(source: manifest.Manifest, request: LabelRequest) -> str:
    parts = [shard["sha256"] for shard in source.shards]
    parts += sorted(f"{each.about.origin}:{','.join(sorted(each.about.tasks))}" for each in request.teachers)
    parts += [f"replace:{task}" for task in sorted(request.replace)]
    parts += ["confidence"] if request.with_confidence else []
    parts += ["half maps"] if request.half_maps else []
    parts += sorted(f"classes:{each.tables!r}" for each in request.teachers if isinstance(each, Matched))
    parts += [f"{name}:{version}" for name, version in shards.versions().items()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
