"""How far every pixel is: `metres` float32 [h, w] along the camera's axis (z), 0 = unknown.

Zooming changes what metric depth means: an enlarged crop looks nearer. The rule here: the network predicts the metres
of the *fitted* image (longer side = input size). In a view enlarged by z, a wall at d metres looks as one at d / z
does, so its target is d / z. Predictions are made on fitted images and need no correction.
"""

from __future__ import annotations

import dataclasses

from must_tf.fields import at_least, between
from must_tf.spec import TaskConfig, TaskSpec
from must_tf.tasks.depth import labels, loss, metric, model, pseudo, view


@dataclasses.dataclass
class Config(TaskConfig):
    """Attributes:
    filters: of the head's convs.
    stride: resolution of the targets; 1 trains at the input's resolution, 4 at the head's (faster).
    variance_focus: lambda of the SILog loss; 1 is scale-invariant, 0 plain squared log error.
    balance_by_hand: depth takes no part in the paper's weight rule; `loss_weight` alone counts.
    """

    filters: int = at_least(256, 1)
    stride: int = at_least(1, 1)
    variance_focus: float = between(0.5, 0, 1)
    balance_by_hand: bool = True


TASK = TaskSpec(
    name="depth",
    needs=(),
    classed=False,
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
)
