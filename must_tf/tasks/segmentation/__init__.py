"""What every pixel shows: `classes` int32 [h, w], ids 0..C-1, 255 = ignore; `confidence` [h, w], 1.0 when real."""

from __future__ import annotations

import dataclasses

from must_tf.spec import TaskConfig, TaskSpec
from must_tf.tasks.segmentation import labels, loss, metric, model, pseudo, view


@dataclasses.dataclass
class Config(TaskConfig):
    """Attributes:
    filters: of the head's convs.
    stride: resolution of the targets; 1 trains at the input's resolution, 4 at the head's (faster).
    confidence_threshold: a teacher's pixels below are ignored (0.5 in the paper).
    """

    filters: int = 256
    stride: int = 1
    confidence_threshold: float = 0.5


TASK = TaskSpec(
    name="segmentation",
    needs=(),
    classed=True,
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
    keep=pseudo.keep,
    Metric=metric.Metric,
    headline=metric.HEADLINE,
    higher_is_better=metric.HIGHER_IS_BETTER,
    draw=view.draw,
    count=labels.count,
    recode=labels.recode,
)
