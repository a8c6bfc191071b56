"""Which pixels are an object's: one mask per object of `detection`, over its box.

Labels hold the mask cropped to the pixels that the box touches, targets a square grid over the visible box, predictions
a 28 x 28 grid of probabilities over the predicted box.

A mask without a pixel does not exist: where none is as likely as not, the mask is its likeliest pixel, and its score
says how unlikely that is. So every box of a teacher has a mask, and boxes and masks stay one list.
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
    filters: of the head's 4 convs.
    sampled_rois: trained on, per image.
    target_side: grid of the target masks over their boxes, before they are cut to the sampled proposals.
    max_objects, score_threshold: as in detection, for the objects whose masks are trained on.
    class_thresholds: as in detection; detection's, where none is given here.
    mask_score_threshold: a teacher's masks below are not trained on, their boxes are. A mask's score is the mean
      probability of its pixels, so 0.5 leaves out exactly those of which no pixel is as likely as not; 0: none.
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
