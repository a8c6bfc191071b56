"""Whether pseudo labels are good, before a student is trained on them: `must-records stats`.

    DIR/stats.json   figures, suggested thresholds, the verdict by `must_tf.pseudo_gate.rules`, and what stands of
                     earlier ones (`earlier_verdicts`); whole or not at all

What the labels are compared with: of `--against` the real labels, else what manifest.json tells of the records that the
teacher was trained on; of `--truth` real labels of the same images.
"""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from must_tf import tasks
from must_tf.common import files
from must_tf.common.errors import UserError, nearest
from must_tf.data import manifest
from must_tf.label_content import OBJECTS
from must_tf.pseudo_gate import rules, verdict
from must_tf.spec import TaskSpec
from tfrecords_tools.reading import recordset, thresholds
from tfrecords_tools.reading.recordset import RecordSet
from tfrecords_tools.stats import against_truth, earlier_verdicts, figures, suggest, table
from tfrecords_tools.stats.dataset_pass import PSEUDO, REAL, count
from tfrecords_tools.stats.sums import Sums

PRECISION = 0.8  # what suggested thresholds aim at: one label in five may be wrong


class Compared(NamedTuple):
    """What labels are compared with. `against`: {task, or "" for all others: record sets with real labels}."""

    against: dict[str, list[RecordSet]]
    truth: RecordSet | None = None
    precision: float = PRECISION


class Asked(NamedTuple):
    """What the command line asks for, checked. `configs`: {task: config with the thresholds in effect}."""

    records: RecordSet
    configs: dict[str, Any]
    compared: Compared
    processes: int = 0


def compared(against: Sequence[str], truth: str, precision: float) -> Compared:
    """Opens the sets of `--against [TASK=]GLOB` and `--truth`. Raises UserError where one cannot be."""
    if not 0 < precision <= 1:
        raise UserError(f"--precision {precision} is a share, above 0 up to 1.")
    by_task: dict[str, list[RecordSet]] = {}
    for value in against:
        task, _, pattern = value.partition("=")
        known = bool(pattern) and task in tasks.discover()
        if pattern and not known and task.isidentifier():
            raise UserError(f"--against {value}: no task {task!r}.{nearest(task, tasks.discover())}")
        by_task.setdefault(task if known else "", []).append(recordset.opened(pattern if known else value, "--against"))
    return Compared(by_task, recordset.opened(truth, "--truth") if truth else None, precision)


def asked(records: str, settings: Sequence[str], to: Compared, processes: int = 0) -> Asked:
    """Opens the set.

    Args:
      records: glob of all its shards.
      settings: "TASK.NAME=VALUE", thresholds other than the tasks' own.
      to: what its labels are compared with.
      processes: 0 chooses.

    Raises:
      UserError: what does not fit, before anything is counted.
    """
    found = recordset.opened(records)
    if not found.is_whole:
        raise UserError(
            f"--records={records!r} names a part of {found.directory}; {verdict.NAME} is about the whole set."
        )
    configs = thresholds.configs(found.manifest.classes, settings)
    for task, config in configs.items():
        thresholds.check_names(config)
        for one in [*to.against.get(task, ()), *to.against.get("", ())]:
            names = one.manifest.classes.get(task)
            if names and config.classes and tuple(names) != tuple(config.classes):
                raise UserError(f"--against: {one.directory} names {task}'s classes otherwise than {found.directory}.")
    _check_served([task for task in verdict.pseudo_tasks(found.manifest) if task in configs], found, to)
    return Asked(found, configs, to, processes)


def _check_served(labelled: Sequence[str], found: RecordSet, to: Compared) -> None:
    """Raises UserError where a set of `--against` is for no task that a teacher labelled: it would be read in vain."""
    for task, sets in to.against.items() if labelled else ():
        if task and task not in labelled:
            raise UserError(f"--against {task}=...: no teacher labelled {task} in {found.directory}; leave it out.")
        if not task and to.against.keys() >= set(labelled):
            raise UserError(
                f"--against: each task that a teacher labelled in {found.directory} has its own; leave out "
                f"{sets[0].directory}."
            )


def run(what: Asked, command: Sequence[str], force: bool = False) -> dict[str, Any]:
    """Counts, judges and writes stats.json.

    Args:
      what: from `asked`.
      command: kept in the file.
      force: whether a verdict against the labels is overruled.

    Returns:
      What is written. Where a truth has spoken against these labels before, and none is given now, that verdict stands:
      then nothing is written, and "kept" is its command.

    Raises:
      UserError: a record that cannot be read, or sets that do not fit each other.
    """
    found = what.records
    configs = {task: what.configs[task] for task in verdict.pseudo_tasks(found.manifest) if task in what.configs}
    counted = count(found, configs, PSEUDO, what.processes) if configs else {}
    shown = _shown(what, counted)
    settings = {task: verdict.thresholds_of(what.configs[task]) for task in shown}
    standing = None if force else earlier_verdicts.read(found.directory)
    content = {
        "format": verdict.FORMAT,
        "command": list(command),
        "directory": found.directory,
        "shards": verdict.shards_fingerprint(found.manifest),
        "records": found.manifest.records,
        "settings": settings,
        "tasks": shown,
        "verdict": _verdict(shown, force),
        "before": earlier_verdicts.before(standing, settings),
    }
    kept = {} if what.compared.truth else earlier_verdicts.by_truth(standing, settings)
    if not kept:
        files.write_json(os.path.join(found.directory, verdict.NAME), content)
    return content | kept


def _shown(what: Asked, counted: Mapping[tuple[str, str], Sums]) -> dict[str, Any]:
    """{task: {"unlabelled": images, "teachers": {id: what is known of its labels}}}."""
    found, truth = what.records, what.compared.truth
    real = _real(what, {task for task, _ in counted})
    teachers = found.manifest.teachers
    configs = {task: what.configs[task] for task, _ in sorted(counted)}
    judges = against_truth.measure(found, against_truth.Truth(truth, configs), configs) if truth and configs else {}
    shown: dict[str, Any] = {}
    order = list(tasks.discover())
    for task, origin in sorted(counted, key=lambda key: (order.index(key[0]), key[1])):
        teacher, sums = origin.removeprefix(PSEUDO), counted[task, origin]
        told = teachers.get(teacher, {}).get("trained_on", {}).get(task, {})
        training = real.get(task) or figures.of_training(told, sums)
        unlabelled = found.manifest.records - manifest.labelled_images(found.manifest, task)
        one = shown.setdefault(task, {"unlabelled": unlabelled, "teachers": {}})
        names = tuple(what.configs[task].classes)
        beside = Beside(training, judges.get((task, origin)), what.compared.precision)
        one["teachers"][teacher] = _known(tasks.discover()[task], sums, names, beside)
    return shown


class Beside(NamedTuple):
    """What one teacher's labels for one task are compared with."""

    training: dict[str, Any]
    judge: against_truth.Judge | None
    precision: float


def _known(task: TaskSpec, sums: Sums, names: tuple[str, ...], beside: Beside) -> dict[str, Any]:
    """One teacher's labels for one task: figures, what they are compared with, thresholds, verdict."""
    found = figures.of(sums, task, names)
    truth = beside.judge.result(names) if beside.judge else {}
    suggested = _suggested(sums, names, beside)
    case = rules.Evidence(found, beside.training, truth)
    return {
        "found": found,
        "training": beside.training,
        "truth": truth,
        "suggested": suggested._asdict() if suggested else None,
        "failed": rules.reasons(case),
        "not_judged": rules.not_judged(case),
    }


def _suggested(sums: Sums, names: tuple[str, ...], beside: Beside) -> suggest.Suggestion | None:
    """Thresholds by precision where a truth is known, else by density where the training records are; else none."""
    judge = beside.judge
    if not sums.has_classes:
        return None
    if judge and judge.judged.any():
        return suggest.by_precision(judge.right, judge.judged, names, beside.precision)
    if sums.unit != OBJECTS or not beside.training.get("classes"):
        return None
    return suggest.by_density(sums.scores, sums.images, names, beside.training)


def _real(what: Asked, wanted: set[str]) -> dict[str, dict[str, Any]]:
    """{task: figures of the real labels of `--against`}. Raises UserError where a set has none that tell all."""
    total: dict[str, Sums] = {}
    sources: dict[str, list[str]] = {}
    for named, sets in what.compared.against.items() if wanted else ():
        serves = {named} & wanted if named else wanted - set(what.compared.against)
        for one in sets:
            configs = recordset.configs_of(one.manifest.classes)
            here = count(one, {task: configs[task] for task in serves}, REAL, what.processes)
            if not here:
                raise UserError(_nothing(one, serves))
            for (task, _), sums in here.items():
                total.setdefault(task, Sums()).merge(sums)
                sources[task] = list(dict.fromkeys([*sources.get(task, []), one.directory]))
    return {
        task: {"source": ", ".join(sources[task])}
        | figures.of(sums, tasks.discover()[task], tuple(what.configs[task].classes))
        for task, sums in total.items()
    }


def _nothing(one: RecordSet, serves: set[str]) -> str:
    """Why a set of `--against` tells nothing of the tasks that it serves."""
    partly = [task for task in sorted(serves) if manifest.limited_images(one.manifest, task, "partial")]
    if partly:
        return (
            f"--against: {one.directory} is annotated for some classes of {', '.join(partly)} alone, which does not "
            "tell how much there is to see. Name a set in which all of them were looked for, or leave it out."
        )
    return f"--against: {one.directory} has no real labels of {', '.join(sorted(serves))}."


def _verdict(shown: Mapping[str, Any], force: bool) -> dict[str, Any]:
    failed: dict[str, list[str]] = {}
    for task, one in shown.items():
        for teacher, known in one["teachers"].items():
            by = f"teacher {teacher}: " if len(one["teachers"]) > 1 else ""
            failed.setdefault(task, []).extend(f"{by}{sentence}" for sentence in known["failed"])
    failed = {task: sentences for task, sentences in failed.items() if sentences}
    return {"failed": failed, "overruled": bool(failed) and force}


def exit_code(content: Mapping[str, Any]) -> int:
    """1 where the labels are not fit and nobody overruled that."""
    return int(bool(content["verdict"]["failed"]) and not content["verdict"]["overruled"])


def after_labelling(out: str, force: bool) -> int:
    """Judges a folder that was just labelled, at the tasks' own thresholds, and prints the verdict on stderr.

    A verdict that stands is kept: it may know of a truth or of other thresholds.

    Args:
      out: the folder.
      force: whether a verdict against the labels is overruled.

    Returns:
      The exit code: 0, or 1 where they are not fit to train on.
    """
    content = earlier_verdicts.read(out)
    if content is None:
        what = asked(os.path.join(glob.escape(out), "*.tfrecord"), (), Compared({}))
        content = run(what, ["must-records", "label"], force)
    elif force:
        content = earlier_verdicts.overruled(out, content)
    for line in table.verdict_lines(content):
        print(line, file=sys.stderr, flush=True)
    return exit_code(content)
