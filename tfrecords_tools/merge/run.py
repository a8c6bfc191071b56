"""Merges record sets into one: `must merge`.

Records of the same image, by the bytes of its file, become one record with all their labels. All other records are
copied. The first of two passes notes in an index on disk where each image's records are; the second reads them image by
image. Memory use therefore does not grow with the sets.

| input | output |
|---|---|
| labels of a task in one of the records | those labels |
| real and pseudo labels of one task | the real ones |
| two real, or two pseudo labels | those of the set that was named first; counted in the notes |
| masks | stay with their boxes: masks of a record whose boxes are not used are dropped and counted |
| one image under two ids | the id of the set that was named first; counted in the notes |
| one image twice in a set | two images; records of other sets join the one with their id, or the first |
| one id for two different images | both images; the id of the later one gets `-` and eight digits of its SHA-256 |
| classes of the same name | one class; `--same aeroplane=airplane` unites two names |
| "background" of a set with only some of the merged segmentation classes | ignored: it may be any of the others |
| a set with only some of the merged classes | `image/<task>/annotated` in its records: ids that were annotated |
"""

from __future__ import annotations

import dataclasses
import functools
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import tensorflow as tf

from must_tf.common.errors import UserError
from must_tf.common.files import matched_by
from must_tf.common.progress import Progress
from must_tf.common.text import listed
from must_tf.data import manifest, opening, record
from must_tf.pseudo_gate import verdict
from must_tf.spec import Features
from must_tf.tasks import discover
from tfrecords_tools.merge import images
from tfrecords_tools.merge.classes import UnitedClasses, parse_same, unite
from tfrecords_tools.reading import bad_records, located, recordset, thresholds
from tfrecords_tools.reading.class_table import REST
from tfrecords_tools.writing import on_disk
from tfrecords_tools.writing.counts import Account
from tfrecords_tools.writing.items import Item, Listing


class MergeInput(NamedTuple):
    """One of the record sets."""

    directory: str
    files: tuple[str, ...]  # sorted
    classes: dict[str, list[str]]
    records: int
    teachers: manifest.Teachers = {}


class RecordLocation(NamedTuple):
    """The location of a record: number of the set, shard, and offset in bytes."""

    input: int
    path: str
    offset: int


@dataclasses.dataclass(frozen=True)
class MergedSets:
    """All images of the sets, in the order of the sets; a source for `tfrecords_tools.convert.run.run`."""

    inputs: tuple[MergeInput, ...]
    united: UnitedClasses

    def find(self) -> Listing:
        """Reads every record once.

        Raises:
          UserError: a file is damaged, or there is no record in any.
        """
        account, index = Account(), images.ImageIndex()
        progress = Progress(sum(each.records for each in self.inputs), "read", "records")
        with on_disk.room():
            for number, merge_input in enumerate(self.inputs):
                for path in merge_input.files:
                    index.add(number, path, _scan(path, merge_input.classes, progress))
            progress.close()
            bad_records.settle_own()
            items = on_disk.Items(_items(index, account))
        if not items:
            raise UserError(f"nothing to merge: no records in {', '.join(each.directory for each in self.inputs)}.")
        paths = tuple(manifest.path_in(each.directory) for each in self.inputs)
        teachers = manifest.united_teachers(each.teachers for each in self.inputs)
        return Listing(items, dict(self.united.names), paths, account, teachers=teachers)

    def size(self, listing: Listing) -> float:
        """Estimates the output's size in bytes: the sets' sizes times the share of records that remain."""
        records = max(1, sum(each.records for each in self.inputs))
        sizes = (tf.io.gfile.stat(path).length for each in self.inputs for path in each.files)
        return sum(sizes) * len(listing.items) / records

    def record(self, item: Item, account: Account) -> bytes:
        """Returns the record of one image with the labels of all its records."""
        locations: list[RecordLocation] = item.labels
        all_features = [opening.parsed(located.read(each.path, each.offset)).features.feature for each in locations]
        for location, features in zip(locations, all_features, strict=True):
            with bad_records.reading(location.path, f"at byte {location.offset}", needed=True):
                self._recode(features, location.input)
        merged = {key: value for key, value in all_features[0].items() if not _is_a_label(key)}
        merged["image/source_id"] = record.bytes_feature([item.source_id.encode()])
        for family in families():
            merged |= _chosen(family, all_features, item.source_id, account)
        return tf.train.Example(features=tf.train.Features(feature=merged)).SerializeToString(deterministic=True)

    def _recode(self, features: Features, number: int) -> None:
        """Replaces the ids of set `number` by the merged ones and stores which of them were annotated."""
        for task, all_ids in self.united.ids[number].items():
            ids = meaningful_ids(task, all_ids, self.united.names[task])
            if not _is_labelled(features, task):
                continue
            class_ids, key = discover()[task].class_ids, record.annotated_key(task)
            count = len(self.united.names[task])
            if class_ids and class_ids.recode and (len(ids) < count or any(old != new for old, new in ids.items())):
                class_ids.recode(features, ids, count)
            stored = features[key].int64_list.value if key in features else ()
            annotated = sorted({ids[class_id] for class_id in stored or ids if class_id in ids})  # empty: all
            if stored or len(annotated) < count:
                features[key].CopyFrom(record.int_feature(annotated))


def meaningful_ids(task: str, ids: Mapping[int, int], names: Sequence[str]) -> Mapping[int, int]:
    """Returns the set's ids that keep their meaning among the merged `names`.

    "Background" does so only if the set has all of the merged classes.
    """
    if len(set(ids.values())) == len(names) or REST.get(task) not in names:
        return ids
    return {old: new for old, new in ids.items() if names[new] != REST[task]}


def merge_inputs(patterns: Sequence[str], least: int = 2) -> tuple[MergeInput, ...]:
    """Opens the record sets that `--records` names.

    Raises:
      UserError: there are fewer than `least`, a pattern does not match exactly the files of a set, or pseudo labels
        were judged unfit.
    """
    if len(patterns) < least:
        raise UserError("merge needs at least two --records, one for each record set.")
    return tuple(_merge_input(pattern) for pattern in patterns)


def _merge_input(pattern: str) -> MergeInput:
    paths = matched_by(pattern)
    directories = {os.path.dirname(path) for path in paths}
    if len(directories) != 1:
        raise UserError(
            f"--records={pattern!r} matches {len(paths)} files in {len(directories)} folders. Give the files of one "
            "record set, in quotes: 'DIR/*.tfrecord'"
        )
    directory = directories.pop()
    source = manifest.read(directory)
    listed_files = {shard["file"] for shard in source.shards}
    matched = {os.path.basename(path) for path in paths}
    if listed_files != matched:
        raise UserError(
            f"{directory}: --records={pattern!r} matches {len(matched & listed_files)} of the {len(listed_files)} "
            f"shards in manifest.json and {len(matched - listed_files)} other files. Merge whole record sets: "
            "'DIR/*.tfrecord'"
        )
    nameless = [
        task
        for task in source.origins
        if task in discover() and discover()[task].class_ids and not source.classes.get(task)
    ]
    if nameless:
        raise UserError(
            f"{directory}: manifest.json has no class names for {listed(nameless)}, and classes are united by name. "
            "Add them to its `classes`."
        )
    _refuse_unfit(directory, source)
    return MergeInput(directory, tuple(paths), source.classes, source.records, source.teachers)


def _refuse_unfit(directory: str, source: manifest.Manifest) -> None:
    """Raises UserError if pseudo labels were judged unfit at the default thresholds.

    The merged set has no verdict of its own, so training would not notice.
    """
    against = verdict.of_folder(directory, source).failures(thresholds.configs(source.classes, ()))
    if against:
        reasons = " ".join(f"{task}: {' '.join(task_verdict.failed)}" for task, task_verdict in against.items())
        raise UserError(
            f"{directory}: its pseudo labels were judged unfit for training. {reasons} "
            f"Leave the set out, or override the verdict first: "
            f"must stats --records {shlex.quote(f'{directory}/*.tfrecord')} --force"
        )


def _scan(path: str, classes: Mapping[str, Sequence[str]], progress: Progress) -> Iterator[tuple[str, str, int]]:
    """Yields the id, the SHA-256 of the image's file and the offset of each record."""
    for found in located.located(path, recordset.configs_of(classes)):
        yield found.source_id, found.sha256, found.offset
        progress.advance()


def _items(index: images.ImageIndex, account: Account) -> Iterator[Item]:
    """Yields one item per image, in the order of their first records."""
    for source_id, found in index.images(account):
        yield Item(source_id, (), [RecordLocation(each.part, each.path, each.offset) for each in found])


@functools.cache
def families() -> tuple[tuple[str, ...], ...]:
    """Returns groups of tasks that share objects, so that their labels are taken from one record.

    Each group starts with the task that the others need.
    """
    specs = discover()
    roots = [name for name, spec in specs.items() if not spec.needs]
    return tuple(tuple(name for name in specs if name == root or root in _ancestors(name)) for root in roots)


def _ancestors(task: str) -> set[str]:
    needs = set(discover()[task].needs)
    return needs.union(*(_ancestors(need) for need in needs))


@functools.cache
def _prefixes() -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """Returns the prefixes of each task's keys, and those of all tasks.

    A prefix is the first two parts of a key that the task reads, or of its origin: `image/object/` for detection, so
    that keys which only other tools read, like full masks, stay with the others.
    """
    by_task = {}
    for name, spec in discover().items():
        keys = (*spec.features(spec.Config()), record.origin_key(name))
        by_task[name] = tuple({_prefix(key) for key in keys})
    return by_task, tuple({prefix for prefixes in by_task.values() for prefix in prefixes})


def _prefix(key: str) -> str:
    prefix = "/".join(key.split("/")[:2])
    return f"{prefix}/" if key.count("/") > 1 else prefix


def _is_a_label(key: str) -> bool:
    return key.startswith(_prefixes()[1])


def _chosen(
    family: tuple[str, ...], all_features: Sequence[Features], source_id: str, account: Account
) -> Mapping[str, tf.train.Feature]:
    """Returns the keys of one family's labels, from the record whose labels are used."""
    origin = record.origin_key(family[0])
    labelled = [features for features in all_features if _is_labelled(features, family[0])]
    for features in all_features:
        if not _is_labelled(features, family[0]):
            _count_lost(family, features, source_id, account)
    if not labelled:
        return {}
    ranked = sorted(labelled, key=lambda features: not _is_real(features[origin]))  # stable: the first set's come first
    for other in ranked[1:]:
        _count(family, ranked[0], other, source_id, account)
    prefixes = tuple(prefix for task in family for prefix in _prefixes()[0][task])
    return {key: value for key, value in ranked[0].items() if key.startswith(prefixes)}


def _is_labelled(features: Features, task: str) -> bool:
    """Tests whether a record has an origin of a task. Other tools may write an empty list, which is none."""
    key = record.origin_key(task)
    return key in features and len(features[key].bytes_list.value) > 0


def _is_real(origin: tf.train.Feature) -> bool:
    return origin.bytes_list.value[0].startswith(b"real:")


def _count_lost(family: tuple[str, ...], features: Features, source_id: str, account: Account) -> None:
    """Notes labels that need those of the family's first task, of a record that has none of these."""
    for task in family[1:]:
        if _is_labelled(features, task):
            account.notes.add(f"{task}: left out, because their {family[0]} labels have no origin", source_id)


def _count(family: tuple[str, ...], taken: Features, other: Features, source_id: str, account: Account) -> None:
    """Notes the labels of `other`, which are not in the merged record."""
    for task in family:
        key = record.origin_key(task)
        if not _is_labelled(other, task):
            continue
        example = f"{source_id}: {_origin(taken, key)}, not {_origin(other, key)}"
        if not _is_labelled(taken, task):
            account.notes.add(f"{task}: belong to labels that were not taken", example)
        elif _is_real(taken[key]) and not _is_real(other[key]):
            account.notes.add(f"{task}: real label instead of pseudo", example)
        else:
            account.notes.add(f"{task}: labelled twice, the first set's taken", example)


def _origin(features: Features, key: str) -> str:
    return opening.text(features, key) or "none"


def merged_sets(patterns: Sequence[str], same: Sequence[str], classes_of: Sequence[str] = ()) -> MergedSets:
    """Opens the record sets of `--records` and unites their classes, also by `--same`.

    The classes of the sets in `classes_of` come first, whose records are not merged.

    Raises:
      UserError: see `merge_inputs` and `classes.parse_same`.
    """
    first = [recordset.opened(pattern, "--classes-of").manifest.classes for pattern in classes_of]
    inputs = merge_inputs(patterns, least=1 if first else 2)
    names = [*first, *(each.classes for each in inputs)]
    united = unite(names, parse_same(same, names), discover())
    tasks = {task for each in inputs for task in each.classes}
    kept = {task: united_names for task, united_names in united.names.items() if task in tasks}
    return MergedSets(inputs, UnitedClasses(kept, united.ids[len(first) :]))
