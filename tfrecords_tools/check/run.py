"""Whether a record set is what its manifest says, and every label what its task says: `must-records check`."""

from __future__ import annotations

import collections
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from must_tf import tasks
from must_tf.data import record
from must_tf.label_content import PIXELS, ImageInfo
from tfrecords_tools.check import dataset_rules, record_rules
from tfrecords_tools.check.dataset_rules import Checked
from tfrecords_tools.reading import label_summary, recordset
from tfrecords_tools.reading.check_truth import TruthAsPrediction, causes, is_perfect, scored
from tfrecords_tools.reading.recordset import Damaged, RecordSet
from tfrecords_tools.writing import shards
from tfrecords_tools.writing.counts import Findings


class Job(NamedTuple):
    """One shard to be checked."""

    path: str
    classes: dict[str, list[str]]


def check(found: RecordSet, processes: int = 0) -> dict[str, Any]:
    """All that was looked at and found, as one JSON object; `findings` is empty where all is well."""
    jobs = [Job(path, found.manifest.classes) for path in found.paths]
    results = recordset.over_shards(check_shard, jobs, "check", found.records, processes)
    findings = Findings()
    for result in results:
        findings.merge(result.findings.content)
    dataset_rules.against_manifest(found, results, findings)
    dataset_rules.unique_ids(found, results, findings)
    return {
        "command": "check",
        "directory": found.directory,
        "records": sum(result.records for result in results),
        "shards": len(results),
        "whole": found.is_whole,
        "truth_as_prediction": dataset_rules.truth(results),
        "findings": findings.content,
    }


def check_shard(job: Job, tick: Callable[[], None]) -> Checked:
    """One shard; runs in a worker."""
    specs, configs = tasks.discover(), recordset.configs_of(job.classes)
    checked = Checked(os.path.basename(job.path))
    truth, ids = TruthAsPrediction(specs, configs), []
    for number, serialized in _readable(job.path, checked):
        ids.append(_check_record(serialized, number, configs, (checked, truth)))
        checked.records += 1
        tick()
    checked.ids = np.array(ids, np.uint64)
    checked.verdicts, checked.unscored = truth.verdicts(), truth.unmeasured()
    wrong = {task for task, verdict in checked.verdicts.items() if not is_perfect(verdict.figure, specs[task])}
    if wrong:
        _find_why(job.path, {task: configs[task] for task in wrong}, checked)
    checked.sha256 = shards.digest(job.path)[1]
    return checked


def _readable(path: str, checked: Checked) -> Iterator[tuple[int, bytes]]:
    try:
        yield from recordset.numbered(path)
    except Damaged as damage:
        where = f"{checked.file} record {damage.number}: {damage.message}"
        checked.findings.add("file is damaged; what follows in it was not checked", where)


def _check_record(
    serialized: bytes, number: int, configs: Mapping[str, Any], into: tuple[Checked, TruthAsPrediction]
) -> int:
    """Adds one record's findings; returns its id's hash."""
    checked, truth = into
    name = f"{checked.file} record {number}"
    try:
        example = tf.train.Example.FromString(serialized)
        info = record.info_of(example)
    except Exception as error:  # protobuf, missing keys, text that is no text
        checked.findings.add("record cannot be parsed", f"{name}: {type(error).__name__}: {error}")
        return hashed(f"\0{name}")  # takes part in no comparison of ids
    name = f"{name} ({info.source_id!r})"
    specs = tasks.discover()
    labelled, faults = record_rules.read(serialized, specs, configs)
    faults += [*record_rules.of_image(example, info), *record_rules.of_origins(example, specs, configs)]
    faults += record_rules.of_labels(labelled, info, specs, configs)
    faults += record_rules.of_full_masks(example, labelled, info)
    for what, where in faults:
        checked.findings.add(what, f"{name}: {where}" if where else name)
    for task, why in truth.add(labelled, info):
        checked.findings.add(f"{task}: its metric cannot take the label", f"{name}: {why}")
    for task, origin in record.origins_of(example).items():
        checked.origins.setdefault(task, collections.Counter())[origin] += 1
    _count(labelled, info, configs, checked)
    return hashed(info.source_id)


def hashed(source_id: str) -> int:
    """64 bits: among ten million ids two are mistaken for one with a chance of 3 in a million."""
    return int.from_bytes(hashlib.blake2b(source_id.encode(), digest_size=8).digest(), "big")


def _count(
    labelled: Mapping[str, record.Labelled], info: ImageInfo, configs: Mapping[str, Any], checked: Checked
) -> None:
    for task, (labels, _, _) in labelled.items():
        found = label_summary.of(tasks.discover()[task], labels, info, configs[task])
        if found.unit != PIXELS:
            checked.objects.setdefault(task, collections.Counter()).update(found.classes)


def _find_why(path: str, configs: Mapping[str, Any], checked: Checked) -> None:
    """A second look at a shard whose figures are not perfect: which images, and whether the data explains it."""
    explained = set()
    for number, serialized in _readable(path, Checked(checked.file)):  # its damage is known
        try:
            info = record.info_of(tf.train.Example.FromString(serialized))
            labelled, _ = record_rules.read(serialized, tasks.discover(), configs)
        except Exception:  # known as well
            continue
        for task, figure in _imperfect(labelled, info, configs).items():
            explained.add(task)
            rest = labelled[task]._replace(labels=scored(tasks.discover()[task], labelled[task].labels))
            known = causes(tasks.discover()[task], labelled[task].labels)
            if known and (rest.labels is labelled[task].labels or not _imperfect({task: rest}, info, configs)):
                checked.unscored.setdefault(task, collections.Counter()).update(known)
            else:
                where = f"{checked.file} record {number} ({info.source_id!r}): {figure:.6f}"
                checked.findings.add(f"{task}: the truth as prediction is not perfect", where)
    for task in configs.keys() - explained:
        where = f"{checked.file}: {checked.verdicts[task].figure:.6f}, though each image alone is"
        checked.findings.add(f"{task}: the truth as prediction is not perfect", where)


def _imperfect(
    labelled: Mapping[str, record.Labelled], info: ImageInfo, configs: Mapping[str, Any]
) -> dict[str, float]:
    """{task: figure} of the tasks whose headline for this image alone is not perfect."""
    specs, alone = tasks.discover(), TruthAsPrediction(tasks.discover(), configs)
    for _ in alone.add(labelled, info):  # that a metric cannot take a label is known
        pass
    figures = {task: verdict.figure for task, verdict in alone.verdicts().items()}
    return {
        task: figure for task, figure in figures.items() if figure is not None and not is_perfect(figure, specs[task])
    }
