"""Instance segmentation: one mask per object of `detection`, over its box.

Labels hold masks cropped to the pixels that the box touches. Targets are square grids over the visible part of the box,
predictions are 28 x 28 grids of probabilities over the predicted box.

No mask is empty: if no pixel has a probability of 0.5, the mask is the likeliest pixel, and its score is low. So every
box of a teacher has a mask, and boxes and masks stay one list.

A real object may lack a mask (score -1) among others that have one. Its mask was not looked at: the object is trained
and measured for its box, and has no part in the masks' loss, metric, counts and drawings.
"""

from __future__ import annotations

from must_tf.spec import ClassIds, TaskSpec
from must_tf.tasks.detection import labels as objects
from must_tf.tasks.detection import rules
from must_tf.tasks.masks import labels, loss, metric, model, pseudo, summary, view
from must_tf.tasks.masks.config import Config

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
