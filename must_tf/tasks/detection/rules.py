"""The meaning of a box in training: object, ignore region, or background.

    crowd (COCO's, and VOC's difficult objects)       ignore region
    score >= the threshold of its class               object; ignore region beyond `max_objects` in one image
    score in [ignore_threshold, that threshold)       ignore region
    score below both                                  background

Ignore regions are left out of the losses, see `ignored.py`. Source of the three ranges of scores: Chen et al. (DSL),
https://arxiv.org/abs/2204.07300.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from must_tf.shared import thresholds
from must_tf.spec import TaskConfig
from must_tf.tasks.detection.config import Config


class ObjectThresholds(thresholds.HasThresholds, Protocol):
    """The config of detection, or of a task that shares its objects."""

    @property
    def score_threshold(self) -> float:
        """The threshold of classes without one of their own."""
        ...


FIRST_ID = 1  # 0 is the background


def believed(labels: Mapping[str, Any], config: ObjectThresholds) -> Any:
    """Tests which objects are trained on: bool [N], NumPy or tensors."""
    return ~labels["is_crowd"] & (labels["scores"] >= _threshold(labels, config))


def ignored(labels: Mapping[str, Any], config: Config) -> Any:
    """Tests which boxes are ignore regions: bool [N], NumPy or tensors."""
    if config.ignore_threshold >= config.score_threshold:  # disabled, also for classes with a threshold of their own
        return labels["is_crowd"]
    scores = labels["scores"]
    return labels["is_crowd"] | ((scores >= config.ignore_threshold) & (scores < _threshold(labels, config)))


def _threshold(labels: Mapping[str, Any], config: ObjectThresholds) -> Any:
    return thresholds.of_ids(labels["classes"], thresholds.table(config, config.score_threshold, FIRST_ID))


def settle(config: Config, configs: Mapping[str, TaskConfig]) -> list[str]:
    """Checks the names in `class_thresholds` and the order of the thresholds."""
    del configs
    wrong = thresholds.unknown("detection", config)
    if config.ignore_threshold > config.score_threshold:
        wrong.append(
            f"task.tasks.detection.ignore_threshold={config.ignore_threshold:g} must not be above score_threshold="
            f"{config.score_threshold:g}. Boxes between the two are ignored; equal, none are."
        )
    return wrong
