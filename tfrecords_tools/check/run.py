"""`must check`: compares a dataset of records with its manifest, and every label with its task's rules."""

from __future__ import annotations

import collections
import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from must_tf import tasks
from must_tf.data import contents, opening, record
from must_tf.label_content import PIXELS, ImageInfo
from tfrecords_tools.check import dataset_rules, record_rules, usability
from tfrecords_tools.check.dataset_rules import CheckedShard
from tfrecords_tools.reading import label_summary, recordset
from tfrecords_tools.reading.check_truth import TruthAsPrediction, causes, is_perfect, scored
from tfrecords_tools.reading.recordset import Damaged, RecordSet
from tfrecords_tools.writing import shards
from tfrecords_tools.writing.counts import Findings


class CheckJob(NamedTuple):
    """One shard to check."""

    path: str
    classes: dict[str, list[str]]


def check_dataset(dataset: RecordSet, processes: int = 0, against: Sequence[RecordSet] = ()) -> dict[str, Any]:
    """Checks all records. Returns the result as one JSON object; `findings` is empty if there are no problems.

    Args:
      dataset: the records to check.
      processes: number of worker processes; 0 chooses.
      against: sets that should have none of these photos, such as validation data.
    """
    jobs = [CheckJob(path, dataset.manifest.classes) for path in dataset.paths]
    shards_checked = recordset.over_shards(check_shard, jobs, "check", dataset.records, processes)
    findings = Findings()
    for shard in shards_checked:
        findings.merge(shard.findings.content)
    dataset_rules.against_manifest(dataset, shards_checked, findings)
    dataset_rules.unique_ids(dataset, shards_checked, findings)
    for other in against:
        dataset_rules.shared_photos(dataset, shards_checked, other, findings)
    notes = Findings()
    photos = np.concatenate([shard.photos for shard in shards_checked])
    usability.of_dataset(dataset, [shard.use for shard in shards_checked], photos, (findings, notes))
    return {
        "command": "check",
        "directory": dataset.directory,
        "records": sum(shard.records for shard in shards_checked),
        "shards": len(shards_checked),
        "whole": dataset.is_whole,
        "truth_as_prediction": dataset_rules.truth(shards_checked),
        "findings": findings.content,
        "notes": notes.content,
    }


def check_shard(job: CheckJob, tick: Callable[[], None]) -> CheckedShard:
    """Checks one shard; runs in a worker process."""
    specs, configs = tasks.discover(), recordset.configs_of(job.classes)
    checked = CheckedShard(os.path.basename(job.path))
    truth, ids, photos = TruthAsPrediction(specs, configs), [], []
    for number, serialized in _readable(job.path, checked):
        ids.append(_check_record(serialized, number, configs, (checked, truth)))
        photos.append(_content(serialized, ids[-1]))
        checked.records += 1
        tick()
    checked.ids, checked.photos = np.array(ids, np.uint64), np.array(photos, np.uint64)
    checked.truth_scores, checked.unscored = truth.scores(), truth.unmeasured()
    imperfect = {task for task, score in checked.truth_scores.items() if not is_perfect(score.value, specs[task])}
    if imperfect:
        _explain(job.path, {task: configs[task] for task in imperfect}, checked)
    checked.sha256 = shards.digest(job.path)[1]
    return checked


def _readable(path: str, checked: CheckedShard) -> Iterator[tuple[int, bytes]]:
    try:
        yield from recordset.numbered(path)
    except Damaged as damage:
        where = f"{checked.file} record {damage.number}: {damage.message}"
        checked.findings.add("file is damaged; the records after the damage were not checked", where)


def _check_record(
    serialized: bytes, number: int, configs: Mapping[str, Any], into: tuple[CheckedShard, TruthAsPrediction]
) -> int:
    """Adds one record's findings. Returns the hash of its id."""
    checked, truth = into
    name = f"{checked.file} record {number}"
    try:
        example = opening.parsed(serialized)
        info = record.info_of(example)
        record.origins_of(example)
    except opening.BadRecord as error:
        checked.findings.add(error.fault.what, f"{name}: {error.fault.place}")
        return hashed(f"\0{name}")  # equals no other id
    name = f"{name} ({info.source_id!r})"
    specs = tasks.discover()
    _add_faults(
        name, [*record_rules.of_image(example, info), *record_rules.of_origins(example, specs, configs)], checked
    )
    for group in record_rules.groups(info, specs, configs):
        _check_labels(serialized, name, group, into)
    for task, origin in record.origins_of(example).items():
        checked.origins.setdefault(task, collections.Counter())[origin] += 1
    return hashed(info.source_id)


def _check_labels(
    serialized: bytes, name: str, configs: Mapping[str, Any], into: tuple[CheckedShard, TruthAsPrediction]
) -> None:
    """Adds the findings of some tasks' labels. These are freed when it returns."""
    checked, truth = into
    specs, example = tasks.discover(), opening.parsed(serialized)
    info = record.info_of(example)
    labelled, faults = record_rules.read(serialized, specs, configs)
    faults += record_rules.of_labels(labelled, info, specs, configs)
    faults += record_rules.of_full_masks(example, labelled, info)
    faults += usability.of_image(labelled, info)
    _add_faults(name, faults, checked)
    for task, why in truth.add(labelled, info):
        checked.findings.add(f"{task}: the metric does not accept the label", f"{name}: {why}")
    _count(labelled, info, configs, checked)
    usability.add(checked.use, labelled, info, configs)


def _add_faults(name: str, faults: Iterable[record_rules.Fault], checked: CheckedShard) -> None:
    for what, where in faults:
        checked.findings.add(what, f"{name}: {where}" if where else name)


def _content(serialized: bytes, default: int) -> int:
    """Returns `contents.short` of the record's image; `default` if there is none, which is a finding already."""
    try:
        return contents.short(record.content_of(opening.parsed(serialized)))
    except Exception:  # protobuf errors, missing keys, invalid digits
        return default


def hashed(source_id: str) -> int:
    """Returns a 64-bit hash. Among ten million ids, two collide with a probability of 3 in a million."""
    return int.from_bytes(hashlib.blake2b(source_id.encode(), digest_size=8).digest(), "big")


def _count(
    labelled: Mapping[str, record.Labelled], info: ImageInfo, configs: Mapping[str, Any], checked: CheckedShard
) -> None:
    for task, (labels, _, _) in labelled.items():
        label = label_summary.of(tasks.discover()[task], labels, info, configs[task])
        if label.unit != PIXELS:
            checked.objects.setdefault(task, collections.Counter()).update(label.classes)


def _explain(path: str, configs: Mapping[str, Any], checked: CheckedShard) -> None:
    """Reads a shard whose scores are not perfect again, finds the images, and whether the protocol explains them."""
    explained = set()
    for number, info, labelled in _labels_of(path, configs):
        for task, value in _imperfect(labelled, info, configs).items():
            explained.add(task)
            rest = labelled[task]._replace(labels=scored(tasks.discover()[task], labelled[task].labels))
            known = causes(tasks.discover()[task], labelled[task].labels)
            if known and (rest.labels is labelled[task].labels or not _imperfect({task: rest}, info, configs)):
                checked.unscored.setdefault(task, collections.Counter()).update(known)
            else:
                where = f"{checked.file} record {number} ({info.source_id!r}): {value:.6f}"
                checked.findings.add(f"{task}: ground truth as prediction does not score perfectly", where)
    for task in configs.keys() - explained:
        where = f"{checked.file}: {checked.truth_scores[task].value:.6f}, although each single image does"
        checked.findings.add(f"{task}: ground truth as prediction does not score perfectly", where)


def _labels_of(path: str, configs: Mapping[str, Any]) -> Iterator[tuple[int, ImageInfo, dict[str, record.Labelled]]]:
    """Yields number, image and labels of the records of a shard that can be read; the others have been reported."""
    specs = tasks.discover()
    for number, serialized in _readable(path, CheckedShard(path)):
        with contextlib.suppress(Exception):  # protobuf errors, and all kinds of TensorFlow's
            info = record.info_of(opening.parsed(serialized))
            yield number, info, record_rules.read(serialized, specs, configs)[0]


def _imperfect(
    labelled: Mapping[str, record.Labelled], info: ImageInfo, configs: Mapping[str, Any]
) -> dict[str, float]:
    """Returns {task: headline} of the tasks that this image alone does not score perfectly for."""
    specs, alone = tasks.discover(), TruthAsPrediction(tasks.discover(), configs)
    for _ in alone.add(labelled, info):  # labels that a metric does not accept have been reported already
        pass
    values = {task: score.value for task, score in alone.scores().items()}
    return {task: value for task, value in values.items() if value is not None and not is_perfect(value, specs[task])}
