"""What the image shows: `probability` [C], sums to 1, one-hot when real. Id 0 is the first class, no background.

One class excludes the others, so a dataset that knows only some of them punishes nothing that may be there."""

from __future__ import annotations

import dataclasses

from must_tf.config.fields import between, choice, named_between, threshold
from must_tf.spec import ClassIds, TaskConfig, TaskSpec
from must_tf.tasks.classification import labels, loss, metric, model, pseudo, summary, view


@dataclasses.dataclass
class Config(TaskConfig):
    """Attributes:
    cross_entropy: with the label's distribution ("soft", as in the paper), or with its likeliest class ("hard").
    confidence_threshold: an image of a teacher whose likeliest class is less likely is unlabelled; 0: none is, as in
      the paper.
    class_thresholds: other thresholds for single classes, like "kitchen=0.4".
    label_smoothing: 0 trains on the labels as they are; soft labels need none.
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
