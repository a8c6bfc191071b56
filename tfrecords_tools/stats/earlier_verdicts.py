"""Earlier verdicts in stats.json: a failure is kept when the labels are judged at other thresholds.

Labels that fail at one threshold may pass at another, but are still unfit at the first. So failed verdicts are kept
under `before`, each with its thresholds, and training refuses labels at the thresholds that failed. A new verdict
replaces an earlier one at the same thresholds. A verdict that used ground truth is only replaced by another one that
does. `--force` overrides all of them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from must_tf.common import files
from must_tf.common.errors import UserError
from must_tf.data import manifest
from must_tf.pseudo_gate import verdict
from must_tf.pseudo_gate.verdict import FailedVerdict

Content = dict[str, Any]


def read(folder: str) -> Content | None:
    """Returns the content of a folder's stats.json; None if there is none, or if it is stale or damaged."""
    try:
        content = verdict.read(folder)
    except UserError:
        return None
    return content if content is not None and verdict.is_current(content, manifest.read(folder)) else None


def overruled(folder: str, content: Content) -> Content:
    """Overrules all failed verdicts, if there are any, and writes stats.json. Returns its content."""
    failed = bool(content["verdict"]["failed"])
    if verdict.earlier_failures(content) or (failed and not content["verdict"]["overruled"]):
        content = content | {"verdict": content["verdict"] | {"overruled": failed}, "before": []}
        files.write_json(os.path.join(folder, verdict.NAME), content)
    return content


def by_truth(content: Content | None, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the part of stats.json that a judgement without ground truth must not replace.

    This is the case if a verdict with ground truth failed, either the last one or one at the same thresholds.

    Args:
      content: content of stats.json, if there is one.
      settings: {task: thresholds} of the new judgement.

    Returns:
      The keys `verdict` and `before`, and `kept`: the command of the verdict that is kept. Empty if there is none.
    """
    if content is None:
        return {}
    earlier = {"before": content.get("before", [])}
    if content["verdict"]["failed"] and _used_truth(content):
        return earlier | {"verdict": content["verdict"], "kept": content["command"]}
    same = [
        failure
        for failure in verdict.earlier_failures(content)
        if failure.truth and failure.settings == settings.get(failure.task)
    ]
    if not same:
        return {}
    failed = {failure.task: failure.failed for failure in same}
    return earlier | {"verdict": {"failed": failed, "overruled": False}, "kept": same[0].command}


def before(content: Content | None, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the failed verdicts at other thresholds than these, the latest first, as JSON."""
    if content is None:
        return []
    judged, truth, last = content["verdict"], _used_truth(content), list[FailedVerdict]()
    for task, failed in judged["failed"].items() if not judged["overruled"] else ():
        last.append(FailedVerdict(task, content["settings"][task], failed, truth, content["command"]))
    failures = [*last, *verdict.earlier_failures(content)]
    return [failure._asdict() for failure in failures if failure.settings != settings.get(failure.task)]


def _used_truth(content: Content) -> bool:
    teachers = [of_teacher for task in content["tasks"].values() for of_teacher in task["teachers"].values()]
    return any(of_teacher["truth"].get("images") for of_teacher in teachers)
