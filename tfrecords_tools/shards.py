"""A folder of shards that `kill -9` cannot spoil.

    DIR/records-00003-of-00016.tfrecord            only ever whole: written as *.partial, then renamed
    DIR/.shards/records-00003-of-00016.tfrecord.json    what it holds; written after it
    DIR/.shards/command.json                       which command the folder belongs to; written first
    DIR/manifest.json                              the sum of the sidecars; written last

A shard with its sidecar is finished and skipped when the same command runs again.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from must_tf import files
from must_tf.data import manifest, record
from must_tf.errors import UserError
from must_tf.spec import TaskSpec
from must_tf.tasks import discover
from tfrecords_tools import lock
from tfrecords_tools.tally import Account

FOLDER = ".shards"
IMAGES_PER_SHARD = 256  # about 40 MB of photos; a kill loses at most this much work per process
READ_BYTES = 1 << 20

Counters = dict[str, collections.Counter]


@dataclasses.dataclass(frozen=True)
class ShardInfo:
    """What one finished shard holds. `objects`: {task: {class id as text: labels}}; `limits`: see `manifest`."""

    file: str
    size: int  # bytes
    records: int
    sha256: str
    origins: dict[str, dict[str, int]]
    objects: dict[str, dict[str, int]]
    dropped: manifest.Reasons
    notes: manifest.Reasons
    limits: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)


def names(count: int) -> list[str]:
    """The file names of `count` shards."""
    return [f"records-{index:05}-of-{count:05}.tfrecord" for index in range(count)]


def default_count(images: int) -> int:
    """How many shards `images` images are spread over if nobody says."""
    return max(1, -(-images // IMAGES_PER_SHARD))


def claim(directory: str, fingerprint: str, command: Sequence[str]) -> None:
    """Makes the folder this command's; does nothing where it already is.

    Args:
      directory: the folder, made where it does not exist.
      fingerprint: a hash of all that decides about the bytes of the shards.
      command: shown to whoever wants to use the folder for something else.

    Raises:
      UserError: it holds shards of another command, or of the same one with other inputs.
    """
    if is_claimed(directory, fingerprint):
        return
    path = _command_path(directory)
    try:
        tf.io.gfile.makedirs(os.path.dirname(path))
        files.write_json(path, {"fingerprint": fingerprint, "command": list(command)})
    except tf.errors.OpError as error:
        raise UserError(f"cannot write in {directory} ({error.message}). Give another --out.") from None


def is_claimed(directory: str, fingerprint: str) -> bool:
    """Whether the folder is this command's already, rather than nobody's. Writes nothing.

    Raises:
      UserError: as `claim`.
    """
    if tf.io.gfile.exists(_command_path(directory)):
        other = _read_json(_command_path(directory))
        if other["fingerprint"] != fingerprint:
            raise UserError(
                f"{directory} belongs to another command, or its inputs have changed since (or their times):\n"
                f"  {' '.join(other['command'])}\nGive another --out, or remove {directory} first."
            )
        return True
    if tf.io.gfile.glob(os.path.join(directory, "*.tfrecord*")):
        raise UserError(f"{directory} holds records that must-records did not write. Give another --out.")
    return False


def _command_path(directory: str) -> str:
    return os.path.join(directory, FOLDER, "command.json")


@contextlib.contextmanager
def claimed(directory: str, fingerprint: str, command: Sequence[str]) -> Iterator[None]:
    """`claim`, and nobody else writes into the folder meanwhile.

    Raises:
      UserError: as `claim`, or because another process is at work in it.
    """
    with lock.held(directory):
        claim(directory, fingerprint, command)
        yield


def finished(directory: str) -> dict[str, ShardInfo]:
    """{file name: what it holds} of the shards that are whole."""
    found = {}
    for path in sorted(tf.io.gfile.glob(os.path.join(directory, FOLDER, "records-*.json"))):
        info = ShardInfo(**_read_json(path))
        shard = os.path.join(directory, info.file)
        if tf.io.gfile.exists(shard) and tf.io.gfile.stat(shard).length == info.size:
            found[info.file] = info
    return found


def _read_json(path: str) -> dict[str, Any]:
    with tf.io.gfile.GFile(path) as file:
        return json.loads(file.read())


def write_shard(path: str, records: Iterable[bytes], account: Account | None = None) -> ShardInfo:
    """Writes one shard and its sidecar, each whole or not at all.

    Args:
      path: DIR/records-00003-of-00016.tfrecord.
      records: serialised Examples; their origins and classes are counted as they pass.
      account: what `records` drops and notes while it is iterated.

    Returns:
      What the shard holds.
    """
    account = account or Account()
    counts, records_written = _Counts(), 0
    with tf.io.TFRecordWriter(f"{path}.partial") as writer:
        for serialized in records:
            writer.write(serialized)
            counts.add(serialized)
            records_written += 1
    size, sha256 = digest(f"{path}.partial")
    tf.io.gfile.rename(f"{path}.partial", path, overwrite=True)
    info = ShardInfo(
        file=os.path.basename(path),
        size=size,
        records=records_written,
        sha256=sha256,
        origins=_sorted(counts.origins),
        objects=_sorted(counts.objects),
        dropped=account.dropped.content,
        notes=account.notes.content,
        limits=_sorted(counts.limits),
    )
    sidecar = os.path.join(os.path.dirname(path), FOLDER, f"{info.file}.json")
    files.write_json(sidecar, dataclasses.asdict(info))
    return info


class _Counts:
    """What the records of a shard hold, each {task: {origin, class id as text, or limit: how many}}."""

    def __init__(self) -> None:
        self.origins: Counters = collections.defaultdict(collections.Counter)
        self.objects: Counters = collections.defaultdict(collections.Counter)
        self.limits: Counters = collections.defaultdict(collections.Counter)

    def add(self, serialized: bytes) -> None:
        """One more record."""
        example, specs = tf.train.Example.FromString(serialized), discover()
        for task, origin in record.origins_of(example).items():
            self.origins[task][origin] += 1
            if record.annotated_of(example, task) is not None:
                self.limits[task]["partial"] += 1
            if task in specs:
                self._add_labels(task, specs[task], example)

    def _add_labels(self, task: str, spec: TaskSpec, example: tf.train.Example) -> None:
        if spec.count:
            found = spec.count(example.features.feature)
            self.objects[task].update({str(class_id): number for class_id, number in found.items()})
        if limit := spec.limit(example):
            self.limits[task][limit] += 1


def _sorted(counters: Mapping[str, collections.Counter]) -> dict[str, dict[str, int]]:
    return {task: dict(sorted(found.items())) for task, found in sorted(counters.items())}


def digest(path: str) -> tuple[int, str]:
    """Size in bytes and SHA-256 of a file."""
    digest, size = hashlib.sha256(), 0
    with tf.io.gfile.GFile(path, "rb") as file:
        while chunk := file.read(READ_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return size, digest.hexdigest()


def summed(
    infos: Sequence[ShardInfo],
    classes: Mapping[str, Sequence[str]],
    command: Sequence[str],
    account: Account | None = None,
) -> manifest.Manifest:
    """The manifest of these shards, in this order.

    Args:
      infos: of all shards of the folder.
      classes: {task: names}.
      command: what wrote them, without what does not change the result.
      account: what was dropped and noted before the first shard.
    """
    account = account or Account()
    for info in infos:
        account.dropped.merge(info.dropped)
        account.notes.merge(info.notes)
    objects = {
        task: manifest.named_counts(found, classes.get(task, ()), discover()[task].first_id)
        for task, found in _added(info.objects for info in infos).items()
    }
    return manifest.Manifest(
        command=list(command),
        versions=versions(),
        records=sum(info.records for info in infos),
        classes={task: list(names) for task, names in classes.items()},
        origins=_added(info.origins for info in infos),
        objects=objects,
        limits=_added(info.limits for info in infos),
        shards=[{k: getattr(i, k) for k in ("file", "records", "sha256")} for i in infos],
        dropped=account.dropped.content,
        notes=account.notes.content,
    )


def _added(parts: Iterable[dict[str, dict[str, int]]]) -> dict[str, dict[str, int]]:
    total: dict[str, collections.Counter] = {}
    for part in parts:
        for task, counts in part.items():
            total.setdefault(task, collections.Counter()).update(counts)
    return _sorted(total)


def versions() -> dict[str, str]:
    """The versions that may change a byte of a record."""
    from must_tf import __version__

    wanted = ("tensorflow", "numpy", "pillow", "opencv-python-headless", "opencv-python")
    found = {"must_tf": __version__}
    for name in wanted:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
