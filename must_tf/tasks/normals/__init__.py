"""Surface normals: `normals` float32 [h, w, 3], unit vectors, 0,0,0 = unknown.

Axes are the camera's: x right, y down, z forward. Normals point at the camera, so a wall that faces it is 0,0,-1 and
the floor is 0,-1,0.
"""

from __future__ import annotations

import dataclasses

from must_tf.config.fields import at_least, below, choice
from must_tf.spec import TaskConfig, TaskSpec
from must_tf.tasks.normals import labels, loss, metric, model, pseudo, summary, view


@dataclasses.dataclass
class Config(TaskConfig):
    """Attributes:
    filters: channels of the head's convs.
    stride: resolution of the targets; 1 trains at the input's resolution, 4 at the head's (faster).
    loss: "cosine" or "l1", see `loss.py`.
    ignore_hardest: share of pseudo-labelled pixels per image that are left out, those with the largest loss.
    """

    filters: int = at_least(256, 1)
    stride: int = at_least(1, 1)
    loss: str = choice("cosine", "l1")
    ignore_hardest: float = below(0.0, 0, 1)


TASK = TaskSpec(
    name="normals",
    needs=(),
    Config=Config,
    features=labels.features,
    read=labels.read,
    write=labels.write,
    targets=labels.targets,
    head=model.head,
    terms=loss.terms,
    loss=loss.loss,
    decode=model.decode,
    restore=model.restore,
    ideal=model.ideal,
    keep=pseudo.keep,
    Metric=metric.Metric,
    draw=view.draw,
    summary=summary.SUMMARY,
)
