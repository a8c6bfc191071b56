"""Converts a dataset on disk into a folder of shards.

A shard is a pure function of its items, so the number of workers does not affect the output.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import tensorflow as tf

from must_tf import tasks
from must_tf.common.errors import UserError
from must_tf.common.files import require_an_end
from must_tf.common.progress import Progress
from must_tf.data import manifest, record
from tfrecords_tools.convert import relabelled, repeated
from tfrecords_tools.sources import Sample, Source, files, named, selected
from tfrecords_tools.sources.only import TaskFilter
from tfrecords_tools.sources.rgbd_maps import MapOptions
from tfrecords_tools.writing import beam, disk_space, on_disk, shards, worker_pool
from tfrecords_tools.writing.counts import Account, Dropped
from tfrecords_tools.writing.items import Item, Listing


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of every conversion.

    Attributes:
      out: output folder for the shards.
      shards: number of shards; 0 for one per 256 images.
      workers: number of processes; 0 for one per core, at most one per 500 images.
      max_drop_rate: the command fails if a larger share of the images, the objects or a task's labels is dropped.
      command: the command line without options that do not affect the records.
      verb: a word for the progress line.
    """

    out: str
    shards: int = 0
    workers: int = 0
    max_drop_rate: float = 0.01
    command: tuple[str, ...] = ()
    verb: str = "convert"


class Outcome(NamedTuple):
    """Result of a conversion: its manifest and the shares of images, objects and labels that were dropped."""

    manifest: manifest.Manifest
    image_drop_rate: float
    object_drop_rate: float
    seconds: float
    label_drop_rates: Mapping[str, float] = {}  # of the images that had labels, for each task that lost any

    def worst(self) -> tuple[float, str]:
        """Returns the largest share, and the name of what was dropped."""
        labels = [(rate, f"{task} labels") for task, rate in self.label_drop_rates.items()]
        return max((self.image_drop_rate, "images"), (self.object_drop_rate, "objects"), *labels)


class RecordMaker(Protocol):
    """Makes records from items. It is pickled and sent to the worker processes."""

    def find(self) -> Listing:
        """Lists all items before the first record is made. Raises UserError if there are none."""

    def size(self, listing: Listing) -> float:
        """Returns a quick lower estimate of the bytes of all records."""

    def record(self, item: Item, account: Account) -> bytes:
        """Returns a serialized record; counts its changes in `account`. Raises Dropped if the image cannot be used."""


class Encoder(NamedTuple):
    """Makes the records of a dataset on disk."""

    source: Source

    def find(self) -> Listing:
        """Lists the dataset's items, and notes text files whose encoding had to be guessed."""
        listing = self.source.find()
        for path in listing.inputs:
            files.note_encoding(path, listing.account)
        for task, names in listing.classes.items():
            _require_names(task, names)
        return listing

    def size(self, listing: Listing) -> float:
        """Estimates the bytes of the images."""
        return disk_space.estimate(listing.items) * selected.share_of(self.source)

    def record(self, item: Item, account: Account) -> bytes:
        """Encodes the item's image and labels."""
        return _encode(self.source.load(item, account))


def _require_names(task: str, names: Sequence[str]) -> None:
    """Raises UserError unless each class has a name of its own."""
    for number, name in enumerate(names):
        if not isinstance(name, str) or not name.strip():
            raise UserError(f"{task}: class {number} of the dataset has no name. Name it there.")
    if len(set(names)) < len(names):
        name = next(name for name in names if names.count(name) > 1)
        raise UserError(f"{task}: two classes of the dataset are called {name!r}. Give each a name of its own there.")


class ConvertJob(NamedTuple):
    """The work of one shard."""

    maker: RecordMaker
    items: Sequence[Item]
    path: str


def convert(source: Source, options: Options) -> Outcome:
    """Converts a dataset, see `run`."""
    return run(Encoder(source), options)


def run(maker: RecordMaker, options: Options) -> Outcome:
    """Writes the shards that are not finished yet, then the manifest.

    Raises:
      UserError: there is nothing to convert, the folder belongs to another command, or a file could not be read.
    """
    start = time.monotonic()
    prepared = prepare(maker, options)
    with shards.claimed(options.out, prepared.fingerprint, options.command):
        written = _finish(maker, prepared.listing, prepared.shard_count, options)
    return outcome(maker, written, prepared.listing, time.monotonic() - start)


def run_on_beam(maker: RecordMaker, options: Options, runner: str, arguments: Sequence[str] = ()) -> Outcome:
    """Like `run`, with the shards written by a Beam pipeline.

    Args:
      maker: makes the records. Its files and `options.out` must be visible to all workers.
      options: `workers` is ignored; the runner decides.
      runner: one of `beam.RUNNERS`.
      arguments: the runner's own options, like --project=...

    Raises:
      UserError: as in `run`, Beam is not installed, or the pipeline failed.
    """
    start = time.monotonic()
    beam.require(runner)
    listing, count, fingerprint = prepare(maker, options)
    names = shards.names(count)
    with shards.claimed(options.out, fingerprint, options.command):
        finished = shards.finished(options.out)
        missing = [index for index, name in enumerate(names) if name not in finished]
        jobs = (ConvertJob(maker, listing.items[i::count], os.path.join(options.out, names[i])) for i in missing)
        beam.make_all(write, jobs, options.out, [f"--runner={runner}", *arguments])
        written = combined_manifest(options, listing, names)
        manifest.write(options.out, written)
    return outcome(maker, written, listing, time.monotonic() - start)


class Prepared(NamedTuple):
    """The plan of a conversion, made before anything is written."""

    listing: Listing
    shard_count: int
    fingerprint: str


def prepare(maker: RecordMaker, options: Options) -> Prepared:
    """Lists the images and checks everything that can be checked before the conversion starts.

    Raises:
      UserError: there is nothing to convert, it does not fit on the disk, or the folder belongs to another command.
    """
    _check(options)
    listing = maker.find()
    if isinstance(listing.items, list):
        listing = dataclasses.replace(listing, items=on_disk.Items(listing.items))
    share = selected.share_of(maker.source) if isinstance(maker, Encoder) else 1.0
    count = options.shards or shards.default_count(math.ceil(len(listing.items) * share))
    prepared = Prepared(listing, count, fingerprint(maker, listing, count))
    shards.is_claimed(options.out, prepared.fingerprint)
    missing_share = max(0.0, 1 - len(shards.finished(options.out)) / count)
    disk_space.require(missing_share * maker.size(listing), options.out)
    return prepared


def _finish(maker: RecordMaker, listing: Listing, count: int, options: Options) -> manifest.Manifest:
    """Writes the missing shards, then the manifest."""
    finished, names = shards.finished(options.out), shards.names(count)
    missing = [(index, name) for index, name in enumerate(names) if name not in finished]
    images = sum(len(range(index, len(listing.items), count)) for index, _ in missing)
    jobs = (ConvertJob(maker, listing.items[index::count], os.path.join(options.out, name)) for index, name in missing)
    progress = Progress(len(listing.items), options.verb, done=len(listing.items) - images)
    processes = min(options.workers or worker_pool.default_count(images), len(missing))
    worker_pool.run(write, jobs, processes, progress)
    progress.close()
    written = combined_manifest(options, listing, names)
    manifest.write(options.out, written)
    return written


def combined_manifest(options: Options, listing: Listing, names: Sequence[str]) -> manifest.Manifest:
    """Builds the manifest of these shards, all of which are finished.

    Raises:
      UserError: all photos are left out.
    """
    finished = shards.finished(options.out)
    infos = [finished[name] for name in names]
    repeated.note(options.out, names, listing.account.notes)
    written = shards.combined_manifest(infos, listing.classes, options.command, listing.account, listing.teachers)
    selected.require_some(written.records, listing.account.notes)
    return written


def _check(options: Options) -> None:
    if options.shards < 0 or options.workers < 0:
        raise UserError("--shards and --workers must be 0 (automatic) or more.")
    if not 0 <= options.max_drop_rate <= 1:
        raise UserError(f"--max-drop-rate {options.max_drop_rate} must be between 0 and 1.")


# Renamed classes in fingerprints, so that a folder that an earlier version began is still the same work. Items from
# archives and merges carry pickled classes: those folders have to be converted again.
NAMES_IN_FINGERPRINT = {
    "ClassFolders(": "Classes(",
    "UnlabelledImages(": "Images(",
    "TaskFilter(": "Only(",
    "ExportOptions(": "What(",
    # Options that are newer than such a folder. The pattern of images comes last, that of rgbd before its options.
    ", match='*')": ")",
    ", boxes=''": "",
    f", options={MapOptions()!r}": "",
}


def fingerprint_text(value: object) -> str:
    """Returns `repr(value)` with the class names of `NAMES_IN_FINGERPRINT`."""
    text = repr(value)
    for name, earlier in NAMES_IN_FINGERPRINT.items():
        text = text.replace(name, earlier)
    return text


def fingerprint(maker: RecordMaker, listing: Listing, count: int) -> str:
    """Returns a hash of everything that affects the bytes: options, classes, annotations and the items' files.

    Hashing the files' content would take as long as converting them, so their size and modification time are used.
    """
    digest = hashlib.sha256(fingerprint_text((shards.versions(), maker, count, listing.classes)).encode())
    for path in listing.inputs:
        digest.update(shards.digest(path)[1].encode())
    items = listing.items if isinstance(listing.items, on_disk.Items) else on_disk.Items(listing.items)
    for source_id, paths, labels in items.rows():
        digest.update(fingerprint_text((source_id, paths, labels, [_state(path) for path in paths])).encode())
    return digest.hexdigest()


def _state(path: str) -> tuple[int, int]:
    """Returns size and modification time of a local file. Remote files are skipped: a million requests take hours.

    Raises:
      UserError: it is a pipe, a socket or a device.
    """
    if "://" in path or not os.path.exists(path):
        return -1, -1
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        require_an_end(path)
    return status.st_size, status.st_mtime_ns


def write(job: ConvertJob, tick: Callable[[], None]) -> shards.ShardInfo:
    """Writes one shard; runs in a worker."""
    account = Account()
    return shards.write_shard(job.path, _records(job, account, tick), account)


def _records(job: ConvertJob, account: Account, tick: Callable[[], None]) -> Iterator[bytes]:
    for item in job.items:
        try:
            yield job.maker.record(item, account)
        except Dropped as dropped:
            account.dropped.add(dropped.reason, dropped.example)
        except selected.LeftOut as left_out:
            account.notes.add(left_out.reason, left_out.example)
        except UserError as error:  # its message already names the file
            raise UserError(f"{error} Finished shards are kept.") from error
        except Exception as error:
            name = item.files[0] if item.files else item.source_id
            raise UserError(
                f"converting {name}: {type(error).__name__}: {error}. Repair or remove the file and its labels, "
                "then run the command again; finished shards are kept."
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


def outcome(maker: RecordMaker, written: manifest.Manifest, listing: Listing, seconds: float) -> Outcome:
    """Computes the drop rates once the manifest has the counts of all shards."""
    # The manifest's counts are the listing's: `combined_manifest` has added those of all shards to them.
    dropped, converted_tasks = listing.account.dropped, _tasks_of(maker)
    images = dropped.count("image")
    objects = dropped.count("object") if "detection" in converted_tasks else 0
    kept_objects = sum(written.objects.get("detection", {}).values())
    lost = {task: dropped.count(task) for task in converted_tasks if dropped.count(task)}
    label_rates = {task: count / (count + manifest.labelled_images(written, task)) for task, count in lost.items()}
    image_rate, object_rate = images / listing.expected_count, objects / max(1, kept_objects + objects)
    return Outcome(written, image_rate, object_rate, seconds, label_rates)


def _tasks_of(maker: RecordMaker) -> tuple[str, ...]:
    """Returns the tasks whose labels are converted; losses of other tasks do not count."""
    source = maker.source if isinstance(maker, Encoder) else None
    while isinstance(source, selected.Selected | named.Named | relabelled.Relabelled):
        source = source.source
    return source.tasks if isinstance(source, TaskFilter) else tuple(tasks.discover())
