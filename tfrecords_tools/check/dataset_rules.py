"""What only the whole set can tell: its manifest's sums, ids that occur twice, the figures of the truth."""

from __future__ import annotations

import collections
import dataclasses
import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from must_tf import tasks
from must_tf.data import manifest, record
from tfrecords_tools.reading import look_table, recordset
from tfrecords_tools.reading.check_truth import HeadlineScore, is_perfect, perfect
from tfrecords_tools.reading.recordset import RecordSet
from tfrecords_tools.writing import shards
from tfrecords_tools.writing.counts import Findings

PLACES_SHOWN = 5


@dataclasses.dataclass
class Checked:
    """What one shard held and what was wrong with it.

    `ids`: 64 bits of every id's hash, in the order of the records, so that a large set's ids fit into memory.
    `unscored`: {task: {cause: times}} why a figure is below perfect without anybody's fault.
    """

    file: str
    records: int = 0
    sha256: str = ""
    findings: Findings = dataclasses.field(default_factory=Findings)
    origins: dict[str, collections.Counter] = dataclasses.field(default_factory=dict)
    objects: dict[str, collections.Counter] = dataclasses.field(default_factory=dict)
    ids: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.uint64))
    verdicts: dict[str, HeadlineScore] = dataclasses.field(default_factory=dict)
    unscored: dict[str, collections.Counter] = dataclasses.field(default_factory=dict)


def against_manifest(found: RecordSet, results: Sequence[Checked], findings: Findings) -> None:
    """Every shard is listed and as it was written; the sums are the records'."""
    listed = {shard["file"]: shard for shard in found.manifest.shards}
    for result in results:
        known = listed.get(result.file)
        if known is None:
            findings.add("file is not in the manifest", result.file)
            continue
        if known["records"] != result.records:
            findings.add(
                "not as many records as the manifest says", f"{result.file}: {result.records} of {known['records']}"
            )
        if known["sha256"] != result.sha256:
            findings.add("file changed since it was written: its SHA-256 is not the manifest's", result.file)
    for task, spec in tasks.discover().items():
        if (
            spec.class_ids
            and not found.manifest.classes.get(task)
            and any(task in result.origins for result in results)
        ):
            findings.add(f"{task}: the manifest names no classes", manifest.path_in(found.directory))
    if found.is_whole and all(listed.get(one.file, {}).get("records") == one.records for one in results):
        _sums(found, results, findings)


def _sums(found: RecordSet, results: Sequence[Checked], findings: Findings) -> None:
    place = manifest.path_in(found.directory)
    total = sum(result.records for result in results)
    if found.manifest.records != total:
        findings.add("the manifest's sum of records is wrong", f"{place}: {found.manifest.records}, found {total}")
    origins = shards.add_counts(result.origins for result in results)
    if found.manifest.origins != origins:
        findings.add("the manifest's origins are wrong", f"{place}: {_differing(found.manifest.origins, origins)}")
    for task, counts in shards.add_counts(result.objects for result in results).items():
        said = found.manifest.objects.get(task)
        names = found.manifest.classes.get(task, [])
        named = {names[k] if 0 <= k < len(names) else str(k): n for k, n in counts.items()}
        if said is not None and {k: n for k, n in said.items() if n} != {k: n for k, n in named.items() if n}:
            findings.add(f"{task}: the manifest's labels per class are wrong", f"{place}: {_differing(said, named)}")


def _differing(said: dict[str, Any], found: dict[str, Any]) -> str:
    """The first key of which two dicts say different things."""
    key = next(key for key in sorted({*said, *found}) if said.get(key) != found.get(key))
    return f"{key} {said.get(key)}, found {found.get(key)}"


def unique_ids(found: RecordSet, results: Sequence[Checked], findings: Findings) -> None:
    """An id that two records share: evaluation, merging and export cannot tell them apart."""
    ids = np.concatenate([result.ids for result in results])
    _, first, counts = np.unique(ids, return_index=True, return_counts=True)
    for place in np.sort(first[counts > 1]):
        same = np.flatnonzero(ids == ids[place])
        shown = [_located(results, int(one)) for one in same[:PLACES_SHOWN]]
        name = _id_of(found, results, int(place))
        where = ", ".join(f"{file} record {number}" for file, number in shown)
        findings.add("records share an id", f"{name!r}: {where}")


def _located(results: Sequence[Checked], place: int) -> tuple[str, int]:
    for result in results:
        if place < len(result.ids):
            return result.file, place
        place -= len(result.ids)
    raise IndexError(place)


def _id_of(found: RecordSet, results: Sequence[Checked], place: int) -> str:
    file, wanted = _located(results, place)
    path = next(path for path in found.paths if os.path.basename(path) == file)
    serialized = next(one for number, one in recordset.numbered(path) if number == wanted)
    return record.info_of(tf.train.Example.FromString(serialized)).source_id


def truth(results: Sequence[Checked]) -> dict[str, dict[str, Any]]:
    """Per task: the figure of the truth as prediction (the shards' worst), the perfect one, and why they differ."""
    summed = {}
    for task, spec in tasks.discover().items():
        verdicts = [result.verdicts[task] for result in results if task in result.verdicts]
        if not verdicts:
            continue
        measured = [verdict.figure for verdict in verdicts if verdict.figure is not None]
        worst = max(measured, key=lambda figure: _distance(figure, perfect(spec)), default=None)
        unscored: collections.Counter = collections.Counter()
        for result in results:
            unscored.update(result.unscored.get(task, {}))
        summed[task] = {
            "figure": spec.Metric.headline,
            "value": worst if worst is None or math.isfinite(worst) else None,  # JSON has no other word for NaN
            "perfect": perfect(spec),
            # Neither where there were labels and the metric looked at none.
            "is_perfect": is_perfect(worst, spec) if measured or not unscored else None,
            "images": sum(verdict.images for verdict in verdicts),
            "because": dict(unscored),
        }
    return summed


def _distance(figure: float, best: float) -> float:
    return abs(figure - best) if math.isfinite(figure) else math.inf


def lines(result: dict[str, Any]) -> list[str]:
    """The result for people."""
    shard_count = look_table.number(result["shards"], "shard")
    shown = [f"{result['records']:,} records in {shard_count} of {result['directory']}"]
    if not result["whole"]:
        shown.append("  not all shards that the manifest lists: its sums were not compared")
    shown += ["", "the truth as prediction" if result["truth_as_prediction"] else "no image has a label"]
    for task, one in result["truth_as_prediction"].items():
        unknown = {True: "nothing to measure", None: "not measured", False: f"{one['figure']} is no number"}
        value = unknown[one["is_perfect"]] if one["value"] is None else f"{one['figure']} {one['value']:.9g}"
        shown.append(f"  {task:<16}{value:<24}{one['images']:>8,} images   perfect is {one['perfect']:g}")
        shown += [f"    because of {number:,} {cause}" for cause, number in one["because"].items()]
    shown.append("")
    for what, found in result["findings"].items():
        shown.append(f"{found['count']:,} x {what}")
        shown += [f"    {place}" for place in found["places"][:PLACES_SHOWN]]
        if found["count"] > PLACES_SHOWN:
            shown.append(f"    and {found['count'] - PLACES_SHOWN:,} more; --json names up to 100")
    return [*shown, "all is well" if not result["findings"] else f"{len(result['findings'])} kinds of findings"]
