"""Image classification: `probability` [C] sums to 1, one-hot if real. Id 0 is the first class; there is no background.

A label rules out all other classes, so partial annotation (a dataset with only some of the classes) needs no care.
"""

from __future__ import annotations

import dataclasses

from must_tf.config.fields import between, choice, named_between, threshold
from must_tf.spec import ClassIds, TaskConfig, TaskSpec
from must_tf.tasks.classification import labels, loss, metric, model, pseudo, summary, view


@dataclasses.dataclass
class Config(TaskConfig):
    """Attributes:
    cross_entropy: against the label's distribution ("soft", as in the paper), or its likeliest class ("hard").
    confidence_threshold: a pseudo label whose likeliest class is below it counts as unlabelled; 0 (as in the paper)
      keeps all.
    class_thresholds: thresholds of single classes, like "kitchen=0.4".
    label_smoothing: 0 disables it. Soft labels need none.
    """

    cross_entropy: str = choice("soft", "hard")
    confidence_threshold: float = threshold(between(0.0, 0, 1))
    class_thresholds: tuple[str, ...] = threshold(named_between(0, 1))
    label_smoothing: float = between(0.0, 0, 1)


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
