"""The cost of the input's checks is attributed to the check that causes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from benchmarks.profile import checks
from must_tf.data.scenes import CLASSES
from tests.support import tiny

DEAR = "depth: a kind that is not known, or a scale that is not positive"
SIDE = 400  # a product of such matrices takes longer than everything else in the reading of a tiny record


def test_a_dear_check_is_the_slowest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Depth's check is made to multiply matrices, whose product must be known before the check can pass."""
    usual = checks.required

    def required(values: tf.Tensor, condition: tf.Tensor, message: str, *shown: tf.Tensor) -> tf.Tensor:
        if message == DEAR:
            grown = tf.fill([SIDE, SIDE], tf.cast(condition, tf.float32))
            condition = tf.reduce_sum(grown @ grown) > 0
        return usual(values, condition, message, *shown)

    monkeypatch.setattr(checks, "required", required)
    monkeypatch.setattr(checks, "ROUNDS", 4)
    glob = tiny.write_set(tmp_path / "set", [[tiny.scene_record(9, ("detection", "depth"), ".jpg")]])
    found: dict[str, Any] = checks.share(glob, ["detection", "depth"], CLASSES, 64)
    assert max(found["each"], key=found["each"].__getitem__) == DEAR
    assert found["checks"] > found["each"][DEAR] / 2 > 0 and len(found["halves"]) == 2
    assert {checks.OF_IMAGE, "map and image differ in size", DEAR} < found["each"].keys()
    assert found["input"] > 0
