"""Image classification: `probability` [C] sums to 1, one-hot if real. Id 0 is the first class; there is no background.

A label rules out all other classes, so partial annotation (a dataset with only some of the classes) needs no special
handling.
"""

from __future__ import annotations

from must_tf.spec import ClassIds, TaskSpec
from must_tf.tasks.classification import labels, loss, metric, model, pseudo, summary, view
from must_tf.tasks.classification.config import Config

TASK = TaskSpec(
    name="classification",
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
    believed=labels.believed,
    settle=labels.settle,
    class_ids=ClassIds(labels.count, labels.recode),
)
