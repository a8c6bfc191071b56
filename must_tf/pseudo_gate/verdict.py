"""The verdict on pseudo labels, which decides whether a run may train on them.

`must stats` judges a folder of records by `rules` and writes `stats.json` beside the manifest. Training and
`must merge` read it here.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from collections.abc import Container, Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from must_tf.common.errors import UserError
from must_tf.common.text import listed
from must_tf.config import fields
from must_tf.data import manifest, record
from must_tf.data.manifest import Manifest
from must_tf.pseudo_gate import rules

NAME = "stats.json"  # beside manifest.json
FORMAT = 1


def shards_fingerprint(described: Manifest) -> str:
    """Returns a hash of the shards that a manifest lists. A verdict on other shards is stale."""
    return hashlib.sha256("\n".join(shard["sha256"] for shard in described.shards).encode()).hexdigest()


def thresholds_of(config: Any) -> dict[str, Any]:
    """Returns a task's settings that decide which of its pseudo labels are used, as JSON values."""
    values = {name: getattr(config, name) for name in fields.names(config, fields.THRESHOLD)}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


class FailedVerdict(NamedTuple):
    """A verdict that a task's labels are unfit to train on. The fields are the keys under `before` in stats.json."""

    task: str
    settings: dict[str, Any]  # the thresholds at which the labels were judged
    failed: list[str]  # the reasons, sentences
    truth: bool = False  # the labels were compared with ground truth
    command: Sequence[str] = ()  # the command that judged them


class Verdict(NamedTuple):
    """The content of a folder's `stats.json`, as far as training needs it."""

    state: str  # of the last judgement: "absent", "stale", "passed", "failed" or "overruled"
    failed: dict[str, list[str]] = {}  # task -> the reasons of the last judgement, sentences
    settings: dict[str, dict[str, Any]] = {}  # task -> the thresholds of the last judgement
    earlier: tuple[FailedVerdict, ...] = ()  # earlier failures, at other thresholds
    unjudged: tuple[str, ...] = ()  # tasks of which too few images are labelled: nothing is known of them

    @property
    def words(self) -> str:
        """The verdict for a reader."""
        some = f"not judged, too few images: {listed(self.unjudged)}"
        if not self.unjudged:
            return self.state
        return some if {*self.unjudged} >= self.settings.keys() else f"{self.state}; {some}"

    def failures(self, configs: Mapping[str, Any]) -> dict[str, FailedVerdict]:
        """Returns {task: the failed verdict} of tasks that may not be trained with these configs.

        These are all that failed in the last judgement, and all that ever failed at the thresholds of `configs`.
        """
        last = [FailedVerdict(task, self.settings[task], failed) for task, failed in self.failed.items()]
        failures = {failure.task: failure for failure in last if self.state == "failed" and failure.task in configs}
        for failure in self.earlier:
            if failure.task in configs and _has_thresholds(configs[failure.task], failure.settings):
                failures[failure.task] = failure
        return failures


def of_folder(folder: str, described: Manifest | None = None) -> Verdict:
    """Reads the verdict on a folder of records.

    Args:
      folder: the shards' folder.
      described: its manifest, if it has been read already.

    Raises:
      UserError: stats.json or the manifest cannot be read.
    """
    content = read(folder)
    if content is None:
        return Verdict("absent")
    if not is_current(content, described or manifest.read(folder)):
        return Verdict("stale")
    judged = content["verdict"]
    state = "passed" if not judged["failed"] else "overruled" if judged["overruled"] else "failed"
    return Verdict(state, judged["failed"], content["settings"], tuple(earlier_failures(content)), unjudged(content))


def unjudged(content: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns the tasks in the content of a `stats.json` that have too few labelled images to be judged."""
    return tuple(
        task
        for task, of_task in content["tasks"].items()
        if not all(rules.is_judged(of_teacher["found"]) for of_teacher in of_task["teachers"].values())
    )


def unfit(folder: str, tasks: Container[str]) -> list[str]:
    """Returns "task: reasons" of the labels that were judged unfit to train on, also if `--force` overruled that.

    A verdict that cannot be read is such a sentence, too.
    """
    try:
        failed = of_folder(folder).failed
    except UserError as error:
        return [str(error)]
    return [f"{task}: {' '.join(reasons)}" for task, reasons in failed.items() if task in tasks]


def read(folder: str) -> dict[str, Any] | None:
    """Returns the content of a folder's `stats.json`, or None if there is no such file.

    Raises:
      UserError: it is not valid JSON, or has other content.
    """
    path = os.path.join(folder, NAME)
    if not tf.io.gfile.exists(path):
        return None
    try:
        with tf.io.gfile.GFile(path) as file:
            content = json.loads(file.read())
        if content["format"] == FORMAT:
            _check_content(content)
        return dict(content)
    except (tf.errors.OpError, ValueError, KeyError, TypeError, AttributeError) as error:
        remedy = "Delete it and run must stats again."
        raise UserError(f"{path} cannot be read ({type(error).__name__}: {error}). {remedy}") from None


def _check_content(content: Mapping[str, Any]) -> None:
    if not content["settings"].keys() >= content["verdict"]["failed"].keys():
        raise ValueError("a failed task has no settings")
    earlier_failures(content)


def earlier_failures(content: Mapping[str, Any]) -> list[FailedVerdict]:
    """Returns the earlier failed verdicts in the content of a `stats.json`."""
    return [FailedVerdict(**entry) for entry in content.get("before", ())]


def is_current(content: Mapping[str, Any], described: Manifest) -> bool:
    """Returns True if the content of a `stats.json` describes the shards of this manifest."""
    return content.get("format") == FORMAT and content.get("shards") == shards_fingerprint(described)


class GateResult(NamedTuple):
    """Problems stop a run, notes are printed. Each is a sentence."""

    problems: list[str]
    notes: list[str]


def check(configs: Mapping[str, Any], manifests: Mapping[str, Manifest]) -> GateResult:
    """Checks the verdicts on the pseudo labels that a run would train on.

    Args:
      configs: {task: config} of the enabled tasks.
      manifests: {folder: manifest} of the training data.
    """
    result = GateResult([], [])
    for folder, described in manifests.items():
        labelled = {name: configs[name] for name in pseudo_tasks(described) if name in configs}
        if labelled:
            _check_folder(folder, of_folder(folder, described), labelled, result)
    return result


def pseudo_tasks(described: Manifest) -> list[str]:
    """Returns the tasks that have a teacher's pseudo labels."""
    return [task for task, origins in described.origins.items() if any(map(record.is_pseudo, origins))]


def _check_folder(folder: str, judged: Verdict, configs: Mapping[str, Any], result: GateResult) -> None:
    command = f"must stats --records {shlex.quote(f'{folder}/*.tfrecord')}{_options(configs)}"
    if judged.state == "absent":
        result.notes.append(f"{folder}: the pseudo labels have not been judged; run {command}")
    elif judged.state == "stale":
        result.notes.append(f"{folder}: the pseudo labels have changed since they were judged; run {command}")
    failures, others = judged.failures(configs), list[str]()
    for task, config in configs.items():
        if task in failures:
            result.problems.append(_refusal(folder, failures[task], command, config))
        elif not _has_thresholds(config, judged.settings.get(task, {})):
            others.append(task)
    if others:
        result.notes.append(f"{folder}: {listed(others, len(others))} judged at other thresholds; run {command}")


def _has_thresholds(config: Any, settings: Mapping[str, Any]) -> bool:
    """Returns True if a task's config has these thresholds."""
    return all(thresholds_of(config).get(name) == value for name, value in settings.items())


def in_one_line(settings: Mapping[str, Any]) -> str:
    """Returns thresholds as "name=value, name=value"."""
    return ", ".join(f"{name}={json.dumps(value)}" for name, value in settings.items())


def _refusal(folder: str, failure: FailedVerdict, command: str, config: Any) -> str:
    """Returns the message that a run with this config of the task must not start."""
    unfit = f"the pseudo labels of {failure.task} are unfit to train on"
    if _has_thresholds(config, failure.settings):
        remedy = f"To train on them anyway, run {command} --force"
    else:
        unfit += f", judged at other thresholds than this run's ({in_one_line(failure.settings)})"
        remedy = f"To judge them at this run's thresholds, run {command}"
    return f"{folder}: {unfit}. {' '.join(failure.failed)} {remedy}"


def _options(configs: Mapping[str, Any]) -> str:
    """Returns the options of `must stats` for thresholds that differ from the tasks' defaults."""
    options = []
    for task, config in configs.items():
        defaults = thresholds_of(type(config)())
        changed = {name: value for name, value in thresholds_of(config).items() if value != defaults[name]}
        options += [f" --set {shlex.quote(f'{task}.{name}={json.dumps(value)}')}" for name, value in changed.items()]
    return "".join(options)
