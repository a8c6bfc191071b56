"""Record sets into one: `must-records merge`.

Records of the same image, by id and by the bytes of its file, become one that has all their labels; the others are
united. Two passes: the first notes where every image's records lie, in an index on the disk, the second reads them
image by image, so that memory does not grow with the sets.

| found | becomes |
|---|---|
| a task labelled in one of the records | its labels |
| real and pseudo labels of one task | the real ones |
| twice real, or twice pseudo | those of the set that was named first; counted in the notes |
| masks | go with their boxes: those of a record whose boxes are not taken are dropped, and counted |
| an id that belongs to two different images | both stay; the later one's id gets `-` and eight digits of its SHA-256 |
| a class of the same name | one class; `--same aeroplane=airplane` makes two names one |
| "background" of a set that names some of segmentation's classes only | ignored: it may be any of the others |
| a set that names some of the classes only | `image/<task>/annotated` in its records: ids that were looked for |
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from must_tf.common import upstream
from must_tf.common.errors import UserError
from must_tf.common.progress import Progress
from must_tf.data import manifest, record
from must_tf.pseudo_gate import verdict
from must_tf.spec import Features
from must_tf.tasks import discover
from tfrecords_tools.merge import classes as merge_classes
from tfrecords_tools.merge.classes import United
from tfrecords_tools.reading import thresholds
from tfrecords_tools.writing import on_disk
from tfrecords_tools.writing.counts import Account
from tfrecords_tools.writing.items import Item, Listing

REST = {"segmentation": "background"}  # the class that means "none of mine"
OPEN_FILES = 64  # kept open by each process
SHOWN_DIGITS = 8  # of a SHA-256, behind an id that is taken


class Part(NamedTuple):
    """One of the sets."""

    directory: str
    files: tuple[str, ...]  # sorted
    classes: dict[str, list[str]]
    records: int
    teachers: manifest.Teachers = {}


class Place(NamedTuple):
    """Where a record lies."""

    part: int
    path: str
    offset: int


@dataclasses.dataclass(frozen=True)
class Merged:
    """All images of these sets, in the order of the sets; makes the records of `tfrecords_tools.convert.run.run`."""

    parts: tuple[Part, ...]
    united: United

    def find(self) -> Listing:
        """Reads every record once.

        Raises:
          UserError: a damaged file, or no record in any.
        """
        account, index = Account(), on_disk.database()
        index.execute("CREATE TABLE records (place INTEGER PRIMARY KEY, id TEXT, digest TEXT, part, path, offset)")
        progress = Progress(sum(part.records for part in self.parts), "read", "records")
        with on_disk.room():
            for number, part in enumerate(self.parts):
                for path in part.files:
                    rows = ((*row[:2], number, path, row[2]) for row in _scan(path, progress))
                    statement = "INSERT INTO records (id, digest, part, path, offset) VALUES (?, ?, ?, ?, ?)"
                    index.executemany(statement, rows)
            progress.close()
            index.execute("CREATE INDEX images ON records (id, digest)")
            items = on_disk.Items(_items(index, account))
        if not items:
            raise UserError(f"no records in {', '.join(part.directory for part in self.parts)}: nothing to merge.")
        inputs = tuple(manifest.path_in(part.directory) for part in self.parts)
        teachers = manifest.united_teachers(part.teachers for part in self.parts)
        return Listing(items, dict(self.united.names), inputs, account, teachers=teachers)

    def size(self, found: Listing) -> float:
        """The sets' bytes; of records that become one, one's share."""
        records = max(1, sum(part.records for part in self.parts))
        sizes = (tf.io.gfile.stat(path).length for part in self.parts for path in part.files)
        return sum(sizes) * len(found.items) / records

    def record(self, item: Item, account: Account) -> bytes:
        """One image with the labels of all its records."""
        places: list[Place] = item.labels
        found = [tf.train.Example.FromString(_reader(place.path).read(place.offset)[0]) for place in places]
        features = [example.features.feature for example in found]
        for place, each in zip(places, features, strict=True):
            self._recode(each, place.part)
        merged = {key: value for key, value in features[0].items() if not _is_a_label(key)}
        merged["image/source_id"] = record.bytes_feature([item.source_id.encode()])
        for family in families():
            merged |= _chosen(family, features, item.source_id, account)
        return tf.train.Example(features=tf.train.Features(feature=merged)).SerializeToString(deterministic=True)

    def _recode(self, features: Features, part: int) -> None:
        """The set's own ids -> the merged ones, and which of them it looked for."""
        for task, all_ids in self.united.ids[part].items():
            ids = said(task, all_ids, self.united.names[task])
            if record.origin_key(task) not in features:
                continue
            class_ids, key = discover()[task].class_ids, record.annotated_key(task)
            count = len(self.united.names[task])
            if class_ids and class_ids.recode and (len(ids) < count or any(old != new for old, new in ids.items())):
                class_ids.recode(features, ids, count)
            asked = features[key].int64_list.value if key in features else ()
            annotated = sorted({ids[class_id] for class_id in asked or ids if class_id in ids})  # empty: all
            if asked or len(annotated) < count:
                features[key].CopyFrom(record.int_feature(annotated))


def said(task: str, ids: Mapping[int, int], names: Sequence[str]) -> Mapping[int, int]:
    """The set's ids that say something among the merged `names`: "none of mine" does only where all are its own."""
    if len(set(ids.values())) == len(names) or REST.get(task) not in names:
        return ids
    return {old: new for old, new in ids.items() if names[new] != REST[task]}


def sets(patterns: Sequence[str]) -> tuple[Part, ...]:
    """The sets that `--records` names.

    Raises:
      UserError: fewer than two, no file, not all files of a set, or pseudo labels that were judged unfit.
    """
    if len(patterns) < 2:
        raise UserError("merge needs at least two --records, one for each set.")
    return tuple(_part(pattern) for pattern in patterns)


def _part(pattern: str) -> Part:
    paths = sorted(tf.io.gfile.glob(pattern))
    directories = {os.path.dirname(path) for path in paths}
    if len(directories) != 1:
        raise UserError(
            f"--records={pattern!r} matches {len(paths)} files in {len(directories)} folders; one set is expected, "
            "like 'DIR/*.tfrecord', in quotes."
        )
    directory = directories.pop()
    found = manifest.read(directory)
    listed = sorted(shard["file"] for shard in found.shards)
    if listed != [os.path.basename(path) for path in paths]:
        raise UserError(f"{directory}: the manifest lists {len(listed)} other shards. Merge whole sets: DIR/*.tfrecord")
    nameless = [
        task
        for task in found.origins
        if task in discover() and discover()[task].class_ids and not found.classes.get(task)
    ]
    if nameless:
        raise UserError(f"{directory}: its manifest does not name the classes of {nameless[0]}; ids mean nothing then.")
    _refuse_unfit(directory, found)
    return Part(directory, tuple(paths), found.classes, found.records, found.teachers)


def _refuse_unfit(directory: str, found: manifest.Manifest) -> None:
    """The merged set would be one that nobody judged, and that is read with the usual thresholds."""
    against = verdict.verdict(directory, found).against(thresholds.configs(found.classes, ()))
    if against:
        reasons = " ".join(f"{task}: {' '.join(one.failed)}" for task, one in against.items())
        raise UserError(
            f"{directory}: its pseudo labels are not fit to train on, which a merged set would not tell. {reasons} "
            f"Leave the set out, or overrule this first: must-records stats --records '{directory}/*.tfrecord' --force"
        )


def _scan(path: str, progress: Progress) -> Iterator[tuple[str, str, int]]:
    """Id, SHA-256 of the image's file and offset of each record."""
    reader, offset = _reader(path), 0
    size = tf.io.gfile.stat(path).length
    while offset < size:
        try:
            serialized, following = reader.read(offset)
            image = tf.train.Example.FromString(serialized).features.feature
            (source_id,), (encoded,) = (image[key].bytes_list.value for key in ("image/source_id", "image/encoded"))
        except (tf.errors.OpError, IndexError, ValueError) as error:
            raise UserError(f"{path} is truncated or damaged at byte {offset} ({error}). Convert it again.") from error
        yield source_id.decode(), hashlib.sha256(encoded).hexdigest(), offset
        progress.advance()
        offset = following


@functools.lru_cache(maxsize=OPEN_FILES)
def _reader(path: str) -> Any:
    return upstream.random_record_reader(path)


def _items(index: on_disk.sqlite3.Connection, account: Account) -> Iterator[Item]:
    """One item per image, in the order of their first records."""
    images = "SELECT id, digest, MIN(place) AS first FROM records GROUP BY id, digest ORDER BY first"
    for source_id, digest, first in index.execute(images):
        asked = "SELECT part, path, offset FROM records WHERE id = ? AND digest = ? ORDER BY place"
        places = [Place(*row) for row in index.execute(asked, (source_id, digest))]
        (earliest,) = index.execute("SELECT MIN(place) FROM records WHERE id = ?", (source_id,)).fetchone()
        if first > earliest:
            taken, source_id = source_id, f"{source_id}-{digest[:SHOWN_DIGITS]}"
            account.notes.add("image: id belongs to another image", f"{taken} of {places[0].path} is {source_id}")
        yield Item(source_id, (), places)


@functools.cache
def families() -> tuple[tuple[str, ...], ...]:
    """Tasks that share objects and so are taken from one record: each with those that need it."""
    specs = discover()
    roots = [name for name, spec in specs.items() if not spec.needs]
    return tuple(tuple(name for name in specs if name == root or root in _ancestors(name)) for root in roots)


def _ancestors(task: str) -> set[str]:
    needs = set(discover()[task].needs)
    return needs.union(*(_ancestors(need) for need in needs))


@functools.cache
def _prefixes() -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """How the keys of each task's labels begin: two parts of those that it reads, and of its origin. And all of them.

    `image/object/` for detection, so that keys which only other tools read, as full masks, go where the others go.
    """
    found = {}
    for name, spec in discover().items():
        keys = (*spec.features(spec.Config()), record.origin_key(name))
        found[name] = tuple({"/".join(key.split("/")[:2]) + "/" * (key.count("/") > 1) for key in keys})
    return found, tuple({prefix for prefixes in found.values() for prefix in prefixes})


def _is_a_label(key: str) -> bool:
    return key.startswith(_prefixes()[1])


def _chosen(
    family: tuple[str, ...], found: Sequence[Features], source_id: str, account: Account
) -> Mapping[str, tf.train.Feature]:
    """The keys of one family's labels, from the record whose labels are taken."""
    origin = record.origin_key(family[0])
    labelled = [features for features in found if origin in features]
    if not labelled:
        return {}
    ranked = sorted(labelled, key=lambda features: not _is_real(features[origin]))  # stable: the first set's first
    for other in ranked[1:]:
        _count(family, ranked[0], other, source_id, account)
    prefixes = tuple(prefix for task in family for prefix in _prefixes()[0][task])
    return {key: value for key, value in ranked[0].items() if key.startswith(prefixes)}


def _is_real(origin: tf.train.Feature) -> bool:
    return origin.bytes_list.value[0].startswith(b"real:")


def _count(family: tuple[str, ...], taken: Features, other: Features, source_id: str, account: Account) -> None:
    """What of `other` is not in the merged record."""
    for task in family:
        key = record.origin_key(task)
        if key not in other:
            continue
        names = [_origin(each, key) for each in (taken, other)]
        example = f"{source_id}: {names[0]}, not {names[1]}"
        if key not in taken:
            account.notes.add(f"{task}: belong to labels that were not taken", example)
        elif _is_real(taken[key]) and not _is_real(other[key]):
            account.notes.add(f"{task}: real label instead of pseudo", example)
        else:
            account.notes.add(f"{task}: labelled twice, the first set's taken", example)


def _origin(features: Features, key: str) -> str:
    return features[key].bytes_list.value[0].decode() if key in features else "none"


def merged(patterns: Sequence[str], same: Sequence[str]) -> Merged:
    """What `--records` and `--same` ask for.

    Raises:
      UserError: as `sets` and `merge_classes.parse_same`.
    """
    parts = sets(patterns)
    names = [part.classes for part in parts]
    united = merge_classes.unite(names, merge_classes.parse_same(same, names), discover())
    return Merged(parts, united)
