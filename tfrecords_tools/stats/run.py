"""`must stats`: judges pseudo labels before a student is trained on them.

    DIR/stats.json   statistics, suggested thresholds, the verdict by `must_tf.pseudo_gate.rules`, and earlier failed
                     verdicts (`earlier_verdicts`); written atomically

The statistics are compared with those of the real labels of `--against`, or else with what manifest.json says about the
records that the teacher was trained on. With `--truth`, the labels are compared with real labels of the same images.
"""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from must_tf import tasks
from must_tf.common import files
from must_tf.common.errors import UserError, nearest
from must_tf.data import manifest, record
from must_tf.label_content import OBJECTS
from must_tf.pseudo_gate import rules, verdict
from must_tf.spec import TaskSpec
from tfrecords_tools.reading import recordset, thresholds
from tfrecords_tools.reading.recordset import RecordSet
from tfrecords_tools.stats import against_truth, earlier_verdicts, figures, suggest, tables
from tfrecords_tools.stats.sums import PSEUDO, REAL, Sums, SumsByOrigin, records_read, sum_dataset

PRECISION = 0.8  # the default goal of suggested thresholds: one label in five may be wrong
# Images of each teacher, for each task, that are judged of a large set that was just labelled. Reading all would take a
# third of the processor time of labelling, and shares of this many images are known to 0.4 % (1 / (2 sqrt(N))).
ENOUGH = 20_000


Agreement = dict[str, dict[str, Any]]  # {teacher id: {task: {"here", "own"}}}, see `rules.Evidence`
Measure = Callable[[RecordSet], Agreement]


class StatsComparison(NamedTuple):
    """The labels that pseudo labels are compared with."""

    against: dict[str, list[RecordSet]]  # task, or "" for all other tasks -> datasets with real labels
    truth: RecordSet | None = None  # real labels of the same images
    precision: float = PRECISION  # the goal of suggested thresholds


class StatsRequest(NamedTuple):
    """The checked arguments of the command."""

    dataset: RecordSet
    configs: dict[str, Any]  # task -> config with the thresholds in effect
    comparison: StatsComparison
    processes: int = 0
    step: int = 1  # each how many records is read


def comparison(against: Sequence[str], truth: str, precision: float) -> StatsComparison:
    """Opens the datasets of `--against [TASK=]GLOB` and `--truth`. Raises UserError if one cannot be opened."""
    if not 0 < precision <= 1:
        raise UserError(f"--precision {precision} is out of range: it must be above 0 and at most 1.")
    by_task: dict[str, list[RecordSet]] = {}
    for value in against:
        task, _, pattern = value.partition("=")
        known = bool(pattern) and task in tasks.discover()
        if pattern and not known and task.isidentifier():
            raise UserError(f"--against {value}: there is no task {task!r}.{nearest(task, tasks.discover())}")
        dataset = recordset.opened(pattern if known else value, "--against")
        by_task.setdefault(task if known else "", []).append(dataset)
    return StatsComparison(by_task, recordset.opened(truth, "--truth") if truth else None, precision)


def request(records: str, settings: Sequence[str], to: StatsComparison, processes: int = 0) -> StatsRequest:
    """Opens the dataset and checks the arguments.

    Args:
      records: glob of all its shards.
      settings: "TASK.NAME=VALUE", thresholds that differ from the tasks' defaults.
      to: the labels that its pseudo labels are compared with.
      processes: number of worker processes; 0 chooses.

    Raises:
      UserError: the arguments do not fit the dataset or each other.
    """
    dataset = recordset.opened(records)
    if not dataset.is_whole:
        raise UserError(
            f"--records={records!r} matches some of the shards in {dataset.directory}, but {verdict.NAME} describes "
            "all of them. Use 'DIR/*.tfrecord'."
        )
    configs = thresholds.configs(dataset.manifest.classes, settings)
    for task, config in configs.items():
        thresholds.check_names(config)
        for other in [*to.against.get(task, ()), *to.against.get("", ())]:
            names = other.manifest.classes.get(task)
            if names and config.classes and tuple(names) != tuple(config.classes):
                raise UserError(
                    f"--against: the class names of {task} in {other.directory} differ from those in "
                    f"{dataset.directory}. Give records with the same classes."
                )
    _check_needed([task for task in verdict.pseudo_tasks(dataset.manifest) if task in configs], dataset, to)
    return StatsRequest(dataset, configs, to, processes)


def _check_needed(labelled: Sequence[str], dataset: RecordSet, to: StatsComparison) -> None:
    """Raises UserError if a dataset of `--against` would not be compared with any pseudo labels."""
    for task, others in to.against.items() if labelled else ():
        if task and task not in labelled:
            raise UserError(f"--against {task}=...: {dataset.directory} has no pseudo labels of {task}. Leave it out.")
        if not task and to.against.keys() >= set(labelled):
            raise UserError(
                f"--against: every task with pseudo labels in {dataset.directory} has a dataset of its own. Leave out "
                f"{others[0].directory}."
            )


def earlier_agreement(dataset: RecordSet) -> Agreement:
    """Returns how far the teachers agree with themselves, as a current stats.json has it."""
    agreement: Agreement = {}
    for task, of_task in (earlier_verdicts.read(dataset.directory) or {"tasks": {}})["tasks"].items():
        for teacher, of_teacher in of_task["teachers"].items():
            if of_teacher.get("agreement"):
                agreement.setdefault(teacher, {})[task] = of_teacher["agreement"]
    return agreement


def judge(
    stats_request: StatsRequest, command: Sequence[str], force: bool = False, measure: Measure = earlier_agreement
) -> dict[str, Any]:
    """Computes statistics, judges the labels and writes stats.json.

    Args:
      stats_request: the checked arguments, see `request`.
      command: the command line, which is stored in the file.
      force: overrule a failed verdict.
      measure: returns how far the teachers agree with themselves; by default, what a current stats.json has. It is
        called after the processes for the statistics have ended, because it may start TensorFlow.

    Returns:
      The content of the file. If an earlier verdict failed on ground truth, and no ground truth is given now, that
      verdict is kept: nothing is written then, and the key "kept" holds its command.

    Raises:
      UserError: a record cannot be read, or the datasets do not fit each other.
    """
    dataset = stats_request.dataset
    configs = {
        task: stats_request.configs[task]
        for task in verdict.pseudo_tasks(dataset.manifest)
        if task in stats_request.configs
    }
    parts = stats_request.processes, stats_request.step
    pseudo = sum_dataset(dataset, configs, PSEUDO, *parts) if configs else {}
    labelled = [key for key in _labelled(dataset.manifest) if key[0] in configs]
    if stats_request.step > 1 and any(key not in pseudo or pseudo[key].images < ENOUGH / 2 for key in labelled):
        return judge(stats_request._replace(step=1), command, force, measure)  # their labels are not spread evenly
    by_task = _by_task(stats_request, pseudo, measure(dataset))
    settings = {task: verdict.thresholds_of(stats_request.configs[task]) for task in by_task}
    earlier = None if force else earlier_verdicts.read(dataset.directory)
    content = {
        "format": verdict.FORMAT,
        "command": list(command),
        "directory": dataset.directory,
        "shards": verdict.shards_fingerprint(dataset.manifest),
        "records": dataset.manifest.records,
        "read": records_read(dataset, stats_request.step),
        "settings": settings,
        "tasks": by_task,
        "verdict": _verdict(by_task, force),
        "before": earlier_verdicts.before(earlier, settings),
    }
    kept = {} if stats_request.comparison.truth else earlier_verdicts.by_truth(earlier, settings)
    if not kept:
        files.write_json(os.path.join(dataset.directory, verdict.NAME), content)
    return content | kept


def _by_task(stats_request: StatsRequest, pseudo: SumsByOrigin, agreement: Agreement) -> dict[str, Any]:
    """Returns {task: {"unlabelled": number of images, "teachers": {teacher id: statistics and verdict}}}."""
    dataset, truth = stats_request.dataset, stats_request.comparison.truth
    real = _real(stats_request, {task for task, _ in pseudo})
    configs = {task: stats_request.configs[task] for task, _ in sorted(pseudo)}
    judges: dict[tuple[str, str], against_truth.Judge] = {}
    if truth and configs:
        judges = against_truth.measure(dataset, against_truth.GroundTruth(truth, configs), configs)
    by_task: dict[str, Any] = {}
    order = list(tasks.discover())
    for task, origin in sorted(pseudo, key=lambda key: (order.index(key[0]), key[1])):
        teacher, sums = origin.removeprefix(PSEUDO), pseudo[task, origin]
        trained_on = dataset.manifest.teachers.get(teacher, {}).get("trained_on", {}).get(task, {})
        training = real.get(task) or figures.of_training(trained_on, sums)
        unlabelled = dataset.manifest.records - manifest.labelled_images(dataset.manifest, task)
        of_task = by_task.setdefault(task, {"unlabelled": unlabelled, "teachers": {}})
        names = tuple(stats_request.configs[task].classes)
        itself = agreement.get(teacher, {}).get(task, {})
        compared = ComparedWith(training, judges.get((task, origin)), stats_request.comparison.precision, itself)
        of_task["teachers"][teacher] = _of_teacher(tasks.discover()[task], sums, names, compared)
    return by_task


class ComparedWith(NamedTuple):
    """The values that one teacher's labels for one task are compared with."""

    training: dict[str, Any]  # statistics of the training records
    judge: against_truth.Judge | None  # of the comparison with ground truth
    precision: float  # the goal of suggested thresholds
    itself: Mapping[str, Any] = {}  # how far the teacher agrees with itself, see `rules.Evidence`


def _of_teacher(task: TaskSpec, sums: Sums, names: tuple[str, ...], compared: ComparedWith) -> dict[str, Any]:
    """Returns one teacher's entry in stats.json for one task."""
    statistics = figures.of(sums, task, names)
    truth = compared.judge.result(names) if compared.judge else {}
    suggested = _suggested(sums, names, compared)
    evidence = rules.Evidence(statistics, compared.training, truth, compared.itself)
    return {
        "found": statistics,
        "training": compared.training,
        "truth": truth,
        "agreement": dict(compared.itself),
        "suggested": suggested._asdict() if suggested else None,
        "failed": rules.reasons(evidence),
        "not_judged": rules.not_judged(evidence),
    }


def _suggested(sums: Sums, names: tuple[str, ...], compared: ComparedWith) -> suggest.Suggestion | None:
    """Suggests thresholds by precision if there is ground truth, else by density if the training records are known."""
    judge = compared.judge
    if not sums.has_classes:
        return None
    if judge and judge.judged.any():
        return suggest.by_precision(judge.right, judge.judged, names, compared.precision)
    if sums.unit != OBJECTS or not compared.training.get("classes"):
        return None
    return suggest.by_density(sums.scores, sums.images, names, compared.training)


def _real(stats_request: StatsRequest, wanted: set[str]) -> dict[str, dict[str, Any]]:
    """Returns {task: statistics of the real labels of `--against`}. Raises UserError if a dataset has none."""
    total: dict[str, Sums] = {}
    sources: dict[str, list[str]] = {}
    for named_task, others in stats_request.comparison.against.items() if wanted else ():
        serves = {named_task} & wanted if named_task else wanted - set(stats_request.comparison.against)
        for other in others:
            configs = recordset.configs_of(other.manifest.classes)
            real = sum_dataset(other, {task: configs[task] for task in serves}, REAL, stats_request.processes)
            if not real:
                raise UserError(_useless(other, serves))
            for (task, _), sums in real.items():
                total.setdefault(task, Sums()).merge(sums)
                sources[task] = list(dict.fromkeys([*sources.get(task, []), other.directory]))
    return {
        task: {"source": ", ".join(sources[task])}
        | figures.of(sums, tasks.discover()[task], tuple(stats_request.configs[task].classes))
        for task, sums in total.items()
    }


def _useless(other: RecordSet, serves: set[str]) -> str:
    """Returns the message that a dataset of `--against` has no usable labels for the tasks that it serves."""
    partly = [task for task in sorted(serves) if manifest.limited_images(other.manifest, task, "partial")]
    if partly:
        return (
            f"--against: {other.directory} is annotated for only some of the classes of {', '.join(partly)}, so its "
            "counts cannot be compared. Give records that are annotated for all classes, or leave it out."
        )
    return f"--against: {other.directory} has no real labels of {', '.join(sorted(serves))}. Leave it out."


def _verdict(by_task: Mapping[str, Any], force: bool) -> dict[str, Any]:
    failed: dict[str, list[str]] = {}
    for task, of_task in by_task.items():
        for teacher, of_teacher in of_task["teachers"].items():
            by = f"teacher {teacher}: " if len(of_task["teachers"]) > 1 else ""
            failed.setdefault(task, []).extend(f"{by}{sentence}" for sentence in of_teacher["failed"])
    failed = {task: sentences for task, sentences in failed.items() if sentences}
    return {"failed": failed, "overruled": bool(failed) and force}


def exit_code(content: Mapping[str, Any]) -> int:
    """Returns 1 if the labels are unfit and the verdict is not overruled, else 0."""
    return int(bool(content["verdict"]["failed"]) and not content["verdict"]["overruled"])


def after_labelling(out: str, force: bool, measure: Measure = lambda dataset: {}) -> int:
    """Judges a folder that was just labelled, at the tasks' default thresholds, and prints the verdict to stderr.

    If the folder has a current verdict, it is kept: it may have used ground truth or other thresholds. If each
    teacher labelled more images than `ENOUGH`, evenly spread records are read.

    Args:
      out: the folder.
      force: overrule a failed verdict.
      measure: returns how far the teachers agree with themselves. Is called if the folder has no current verdict.

    Returns:
      The exit code: 0, or 1 if the labels are unfit to train on.
    """
    content = earlier_verdicts.read(out)
    if content is None:
        whole = request(os.path.join(glob.escape(out), "*.tfrecord"), (), StatsComparison({}))
        stats_request = whole._replace(step=_step(whole.dataset.manifest))
        content = judge(stats_request, ["must-records", "label"], force, measure)
    elif force:
        content = earlier_verdicts.overruled(out, content)
    for line in tables.verdict_lines(content):
        print(line, file=sys.stderr, flush=True)
    return exit_code(content)


def _step(described: manifest.Manifest) -> int:
    """Returns each how many records has to be read, so that there are enough of every teacher's labels."""
    return max(1, min(_labelled(described).values(), default=0) // ENOUGH)


def _labelled(described: manifest.Manifest) -> dict[tuple[str, str], int]:
    """Returns {(task, origin): number of images} of the pseudo labels."""
    return {
        (task, origin): count
        for task, origins in described.origins.items()
        for origin, count in origins.items()
        if record.is_pseudo(origin) and count
    }
