"""A folder of shards that `kill -9` cannot corrupt.

    DIR/.shards/command.json                            the command that owns the folder; written first
    DIR/records-00003-of-00016.tfrecord                 always complete: written as *.<8 digits>.partial, then renamed
    DIR/.shards/records-00003-of-00016.tfrecord.json    its sidecar: `ShardInfo` and `contents`; written after it
    DIR/manifest.json                                   the sum of the sidecars; written last

A shard with a sidecar is finished, and is skipped when the same command runs again. Temporary names are unique, so two
processes that write the same shard at the same time still leave a complete one: both write the same bytes.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import hashlib
import importlib.metadata
import os
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from must_tf.common import files, folder_lock, held_folders, own_folder
from must_tf.common.errors import UserError
from must_tf.data import contents, manifest, record
from must_tf.spec import first_id
from must_tf.tasks import discover
from tfrecords_tools.writing.counts import Account
from tfrecords_tools.writing.shard_counts import Counts, in_order

FOLDER = contents.FOLDER
COMMAND = "command.json"  # in FOLDER
IMAGES_PER_SHARD = 256  # about 40 MB of photos; a kill loses at most this much work per process
READ_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True)
class ShardInfo:
    """The content of a finished shard. `objects`: {task: {class id as text: labels}}; `limits`: see `manifest`."""

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
    """Returns the file names of `count` shards."""
    return [f"records-{index:05}-of-{count:05}.tfrecord" for index in range(count)]


def default_count(images: int) -> int:
    """Returns the default number of shards for this many images."""
    return max(1, -(-images // IMAGES_PER_SHARD))


def claim(directory: str, fingerprint: str, command: Sequence[str], details: Mapping[str, Any] | None = None) -> None:
    """Makes this command the owner of the folder; does nothing if it already is.

    Args:
      directory: the folder; created if it does not exist.
      fingerprint: a hash of everything that affects the bytes of the shards.
      command: shown in the error if another command tries to use the folder.
      details: more values that `owner` returns when the command resumes.

    Raises:
      UserError: the folder holds shards of another command, of the same command with other inputs, or other files.
    """
    if is_claimed(directory, fingerprint):
        return
    path = _command_path(directory)
    try:
        tf.io.gfile.makedirs(os.path.dirname(path))
        files.write_json(path, {"fingerprint": fingerprint, "command": list(command), **(details or {})})
    except tf.errors.OpError as error:
        raise UserError(f"cannot write to {directory} ({error.message}). Give another --out.") from None


def is_claimed(directory: str, fingerprint: str) -> bool:
    """Returns True if this command owns the folder already, False if no command does. Writes nothing.

    Raises:
      UserError: as `claim`.
    """
    if tf.io.gfile.exists(_command_path(directory)):
        other = owner(directory)
        if other["fingerprint"] != fingerprint:
            raise UserError(
                f"{directory} belongs to another command, or its inputs have changed (content, size or time). "
                f"Give another --out, or remove {directory} first. Its command was:\n  {shlex.join(other['command'])}"
            )
        return True
    own_folder.require(directory, (os.path.join(FOLDER, COMMAND),))
    return False


def owner(directory: str) -> dict[str, Any]:
    """Returns `fingerprint`, `command` and the details of the command that owns the folder; empty if none does."""
    path = _command_path(directory)
    remedy = f"Remove {directory}, or give another --out."
    return files.read_json(path, ("fingerprint", "command"), remedy) if tf.io.gfile.exists(path) else {}


def require_claim(directory: str) -> None:
    """Raises UserError if the folder is not the one that was claimed: writing a file makes missing folders.

    Called before the last file, which says that the others are complete.
    """
    if not tf.io.gfile.exists(_command_path(directory)):
        raise held_folders.gone(directory)


def _command_path(directory: str) -> str:
    return os.path.join(directory, FOLDER, COMMAND)


@contextlib.contextmanager
def claimed(
    directory: str,
    fingerprint: str,
    command: Sequence[str],
    part: str = "",
    details: Mapping[str, Any] | None = None,
) -> Iterator[None]:
    """Locks the folder, claims it as in `claim`, and clears away at the end what killed processes left unfinished.

    Args:
      directory, fingerprint, command, details: as in `claim`.
      part: the part of the work that this process does while others do other parts; empty for all of it.

    Raises:
      UserError: as in `claim`, or another process is writing into the folder.
    """
    with folder_lock.held(directory, part):
        if not is_claimed(directory, fingerprint):
            with folder_lock.turn(directory) if part else contextlib.nullcontext():
                claim(directory, fingerprint, command, details)
            is_claimed(directory, fingerprint)  # without locks two commands may have written; the later one owns it
        yield
        if not part:  # no other process is at work: unfinished files are left over from killed ones
            remove(directory, "records-*.partial")
            remove(directory, "manifest.json.*.partial")
            remove(os.path.join(directory, FOLDER), "*.partial")


def finished(directory: str) -> dict[str, ShardInfo]:
    """Returns {file name: content} of the finished shards. One whose sidecar is damaged is not: it is made again."""
    infos = {}
    for path in files.matching(os.path.join(directory, FOLDER), "records-*.json"):
        try:
            info = _info(path)
        except UserError:
            continue
        shard = os.path.join(directory, info.file)
        if tf.io.gfile.exists(shard) and tf.io.gfile.stat(shard).length == info.size:
            infos[info.file] = info
    return infos


def _info(sidecar: str) -> ShardInfo:
    """Reads a sidecar, but for the numbers of its images: they are many, and few need them, see `contents.of_shard`."""
    fields = dataclasses.fields(ShardInfo)
    stored = files.read_json(sidecar, [field.name for field in fields if field.default_factory is dataclasses.MISSING])
    return ShardInfo(**{field.name: stored[field.name] for field in fields if field.name in stored})


def write_shard(path: str, records: Iterable[bytes], account: Account | None = None) -> ShardInfo:
    """Writes one shard and its sidecar, each completely or not at all.

    Args:
      path: DIR/records-00003-of-00016.tfrecord.
      records: serialized Examples; their origins and classes are counted on the way.
      account: what `records` drops and notes while it is iterated.
    """
    account, counts, unfinished = account or Account(), Counts(), files.partial(path)
    folder, name = os.path.split(path)
    remove(folder, f"{name}.*partial")  # left by processes that were killed
    try:
        with tf.io.TFRecordWriter(unfinished) as writer:
            for serialized in records:
                writer.write(serialized)
                counts.add(serialized)
    except BaseException:
        remove(folder, os.path.basename(unfinished))
        raise
    size, sha256 = _move_into_place(unfinished, path)
    info = ShardInfo(
        file=os.path.basename(path),
        size=size,
        records=counts.records,
        sha256=sha256,
        origins=in_order(counts.origins),
        objects=in_order(counts.objects),
        dropped=account.dropped.content,
        notes=account.notes.content,
        limits=in_order(counts.limits),
    )
    files.write_json(
        contents.sidecar(path), dataclasses.asdict(info) | {contents.KEY: contents.packed(counts.contents)}
    )
    return info


def _move_into_place(unfinished: str, path: str) -> tuple[int, str]:
    """Renames a complete shard; returns its size and SHA-256."""
    try:
        size, sha256 = digest(unfinished)
        tf.io.gfile.rename(unfinished, path, overwrite=True)
        return size, sha256
    except tf.errors.NotFoundError:
        raise UserError(
            f"{path}: another command is writing the same shard. Wait until it ends, then run this command again."
        ) from None


def remove(directory: str, pattern: str) -> None:
    """Removes the files of a folder that match the pattern, even if another process is removing them too."""
    for path in files.matching(directory, pattern):
        with contextlib.suppress(tf.errors.NotFoundError):
            tf.io.gfile.remove(path)


def digest(path: str) -> tuple[int, str]:
    """Returns the size in bytes and the SHA-256 of a file."""
    digest, size = hashlib.sha256(), 0
    with tf.io.gfile.GFile(path, "rb") as file:
        while chunk := file.read(READ_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return size, digest.hexdigest()


def combined_manifest(
    infos: Sequence[ShardInfo],
    classes: Mapping[str, Sequence[str]],
    command: Sequence[str],
    account: Account | None = None,
    teachers: manifest.Teachers | None = None,
) -> manifest.Manifest:
    """Builds the manifest of these shards, in this order.

    Args:
      infos: the content of all shards of the folder.
      classes: {task: names}.
      command: the command that wrote them, without options that do not affect the records.
      account: what was dropped and noted before the first shard.
      teachers: the teachers that may have labelled; only those that did go into the manifest.
    """
    account = account or Account()
    for info in infos:
        account.dropped.merge(info.dropped)
        account.notes.merge(info.notes)
    objects = {
        task: manifest.named_counts(counts, classes.get(task, ()), first_id(discover()[task]))
        for task, counts in add_counts(info.objects for info in infos).items()
    }
    origins = add_counts(info.origins for info in infos)
    used_origins = {origin for counts in origins.values() for origin in counts}
    return manifest.Manifest(
        command=list(command),
        versions=versions(),
        records=sum(info.records for info in infos),
        classes={task: list(names) for task, names in classes.items()},
        origins=origins,
        objects=objects,
        limits=add_counts(info.limits for info in infos),
        shards=[{k: getattr(i, k) for k in ("file", "records", "sha256")} for i in infos],
        teachers={
            key: dict(facts) for key, facts in (teachers or {}).items() if record.pseudo_origin(key) in used_origins
        },
        dropped=account.dropped.content,
        notes=account.notes.content,
    )


def add_counts(parts: Iterable[Mapping[str, Mapping[Any, int]]]) -> dict[str, dict[Any, int]]:
    """Adds up {task: {key: count}} of several shards, with sorted keys."""
    total: dict[str, collections.Counter] = {}
    for part in parts:
        for task, counts in part.items():
            total.setdefault(task, collections.Counter()).update(counts)
    return in_order(total)


def versions() -> dict[str, str]:
    """Returns the versions of the packages that can change a byte of a record."""
    from must_tf import __version__

    installed = {"must_tf": __version__}
    for name in ("tensorflow", "numpy", "pillow", "opencv-python-headless", "opencv-python"):
        try:
            installed[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return installed
