"""What the image shows: `probability` [C], sums to 1, one-hot when real. Id 0 is the first class, no background.

One class excludes the others, so a dataset that knows only some of them punishes nothing that may be there."""

from __future__ import annotations

import dataclasses

from must_tf.fields import between, choice
from must_tf.spec import TaskConfig, TaskSpec
from must_tf.tasks.classification import labels, loss, metric, model, pseudo, view


@dataclasses.dataclass
class Config(TaskConfig):
    """Attributes:
    cross_entropy: with the label's distribution ("soft", as in the paper), or with its likeliest class ("hard").
    label_smoothing: 0 trains on the labels as they are; soft labels need none.
    """

    cross_entropy: str = choice("soft", "hard")
    label_smoothing: float = between(0.0, 0, 1)


TASK = TaskSpec(
    name="classification",
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
