"""Which pixels are an object's: one mask per object of `detection`, over its box.

Labels hold the mask cropped to the pixels that the box touches, targets a square grid over the visible box, predictions
a 28 x 28 grid of probabilities over the predicted box.
"""

from __future__ import annotations

import dataclasses

from must_tf.spec import TaskConfig, TaskSpec
from must_tf.tasks.masks import labels, loss, metric, model, pseudo, view


@dataclasses.dataclass
class Config(TaskConfig):
    """Attributes:
    filters: of the head's 4 convs.
    sampled_rois: trained on, per image.
    target_side: grid of the target masks over their boxes, before they are cut to the sampled proposals.
    max_objects, score_threshold: as in detection, for the objects whose masks are trained on.
    """

    filters: int = 256
    sampled_rois: int = 128
    target_side: int = 112
    max_objects: int = 100
    score_threshold: float = 0.5


TASK = TaskSpec(
    name="masks",
    needs=("detection",),
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
    first_id=1,
    count=labels.count,
)
