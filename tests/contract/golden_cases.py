"""What the contract tests know about a task from elsewhere. tests/contract/golden/<task>.py defines these names."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from typing import Any, Protocol, cast

import numpy as np

from must_tf.data.scenes import Scene
from must_tf.spec import Labels, TaskConfig

# Raw outputs, targets, overrides of CONFIG, and {term: mean loss} worked out by hand.
Case = tuple[dict[str, Any], dict[str, Any], dict[str, Any], dict[str, float]]


class GoldenCases(Protocol):
    """Labels, targets and losses of one task, made without the code under test.

    Attributes:
      CONFIG: a small network.
      VARIANTS: CONFIG, and others that take every path through the task.
      UNBATCHED: raw outputs without a batch axis.
      TOLERANCE: {key of a label: largest difference after writing and reading}.
      RESTORED: the worst headline of a perfect network after the way back to the original frame.
      CASES: losses worked by hand; together they have every loss term.
      COUNTS: {class id: number of labels} in `example`; empty without classes.
    """

    CONFIG: TaskConfig
    VARIANTS: tuple[TaskConfig, ...]
    UNBATCHED: tuple[str, ...]
    TOLERANCE: Mapping[str, float]
    RESTORED: float
    CASES: tuple[Case, ...]
    COUNTS: Mapping[int, int]

    def scene_labels(self, scene: Scene, /) -> Labels:
        """Returns the labels of a generated scene."""

    def example(self, height: int, width: int, /) -> Labels:
        """Returns labels with what no scene has."""

    def empty(self, height: int, width: int, /) -> Labels:
        """Returns the labels of an image in which an annotator found nothing."""

    def by_hand(self, feature: Any, /) -> Labels:
        """Returns the labels in a record's features, decoded as published and without the code under test."""

    def oracle(self, labels: Labels, window: Any, config: Any, /) -> dict[str, Any]:
        """Returns the targets in a `Window`, computed pixel by pixel or object by object."""

    def difference(self, got: dict[str, Any], expected: dict[str, Any], /) -> float:
        """Returns the share of pixels or objects that differ, 0 to 1."""

    def decoded(self, config: Any, size: int, /) -> dict[str, tuple[int, ...]]:
        """Returns the shapes of `decode`'s outputs without the batch axis."""

    def reference(self, raw: dict[str, Any], targets: dict[str, np.ndarray], config: Any, /) -> dict[str, float]:
        """Returns {term: mean loss} by another implementation."""


NAMES = (*GoldenCases.__annotations__, *(name for name in vars(GoldenCases) if not name.startswith("_")))


@functools.cache
def golden(task: str) -> GoldenCases:
    """Returns the golden cases of a task. A task without them fails here, it is not skipped."""
    module = importlib.import_module(f"tests.contract.golden.{task}")
    missing = [name for name in NAMES if not hasattr(module, name)]
    assert not missing, f"tests/contract/golden/{task}.py must define {', '.join(missing)}"
    return cast(GoldenCases, module)
