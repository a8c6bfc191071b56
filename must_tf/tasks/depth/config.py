"""Settings of the task; `__init__.py` states its conventions."""

from __future__ import annotations

import dataclasses

from must_tf.config.fields import at_least, below, between, by_hand, choice, measuring, small, threshold
from must_tf.spec import TaskConfig

ALIGNMENTS = ("none", "median", "scale_and_shift")
CROPS = ("none", "eigen", "garg")


@dataclasses.dataclass
class Config(TaskConfig):
    """Attributes:
    filters: channels of the head's convs.
    stride: resolution of the targets; 1 trains at the input's resolution, 4 at the head's (faster).
    loss: "silog", "l1" or "berhu" of metres, or "ssi", up to scale and shift; see `loss.py`.
    variance_focus: lambda of the SILog loss; 1 is scale-invariant, 0 plain squared log error.
    gradient_weight: alpha of the multi-scale gradient term beside "ssi".
    relative_labels: with a loss of metres, "refuse" to start if there are relative labels, or "ignore" them.
    confidence_threshold: pseudo-labelled pixels below it are unknown; pixels without a confidence count as certain.
    weighting: weight of pseudo-labelled pixels, "equal" or by "confidence", see `loss.py`.
    ignore_hardest: share of pseudo-labelled pixels per image that are left out, those with the largest error.
    balance_by_hand: excludes depth from the paper's rule for loss weights; its weight is `loss_weight`.
    alignment, crop, min_metres, max_metres: protocol of the metric, see `metric.py`; 0 metres: no bound.
    """

    filters: int = small(between(256, 1, 8192), 64)
    stride: int = small(between(1, 1, 64), 4)
    loss: str = choice("silog", "l1", "berhu", "ssi")
    variance_focus: float = between(0.5, 0, 1)
    gradient_weight: float = at_least(0.5, 0)
    relative_labels: str = choice("refuse", "ignore")
    confidence_threshold: float = threshold(between(0.0, 0, 1))
    weighting: str = choice("equal", "confidence")
    ignore_hardest: float = below(0.0, 0, 1)
    balance_by_hand: bool = by_hand(True)
    alignment: str = measuring(choice(*ALIGNMENTS))
    crop: str = measuring(choice(*CROPS))
    min_metres: float = measuring(at_least(0.0, 0))
    max_metres: float = measuring(at_least(0.0, 0))
