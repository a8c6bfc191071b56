"""Settings of the task; `__init__.py` states its conventions."""

from __future__ import annotations

import dataclasses

from must_tf.config.fields import below, between, choice, small, threshold
from must_tf.spec import TaskConfig


@dataclasses.dataclass
class Config(TaskConfig):
    """Attributes:
    filters: channels of the head's convs.
    stride: resolution of the targets; 1 trains at the input's resolution, 4 at the head's (faster).
    loss: "cosine" or "l1", see `loss.py`.
    confidence_threshold: pseudo-labelled pixels below it are unknown; pixels without a confidence count as certain.
    weighting: weight of pseudo-labelled pixels, "equal" or by "confidence", see `loss.py`.
    ignore_hardest: share of pseudo-labelled pixels per image that are left out, those with the largest loss.
    """

    filters: int = small(between(256, 1, 8192), 64)
    stride: int = small(between(1, 1, 64), 4)
    loss: str = choice("cosine", "l1")
    confidence_threshold: float = threshold(between(0.0, 0, 1))
    weighting: str = choice("equal", "confidence")
    ignore_hardest: float = below(0.0, 0, 1)
