"""Whether pseudo labels may be trained on: what `must-records stats` found of them by the rules of `gate_rules`."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from must_tf.common.errors import UserError
from must_tf.config import fields
from must_tf.data import manifest, record
from must_tf.data.manifest import Manifest

NAME = "stats.json"  # beside manifest.json
FORMAT = 1


def fingerprint(found: Manifest) -> str:
    """A hash of the shards that a manifest lists: figures of other shards are stale."""
    return hashlib.sha256("\n".join(shard["sha256"] for shard in found.shards).encode()).hexdigest()


def settings_of(config: Any) -> dict[str, Any]:
    """The settings that say what is believed of a task's pseudo labels, as JSON knows them."""
    found = {name: getattr(config, name) for name in fields.names(config, fields.THRESHOLD)}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}


class Against(NamedTuple):
    """A verdict against a task's labels, which holds for these thresholds.

    `failed`: sentences; `truth`: whether a truth was asked; `command`: what judged.
    """

    task: str
    settings: dict[str, Any]
    failed: list[str]
    truth: bool = False
    command: Sequence[str] = ()


class Verdict(NamedTuple):
    """What `stats.json` says of a folder.

    `state`: "absent", "stale", "passed", "failed" or "overruled", of the last look; `failed`: {task: sentences};
    `settings`: {task: the thresholds that they hold for}; `before`: earlier ones against labels, at other thresholds.
    """

    state: str
    failed: dict[str, list[str]] = {}
    settings: dict[str, dict[str, Any]] = {}
    before: tuple[Against, ...] = ()

    def against(self, configs: Mapping[str, Any]) -> dict[str, Against]:
        """{task: why its labels are not fit} where they are read so: what failed last, or ever at these thresholds."""
        last = [Against(task, self.settings[task], failed) for task, failed in self.failed.items()]
        found = {one.task: one for one in last if self.state == "failed" and one.task in configs}
        ever = [one for one in self.before if one.task in configs and _same(configs[one.task], one.settings)]
        return found | {one.task: one for one in ever}


def verdict(folder: str, found: Manifest | None = None) -> Verdict:
    """Reads the verdict on a folder of records.

    Args:
      folder: of the shards.
      found: its manifest, where it was read already.

    Raises:
      UserError: as `read`, or there is no manifest.
    """
    content = read(folder)
    if content is None:
        return Verdict("absent")
    if not fits(content, found or manifest.read(folder)):
        return Verdict("stale")
    judged = content["verdict"]
    state = "passed" if not judged["failed"] else "overruled" if judged["overruled"] else "failed"
    return Verdict(state, judged["failed"], content["settings"], tuple(before(content)))


def read(folder: str) -> dict[str, Any] | None:
    """The content of a folder's `stats.json`; None where there is none.

    Raises:
      UserError: it is no JSON, or holds something else.
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
        remedy = "Run must-records stats again, or remove it."
        raise UserError(f"{path} cannot be read ({type(error).__name__}: {error}). {remedy}") from None


def _check_content(content: Mapping[str, Any]) -> None:
    if not content["settings"].keys() >= content["verdict"]["failed"].keys():
        raise ValueError("tasks without settings")
    before(content)


def before(content: Mapping[str, Any]) -> list[Against]:
    """The earlier verdicts in the content of a `stats.json`."""
    return [Against(**one) for one in content.get("before", ())]


def fits(content: Mapping[str, Any], found: Manifest) -> bool:
    """Whether the content of a `stats.json` is about these shards."""
    return content.get("format") == FORMAT and content.get("shards") == fingerprint(found)


class Said(NamedTuple):
    """What stops a run, and what is only said; a sentence each."""

    problems: list[str]
    notes: list[str]


def check(configs: Mapping[str, Any], manifests: Mapping[str, Manifest]) -> Said:
    """What is known of the pseudo labels that these tasks would be trained on.

    Args:
      configs: of the tasks in use.
      manifests: of the training sets by folder.
    """
    said = Said([], [])
    for folder, found in manifests.items():
        labelled = {name: configs[name] for name in pseudo_tasks(found) if name in configs}
        if labelled:
            _check(folder, verdict(folder, found), labelled, said)
    return said


def pseudo_tasks(found: Manifest) -> list[str]:
    """The tasks for which a teacher labelled images of a set."""
    return [task for task, origins in found.origins.items() if any(record.is_pseudo(one) for one in origins)]


def _check(folder: str, known: Verdict, configs: Mapping[str, Any], said: Said) -> None:
    command = f"must-records stats --records '{folder}/*.tfrecord'{_options(configs)}"
    if known.state == "absent":
        said.notes.append(f"{folder}: its pseudo labels were not judged; run {command}")
    elif known.state == "stale":
        said.notes.append(f"{folder}: its pseudo labels have changed since they were judged; run {command}")
    against = known.against(configs)
    for task, config in configs.items():
        if task in against:
            said.problems.append(_refused(folder, against[task], command, _same(config, against[task].settings)))
        elif not _same(config, known.settings.get(task, {})):
            said.notes.append(f"{folder}: {task} was judged at other thresholds; run {command}")


def _same(config: Any, judged: Mapping[str, Any]) -> bool:
    """Whether a task's config has the thresholds that were judged."""
    return all(settings_of(config).get(name) == value for name, value in judged.items())


def written(settings: Mapping[str, Any]) -> str:
    """Thresholds in one line."""
    return ", ".join(f"{name}={json.dumps(value)}" for name, value in settings.items())


def _refused(folder: str, why: Against, command: str, same: bool) -> str:
    """Why a run does not start; `same`: it reads with the thresholds that were judged."""
    said = f"{why.task}'s pseudo labels are not fit to train on"
    if not same:
        said, remedy = (
            f"{said}, judged at other thresholds than this run's ({written(why.settings)})",
            f"Judge them at this run's: {command}",
        )
    else:
        remedy = f"To train on them all the same: {command} --force"
    return f"{folder}: {said}. {' '.join(why.failed)} {remedy}"


def _options(configs: Mapping[str, Any]) -> str:
    """The options that tell `must-records stats` of thresholds other than the tasks' own."""
    given = []
    for task, config in configs.items():
        usual = settings_of(type(config)())
        changed = {name: value for name, value in settings_of(config).items() if value != usual[name]}
        given += [f" --set {shlex.quote(f'{task}.{name}={json.dumps(value)}')}" for name, value in changed.items()]
    return "".join(given)
