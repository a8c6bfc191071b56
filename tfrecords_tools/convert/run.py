"""A dataset on disk -> a folder of shards. A shard is a pure function of its items: how many workers is no matter."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import tensorflow as tf

from must_tf import tasks
from must_tf.common.errors import UserError
from must_tf.common.progress import Progress
from must_tf.data import manifest, record
from tfrecords_tools.sources import Sample, Source
from tfrecords_tools.sources.only import Only
from tfrecords_tools.writing import beam, disk_space, on_disk, shards
from tfrecords_tools.writing import worker_pool as workers
from tfrecords_tools.writing.counts import Account, Dropped
from tfrecords_tools.writing.items import Item, Listing


@dataclasses.dataclass(frozen=True)
class Options:
    """What all conversions have in common.

    Attributes:
      out: folder of the shards.
      shards: how many; 0 for one per 256 images.
      workers: processes; 0 for one per core and 500 images.
      max_drop_rate: a larger share of images, objects or a task's labels dropped is reported as failure.
      command: as it was given, without what does not change the records.
    """

    out: str
    shards: int = 0
    workers: int = 0
    max_drop_rate: float = 0.01
    command: tuple[str, ...] = ()


class Outcome(NamedTuple):
    """What was written, and the shares of images, objects and each task's labels that were dropped."""

    manifest: manifest.Manifest
    image_drop_rate: float
    object_drop_rate: float
    seconds: float
    label_drop_rates: Mapping[str, float] = {}  # by task, of the images that had them; those that lost any

    def worst(self) -> tuple[float, str]:
        """The largest share, and of what it is."""
        labels = [(rate, f"{task} labels") for task, rate in self.label_drop_rates.items()]
        return max((self.image_drop_rate, "images"), (self.object_drop_rate, "objects"), *labels)


class RecordMaker(Protocol):
    """What makes records of items. It travels to the worker processes."""

    def find(self) -> Listing:
        """All items, before the first record is made. Raises UserError if there are none."""

    def size(self, found: Listing) -> float:
        """Bytes of all records at least, as far as a glance can tell."""

    def record(self, item: Item, account: Account) -> bytes:
        """A serialised record; counts in `account` what it changes. Raises Dropped if there can be none."""


class Encoder(NamedTuple):
    """The maker of a dataset's records."""

    source: Source

    def find(self) -> Listing:
        """The dataset's items."""
        return self.source.find()

    def size(self, found: Listing) -> float:
        """Bytes of the images."""
        return disk_space.estimate(found.items)

    def record(self, item: Item, account: Account) -> bytes:
        """The item's image with its labels."""
        return _encode(self.source.load(item, account))


class ConvertJob(NamedTuple):
    """One shard's worth of work."""

    maker: RecordMaker
    items: Sequence[Item]
    path: str


def convert(source: Source, options: Options) -> Outcome:
    """Converts a dataset; see `run`."""
    return run(Encoder(source), options)


def run(maker: RecordMaker, options: Options) -> Outcome:
    """Writes the shards that are not finished yet, then the manifest.

    Raises:
      UserError: there is nothing to convert, the folder is another command's, or an image broke a reader.
    """
    start = time.monotonic()
    prepared = prepare(maker, options)
    with shards.claimed(options.out, prepared.fingerprint, options.command):
        written = _finish(maker, prepared.found, prepared.shard_count, options)
    return outcome(maker, written, prepared.found, time.monotonic() - start)


def run_on_beam(maker: RecordMaker, options: Options, runner: str, arguments: Sequence[str] = ()) -> Outcome:
    """`run`, the shards made by a Beam pipeline.

    Args:
      maker: what makes the records; its files and `options.out` must be visible from all workers.
      options: `workers` is the runner's to choose.
      runner: one of `beam.RUNNERS`.
      arguments: the runner's own, like --project=...

    Raises:
      UserError: as `run`; Beam is not installed, or the pipeline failed.
    """
    start = time.monotonic()
    beam.require(runner)
    found, count, fingerprint = prepare(maker, options)
    names = shards.names(count)
    with shards.claimed(options.out, fingerprint, options.command):
        done = shards.finished(options.out)
        wanted = [index for index, name in enumerate(names) if name not in done]
        jobs = (ConvertJob(maker, found.items[i::count], os.path.join(options.out, names[i])) for i in wanted)
        beam.make_all(write, jobs, options.out, [f"--runner={runner}", *arguments])
        written = summed(options, found, names)
        manifest.write(options.out, written)
    return outcome(maker, written, found, time.monotonic() - start)


class Prepared(NamedTuple):
    """What is known before anything is written."""

    found: Listing
    shard_count: int
    fingerprint: str


def prepare(maker: RecordMaker, options: Options) -> Prepared:
    """Looks at everything that can end a conversion before it starts.

    Raises:
      UserError: there is nothing to convert, it does not fit on the disk, or the folder is another command's.
    """
    _check(options)
    found = maker.find()
    if isinstance(found.items, list):
        found = dataclasses.replace(found, items=on_disk.Items(found.items))
    count = options.shards or shards.default_count(len(found.items))
    prepared = Prepared(found, count, fingerprint(maker, found, count))
    shards.is_claimed(options.out, prepared.fingerprint)
    unfinished = 1 - len(shards.finished(options.out)) / count
    disk_space.require(max(0.0, unfinished) * maker.size(found), options.out)
    return prepared


def _finish(maker: RecordMaker, found: Listing, count: int, options: Options) -> manifest.Manifest:
    """Writes the shards that are missing, then the manifest."""
    done, names = shards.finished(options.out), shards.names(count)
    wanted = [(index, name) for index, name in enumerate(names) if name not in done]
    left = sum(len(range(index, len(found.items), count)) for index, _ in wanted)
    jobs = (ConvertJob(maker, found.items[index::count], os.path.join(options.out, name)) for index, name in wanted)
    progress = Progress(len(found.items), "convert", done=len(found.items) - left)
    processes = min(options.workers or workers.default_count(left), len(wanted))
    workers.run(write, jobs, processes, progress)
    progress.close()
    written = summed(options, found, names)
    manifest.write(options.out, written)
    return written


def summed(options: Options, found: Listing, names: Sequence[str]) -> manifest.Manifest:
    """The manifest of the shards of these names, all of which are finished."""
    done = shards.finished(options.out)
    infos = [done[name] for name in names]
    return shards.combined_manifest(infos, found.classes, options.command, found.account, found.teachers)


def _check(options: Options) -> None:
    if options.shards < 0 or options.workers < 0:
        raise UserError("--shards and --workers must be 0 (chosen for you) or more.")
    if not 0 <= options.max_drop_rate <= 1:
        raise UserError(f"--max-drop-rate {options.max_drop_rate} is a share, 0 to 1.")


def fingerprint(maker: RecordMaker, found: Listing, count: int) -> str:
    """A hash of all that decides about the bytes: options, classes, annotations, and the items' files.

    The files' content would take as long to read as to convert: size and time of change stand for it.
    """
    digest = hashlib.sha256(repr((shards.versions(), maker, count, found.classes)).encode())
    for path in found.inputs:
        digest.update(shards.digest(path)[1].encode())
    items = found.items if isinstance(found.items, on_disk.Items) else on_disk.Items(found.items)
    for source_id, paths, labels in items.rows():
        digest.update(repr((source_id, paths, labels, [_state(path) for path in paths])).encode())
    return digest.hexdigest()


def _state(path: str) -> tuple[int, int]:
    """Bytes and time of change of a local file. Remote ones are not asked: a million requests take hours."""
    if "://" in path or not os.path.exists(path):
        return -1, -1
    found = os.stat(path)
    return found.st_size, found.st_mtime_ns


def write(job: ConvertJob, tick: Callable[[], None]) -> shards.ShardInfo:
    """One shard; runs in a worker."""
    account = Account()
    return shards.write_shard(job.path, _records(job, account, tick), account)


def _records(job: ConvertJob, account: Account, tick: Callable[[], None]) -> Iterator[bytes]:
    for item in job.items:
        try:
            yield job.maker.record(item, account)
        except Dropped as dropped:
            account.dropped.add(dropped.reason, dropped.example)
        except UserError as error:  # says where and what already
            raise UserError(f"{error} Finished shards are kept.") from error
        except Exception as error:
            name = item.files[0] if item.files else item.source_id
            raise UserError(
                f"converting {name}: {type(error).__name__}: {error}. Finished shards are kept; "
                "remove or repair the file and its labels."
            ) from error
        tick()


def _encode(sample: Sample) -> bytes:
    specs = tasks.discover()
    serialized = record.encode(sample.image, sample.info, sample.labelled, specs, sample.filename)
    if not sample.extra:
        return serialized
    example = tf.train.Example.FromString(serialized)
    for key, feature in sample.extra.items():
        example.features.feature[key].CopyFrom(feature)
    return example.SerializeToString(deterministic=True)


def outcome(maker: RecordMaker, written: manifest.Manifest, found: Listing, seconds: float) -> Outcome:
    """What a conversion came to, once all shards are counted."""
    dropped, asked = found.account.dropped, _asked(maker)  # by now of all shards too
    images, objects = dropped.count("image"), dropped.count("object") if "detection" in asked else 0
    kept = sum(written.objects.get("detection", {}).values())
    lost = {task: dropped.count(task) for task in asked if dropped.count(task)}
    labels = {task: count / (count + manifest.labelled(written, task)) for task, count in lost.items()}
    return Outcome(written, images / found.wanted, objects / max(1, kept + objects), seconds, labels)


def _asked(maker: RecordMaker) -> tuple[str, ...]:
    """The tasks whose labels are wanted; what the others lose is no loss."""
    source = maker.source if isinstance(maker, Encoder) else None
    return source.tasks if isinstance(source, Only) else tuple(tasks.discover())
