"""Settings of the task; `__init__.py` states its conventions."""

from __future__ import annotations

import dataclasses

from must_tf.config.fields import at_least, below, choice, small
from must_tf.spec import TaskConfig


@dataclasses.dataclass
class Config(TaskConfig):
    """Attributes:
    filters: channels of the head's convs.
    stride: resolution of the targets; 1 trains at the input's resolution, 4 at the head's (faster).
    loss: "cosine" or "l1", see `loss.py`.
    ignore_hardest: share of pseudo-labelled pixels per image that are left out, those with the largest loss.
    """

    filters: int = small(at_least(256, 1), 64)
    stride: int = small(at_least(1, 1), 4)
    loss: str = choice("cosine", "l1")
    ignore_hardest: float = below(0.0, 0, 1)
