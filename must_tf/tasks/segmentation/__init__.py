"""Semantic segmentation: `classes` int32 [h, w], ids 0..C-1, 255 = ignore; `confidence` [h, w], 1.0 if real.

There is no background class; what a dataset calls "other" is 255. Partial annotation therefore needs no special
handling: a known pixel rules out all other classes, and pixels that may show a class that was not annotated are 255.
"""

from __future__ import annotations

from must_tf.spec import ClassIds, TaskSpec
from must_tf.tasks.segmentation import labels, loss, metric, model, pseudo, summary, view
from must_tf.tasks.segmentation.config import Config

TASK = TaskSpec(
    name="segmentation",
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
