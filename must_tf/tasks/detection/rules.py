"""What a box means when it is read: an object, an ignore region, or nothing.

    crowd (COCO's, and VOC's difficult objects)       ignore region
    score >= the threshold of its class               object
    score in [ignore_threshold, that threshold)       ignore region
    score below both                                  nothing, and so background

An ignore region is neither wanted nor punished, see `ignored.py`. Three ways to read a teacher's box, of which the
middle one is left out: Chen et al. (DSL), https://arxiv.org/abs/2204.07300.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from must_tf.shared import thresholds
from must_tf.spec import TaskConfig

if TYPE_CHECKING:
    from must_tf.tasks.detection import Config


class ObjectThresholds(thresholds.HasThresholds, Protocol):
    """The config of detection, or of a task that shares its objects."""

    @property
    def score_threshold(self) -> float:
        """The threshold of classes without one of their own."""
        ...


FIRST_ID = 1  # 0 is the background


def believed(labels: Mapping[str, Any], config: ObjectThresholds) -> Any:
    """Which objects are trained on, bool [N]; NumPy or tensors."""
    return ~labels["is_crowd"] & (labels["scores"] >= _threshold(labels, config))


def ignored(labels: Mapping[str, Any], config: Config) -> Any:
    """Which boxes are ignore regions, bool [N]; NumPy or tensors."""
    if config.ignore_threshold >= config.score_threshold:  # the band is switched off, also of classes with their own
        return labels["is_crowd"]
    scores = labels["scores"]
    return labels["is_crowd"] | ((scores >= config.ignore_threshold) & (scores < _threshold(labels, config)))


def _threshold(labels: Mapping[str, Any], config: ObjectThresholds) -> Any:
    return thresholds.of_ids(labels["classes"], thresholds.table(config, config.score_threshold, FIRST_ID))


def settle(config: Config, configs: Mapping[str, TaskConfig]) -> list[str]:
    """What is wrong with the thresholds."""
    del configs
    wrong = thresholds.unknown("detection", config)
    if config.ignore_threshold > config.score_threshold:
        wrong.append(
            f"task.tasks.detection.ignore_threshold={config.ignore_threshold:g} must not be above score_threshold="
            f"{config.score_threshold:g}. Boxes between the two are ignored; equal, none are."
        )
    return wrong
