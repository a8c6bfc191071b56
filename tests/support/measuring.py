"""Computes a task's metrics on hand-made labels and predictions."""

from __future__ import annotations

from typing import Any

import numpy as np

from must_tf.spec import Details, ImageInfo
from must_tf.tasks import discover

IMAGE = ImageInfo("street/a b.jpg", 128, 256)
Labels = dict[str, Any]


def measured(module: Any, pairs: list[tuple[Labels, Labels]], *classes: str, **settings: Any) -> Any:
    """Returns the metric after all pairs of labels and predictions; every image has the same source id."""
    task = module.__name__.split(".")[-2]
    metric = module.Metric(discover()[task].Config(classes=classes, **settings))
    for labels, predictions in pairs:
        metric.add(labels, predictions, IMAGE)
    return metric


def evaluate(module: Any, pairs: list[tuple[Labels, Labels]], *classes: str, **settings: Any) -> dict[str, float]:
    """Returns the metrics of these pairs."""
    return measured(module, pairs, *classes, **settings).result()


def details(module: Any, pairs: list[tuple[Labels, Labels]], *classes: str, **settings: Any) -> Details:
    """Returns the details of these pairs, see `TaskMetric`."""
    metric = measured(module, pairs, *classes, **settings)
    metric.result()
    return metric.details()


def metres(values: Any) -> Labels:
    return {"metres": np.asarray(values, np.float32)}
