"""The confidence of maps that have none of their own: a teacher's labels are compared with those of the mirrored photo.

How they are compared is the task's: `Summary.confidence` in `must_tf/label_content.py`.

A pixel of a half map stands for two columns of the photo, counted from the left in one map and from the right in the
other. If the photo's width is odd, these are one column apart, so that confidence is a little lower at edges.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from must_tf.common.errors import UserError
from must_tf.shared.pixel_confidence import CONFIDENCE
from must_tf.spec import Labels
from must_tf.tasks import discover

METHOD = "agreement with the labels of the mirrored photo"  # in the manifest


def compared(tasks: Iterable[str]) -> list[str]:
    """Returns those of the tasks whose labels get their confidence by comparison."""
    return [task for task in tasks if discover()[task].summary.confidence]


def require(tasks: Collection[str]) -> None:
    """Raises UserError if `--confidence` would change nothing for these tasks."""
    if tasks and not compared(tasks):
        raise UserError(
            f"--confidence: it is for {', '.join(compared(discover()))}, and no --teacher labels these. Leave it out."
        )


def added(
    labels: Mapping[str, Labels], mirrored: Mapping[str, Labels], configs: Mapping[str, Any]
) -> dict[str, Labels]:
    """Returns a teacher's labels of a photo with their confidence.

    Args:
      labels: {task: labels} of the photo.
      mirrored: of the mirrored photo, in its own frame.
      configs: {task: config}.
    """
    found = dict(labels)
    for task in compared(labels):
        compare = discover()[task].summary.confidence
        if compare and task in mirrored:
            found[task] = labels[task] | {CONFIDENCE: compare(labels[task], mirrored[task], configs[task])}
    return found
