"""Settings of the task; `__init__.py` states its conventions."""

from __future__ import annotations

import dataclasses

from must_tf.config.fields import between, named_between, small, threshold
from must_tf.spec import TaskConfig

SIDE = 28  # of the head's maps, in cells


@dataclasses.dataclass
class Config(TaskConfig):
    """Attributes:
    filters: channels of the head's 4 convs.
    sampled_rois: number of proposals trained on, per image.
    target_side: side of the target masks' grids over their boxes, before they are cut to the sampled proposals.
    max_objects, score_threshold: as in detection, for the objects whose masks are trained on.
    class_thresholds: as in detection; empty: taken from detection.
    mask_score_threshold: pseudo-labelled masks below it are not trained on, though their boxes are. The score is the
      mean probability of the mask's pixels, so 0.5 drops exactly the masks of which no pixel reaches 0.5; 0 keeps
      all masks.
    """

    filters: int = small(between(256, 1, 8192), 64)
    sampled_rois: int = small(between(128, 1, 100_000), 16)
    target_side: int = small(between(112, 1, 1024), 56)
    max_objects: int = small(between(100, 1, 100_000), 50)
    score_threshold: float = threshold(between(0.5, 0, 1))
    class_thresholds: tuple[str, ...] = threshold(named_between(0, 1))
    mask_score_threshold: float = threshold(between(0.5, 0, 1))
