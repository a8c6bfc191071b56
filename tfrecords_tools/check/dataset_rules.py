"""Checks of a whole dataset: the manifest's sums, duplicate ids, and the score of ground truth as prediction."""

from __future__ import annotations

import collections
import dataclasses
import itertools
import math
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from must_tf import tasks
from must_tf.common import tables
from must_tf.data import contents, manifest, record
from tfrecords_tools.check.usability import LabelUse
from tfrecords_tools.reading import located, recordset, summary_tables
from tfrecords_tools.reading.check_truth import HeadlineScore, is_perfect, perfect
from tfrecords_tools.reading.recordset import RecordSet
from tfrecords_tools.writing import shards
from tfrecords_tools.writing.counts import Findings

PLACES_SHOWN = 5


@dataclasses.dataclass
class CheckedShard:
    """The content of one shard, and its problems.

    Attributes:
      file: the shard's file name.
      records: number of records that could be read.
      sha256: of the file.
      findings: the problems.
      origins: {task: {origin: number of images}}.
      objects: {task: {place in the class names: number of labels}}.
      ids: [records] 64-bit hashes of the ids, in the order of the records. Those of a large dataset fit into memory.
      photos: [records] `contents.short` of the images.
      truth_scores: {task: score of ground truth as prediction}.
      unscored: {task: {cause: number of times}}, the causes of imperfect scores that are not errors.
      use: {task: sums that tell if anything can be learned}.
    """

    file: str
    records: int = 0
    sha256: str = ""
    findings: Findings = dataclasses.field(default_factory=Findings)
    origins: dict[str, collections.Counter] = dataclasses.field(default_factory=dict)
    objects: dict[str, collections.Counter] = dataclasses.field(default_factory=dict)
    ids: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.uint64))
    photos: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.uint64))
    truth_scores: dict[str, HeadlineScore] = dataclasses.field(default_factory=dict)
    unscored: dict[str, collections.Counter] = dataclasses.field(default_factory=dict)
    use: dict[str, LabelUse] = dataclasses.field(default_factory=dict)


def against_manifest(dataset: RecordSet, checked: Sequence[CheckedShard], findings: Findings) -> None:
    """Checks that the manifest lists every shard, that no shard has changed, and that the sums are right."""
    listed = {shard["file"]: shard for shard in dataset.manifest.shards}
    for shard in checked:
        entry = listed.get(shard.file)
        if entry is None:
            findings.add("file is not in the manifest", shard.file)
            continue
        if entry["records"] != shard.records:
            findings.add(
                "number of records is not the manifest's", f"{shard.file}: {shard.records} of {entry['records']}"
            )
        if entry["sha256"] != shard.sha256:
            findings.add("file changed since it was written: its SHA-256 is not the manifest's", shard.file)
    for task, spec in tasks.discover().items():
        labelled = any(task in shard.origins for shard in checked)
        if spec.class_ids and labelled and not dataset.manifest.classes.get(task):
            findings.add(f"{task}: the manifest has no class names", manifest.path_in(dataset.directory))
    if dataset.is_whole and all(listed.get(shard.file, {}).get("records") == shard.records for shard in checked):
        _check_sums(dataset, checked, findings)


def _check_sums(dataset: RecordSet, checked: Sequence[CheckedShard], findings: Findings) -> None:
    place = manifest.path_in(dataset.directory)
    total = sum(shard.records for shard in checked)
    if dataset.manifest.records != total:
        findings.add("the manifest's sum of records is wrong", f"{place}: {dataset.manifest.records}, found {total}")
    origins = shards.add_counts(shard.origins for shard in checked)
    if dataset.manifest.origins != origins:
        findings.add("the manifest's origins are wrong", f"{place}: {_difference(dataset.manifest.origins, origins)}")
    for task, counts in shards.add_counts(shard.objects for shard in checked).items():
        stated = dataset.manifest.objects.get(task)
        names = dataset.manifest.classes.get(task, [])
        named = {names[k] if 0 <= k < len(names) else str(k): n for k, n in counts.items()}
        if stated is not None and {k: n for k, n in stated.items() if n} != {k: n for k, n in named.items() if n}:
            findings.add(f"{task}: the manifest's labels per class are wrong", f"{place}: {_difference(stated, named)}")


def _difference(stated: dict[str, Any], actual: dict[str, Any]) -> str:
    """Describes the first key whose values differ."""
    key = next(key for key in sorted({*stated, *actual}) if stated.get(key) != actual.get(key))
    return f"{key} {stated.get(key)}, found {actual.get(key)}"


def unique_ids(dataset: RecordSet, checked: Sequence[CheckedShard], findings: Findings) -> None:
    """Finds ids that several records share: evaluation, merging and export cannot tell those records apart."""
    ids = np.concatenate([shard.ids for shard in checked])
    _, first, counts = np.unique(ids, return_index=True, return_counts=True)
    repeated = np.sort(first[counts > 1])
    if len(repeated):  # naming one reads a file, so the others are only counted
        shown = [_sharing(dataset, checked, ids, int(place)) for place in repeated[: findings.EXAMPLES]]
        findings.merge({"records share an id": {"count": len(repeated), findings.KEY: shown}})


def _sharing(dataset: RecordSet, checked: Sequence[CheckedShard], ids: np.ndarray, place: int) -> str:
    """Returns an id, and the records that share it."""
    same = np.flatnonzero(ids == ids[place])
    shown = [_located(checked, int(other)) for other in same[:PLACES_SHOWN]]
    where = ", ".join(f"{file} record {number}" for file, number in shown)
    return f"{_id_of(dataset, checked, place)!r}: {where}"


def shared_photos(dataset: RecordSet, checked: Sequence[CheckedShard], other: RecordSet, findings: Findings) -> None:
    """Finds photos that another set has as well, by content."""
    photos = np.concatenate([shard.photos for shard in checked])
    shared = np.flatnonzero(contents.shared(photos, located.contents_of(other)))
    if len(shared):
        shown = [_located(checked, int(place)) for place in shared[: findings.EXAMPLES]]
        counted = {"count": len(shared), findings.KEY: [*_names(dataset, shown)]}
        findings.merge({f"photo is also in {other.directory}": counted})


def _names(dataset: RecordSet, places: Sequence[tuple[str, int]]) -> Iterator[str]:
    """Yields file, number and id of records, which are in the order of the files."""
    for file, group in itertools.groupby(places, key=lambda place: place[0]):
        wanted = {number for _, number in group}
        path = next(path for path in dataset.paths if os.path.basename(path) == file)
        for number, serialized in recordset.numbered(path):
            if number in wanted:
                yield f"{file} record {number} ({record.info_of(tf.train.Example.FromString(serialized)).source_id!r})"
            if number >= max(wanted):
                break


def _located(checked: Sequence[CheckedShard], place: int) -> tuple[str, int]:
    """Returns the file name and the number in it of a record that is counted over all shards."""
    for shard in checked:
        if place < len(shard.ids):
            return shard.file, place
        place -= len(shard.ids)
    raise IndexError(place)


def _id_of(dataset: RecordSet, checked: Sequence[CheckedShard], place: int) -> str:
    file, wanted = _located(checked, place)
    path = next(path for path in dataset.paths if os.path.basename(path) == file)
    serialized = next(content for number, content in recordset.numbered(path) if number == wanted)
    return record.info_of(tf.train.Example.FromString(serialized)).source_id


def truth(checked: Sequence[CheckedShard]) -> dict[str, dict[str, Any]]:
    """Returns {task: the worst score of ground truth as prediction, its best possible value, and why they differ}."""
    by_task = {}
    for task, spec in tasks.discover().items():
        scores = [shard.truth_scores[task] for shard in checked if task in shard.truth_scores]
        if not scores:
            continue
        measured = [score.value for score in scores if score.value is not None]
        worst = max(measured, key=lambda value: _distance(value, perfect(spec)), default=None)
        unscored: collections.Counter = collections.Counter()
        for shard in checked:
            unscored.update(shard.unscored.get(task, {}))
        by_task[task] = {
            "figure": spec.Metric.headline,
            "value": worst if worst is None or math.isfinite(worst) else None,  # JSON cannot represent NaN
            "perfect": perfect(spec),
            # None if there are labels, but the metric measures none of them.
            "is_perfect": is_perfect(worst, spec) if measured or not unscored else None,
            "images": sum(score.images for score in scores),
            "because": dict(unscored),
        }
    return by_task


def _distance(value: float, best: float) -> float:
    return abs(value - best) if math.isfinite(value) else math.inf


def lines(result: dict[str, Any]) -> list[str]:
    """Returns the result as text."""
    shard_count = summary_tables.number(result["shards"], "shard")
    shown = [f"{result['records']:,} records in {shard_count} of {result['directory']}"]
    if not result["whole"]:
        shown.append("  some of the shards that the manifest lists are not included: its sums were not checked")
    shown += ["", _truth_table(result["truth_as_prediction"]), ""]
    for problem, finding in result["findings"].items():
        shown.append(f"{finding['count']:,} x {problem}")
        shown += [f"    {place}" for place in finding["places"][:PLACES_SHOWN]]
        if finding["count"] > PLACES_SHOWN:
            shown.append(f"    and {finding['count'] - PLACES_SHOWN:,} more; --json lists up to 100")
    for reason, note in result["notes"].items():
        shown.append(f"note: {note['count']:,} x {reason}, {note['places'][0]}")
    if not result["findings"]:
        return [*shown, "no problems found"]
    return [*shown, f"{summary_tables.number(len(result['findings']), 'kind')} of problems"]


def _truth_table(by_task: dict[str, Any]) -> str:
    if not by_task:
        return "no image has a label"
    rows = [
        (task, score["figure"], _value(score), f"{score['perfect']:g}", f"{score['images']:,}")
        for task, score in by_task.items()
    ]
    headers = ("task", "metric", "value", "perfect", "images")
    causes = [
        f"{task}: {number:,} {cause}" for task, score in by_task.items() for cause, number in score["because"].items()
    ]
    note = "\n".join(["not scored by the protocol:", *causes]) if causes else ""
    return tables.table(headers, rows, title="ground truth as prediction", note=note)


def _value(score: dict[str, Any]) -> str:
    if score["value"] is not None:
        return f"{score['value']:.9g}"
    return {True: "nothing to measure", None: "not measured", False: "NaN or infinite"}[score["is_perfect"]]
