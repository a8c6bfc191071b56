"""Instance segmentation: one mask per object of `detection`, over its box.

Labels hold masks cropped to the pixels that the box touches. Targets are square grids over the visible part of the box,
predictions are 28 x 28 grids of probabilities over the predicted box.

No mask is empty: if no pixel has a probability of 0.5, the mask is the likeliest pixel, and its score is low. So every
box of a teacher has a mask, and boxes and masks stay one list.
"""

from __future__ import annotations

import dataclasses

from must_tf.config.fields import at_least, between, named_between, threshold
from must_tf.spec import ClassIds, TaskConfig, TaskSpec
from must_tf.tasks.detection import labels as objects
from must_tf.tasks.detection import rules
from must_tf.tasks.masks import labels, loss, metric, model, pseudo, summary, view


@dataclasses.dataclass
class Config(TaskConfig):
    """Attributes:
    filters: channels of the head's 4 convs.
    sampled_rois: number of proposals trained on, per image.
    target_side: side of the target masks' grids over their boxes, before they are cut to the sampled proposals.
    max_objects, score_threshold: as in detection, for the objects whose masks are trained on.
    class_thresholds: as in detection; empty: taken from detection.
    mask_score_threshold: pseudo-labelled masks below it are not trained on, though their boxes are. The score is the
      mean probability of the mask's pixels, so 0.5 drops exactly the masks of which no pixel reaches 0.5; 0 keeps all.
    """

    filters: int = at_least(256, 1)
    sampled_rois: int = at_least(128, 1)
    target_side: int = at_least(112, 1)
    max_objects: int = at_least(100, 1)
    score_threshold: float = threshold(between(0.5, 0, 1))
    class_thresholds: tuple[str, ...] = threshold(named_between(0, 1))
    mask_score_threshold: float = threshold(between(0.5, 0, 1))


TASK = TaskSpec(
    name="masks",
    needs=("detection",),
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
    believed=labels.believed,
    settle=labels.settle,
    class_ids=ClassIds(labels.count, first=rules.FIRST_ID, restrict=objects.restrict),
)
