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
from typing import Any

from must_tf.shared import thresholds

FIRST_ID = 1  # 0 is the background


def believed(labels: Mapping[str, Any], config: Any) -> Any:
    """Which objects are trained on, bool [N]; NumPy or tensors."""
    return ~labels["is_crowd"] & (labels["scores"] >= _threshold(labels, config))


def ignored(labels: Mapping[str, Any], config: Any) -> Any:
    """Which boxes are ignore regions, bool [N]; NumPy or tensors."""
    if config.ignore_threshold >= config.score_threshold:  # the band is switched off, also of classes with their own
        return labels["is_crowd"]
    scores = labels["scores"]
    return labels["is_crowd"] | ((scores >= config.ignore_threshold) & (scores < _threshold(labels, config)))


def _threshold(labels: Mapping[str, Any], config: Any) -> Any:
    return thresholds.of_ids(labels["classes"], thresholds.table(config, config.score_threshold, FIRST_ID))


def settle(config: Any, configs: Mapping[str, Any]) -> list[str]:
    """What is wrong with the thresholds."""
    del configs
    wrong = thresholds.unknown("detection", config)
    if config.ignore_threshold > config.score_threshold:
        wrong.append(
            f"task.tasks.detection.ignore_threshold={config.ignore_threshold:g} must not be above score_threshold="
            f"{config.score_threshold:g}. Boxes between the two are ignored; equal, none are."
        )
    return wrong
