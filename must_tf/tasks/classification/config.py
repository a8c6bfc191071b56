"""Settings of the task; `__init__.py` states its conventions."""

from __future__ import annotations

import dataclasses

from must_tf.config.fields import between, choice, named_between, threshold
from must_tf.spec import TaskConfig


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
