"""What stats.json says already: a verdict against labels is not forgotten when they are judged otherwise.

Labels that fail at one threshold may pass at another, and are as unfit at the first as they were. So the verdicts
against them are kept under `before`, each with its thresholds, and training refuses labels that it would read with
these. A look at the same thresholds takes the place of an earlier one, but where a truth has spoken, only beside a
truth; `--force` overrules all of them.
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
    """What stats.json says of a folder's shards; None: there is none, it is of others, or damaged."""
    try:
        content = verdict.read(folder)
    except UserError:
        return None
    return content if content is not None and verdict.is_current(content, manifest.read(folder)) else None


def overruled(folder: str, content: Content) -> Content:
    """Its verdicts, overruled and written so, where there are any against the labels."""
    failed = bool(content["verdict"]["failed"])
    if verdict.earlier_failures(content) or (failed and not content["verdict"]["overruled"]):
        content = content | {"verdict": content["verdict"] | {"overruled": failed}, "before": []}
        files.write_json(os.path.join(folder, verdict.NAME), content)
    return content


def by_truth(content: Content | None, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a look without a truth leaves as it is: one with a truth has spoken against labels, last or at the same
    thresholds. `verdict`, `before`, and its command as `kept`; nothing where none has.

    Args:
      content: of stats.json, if any.
      settings: {task: thresholds} of the look.
    """
    if content is None:
        return {}
    stands = {"before": content.get("before", [])}
    if content["verdict"]["failed"] and _asked_truth(content):
        return stands | {"verdict": content["verdict"], "kept": content["command"]}
    again = [one for one in verdict.earlier_failures(content) if one.truth and one.settings == settings.get(one.task)]
    if not again:
        return {}
    failed = {one.task: one.failed for one in again}
    return stands | {"verdict": {"failed": failed, "overruled": False}, "kept": again[0].command}


def before(content: Content | None, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The verdicts against labels that stand beside a look at these thresholds, the last first; as JSON."""
    if content is None:
        return []
    judged, truth, last = content["verdict"], _asked_truth(content), list[FailedVerdict]()
    for task, failed in judged["failed"].items() if not judged["overruled"] else ():
        last.append(FailedVerdict(task, content["settings"][task], failed, truth, content["command"]))
    return [
        one._asdict() for one in [*last, *verdict.earlier_failures(content)] if one.settings != settings.get(one.task)
    ]


def _asked_truth(content: Content) -> bool:
    teachers = [one for task in content["tasks"].values() for one in task["teachers"].values()]
    return any(one["truth"].get("images") for one in teachers)
