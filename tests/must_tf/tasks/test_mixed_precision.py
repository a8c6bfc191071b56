"""Mixed precision: bfloat16 computes features. Coordinates, targets and scores keep their 24 bits."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from must_tf.config import values as config_values
from must_tf.experiments import experiment_config
from must_tf.model import student
from must_tf.spec import Given
from must_tf.tasks import discover
from tests.contract.golden_cases import golden
from tests.must_tf.tasks.test_mask_targets import mask_targets
from tests.support.contract import SETTINGS, SIZE, pyramid

TINY = {"backbone": {"type": "resnet", "resnet": {"model_id": 10, "depth_multiplier": 0.25}}}


@pytest.fixture
def mixed() -> Iterator[None]:
    """Mixed precision for the layers that a test makes."""
    tf_keras.mixed_precision.set_global_policy("mixed_bfloat16")
    yield
    tf_keras.mixed_precision.set_global_policy("float32")


def test_the_batch_reaches_the_heads_unrounded(mixed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """bfloat16 would make 302 of it."""
    seen: list[tf.Tensor] = []

    def call(self: Any, inputs: Any, training: bool = False) -> tf.Tensor:
        seen.append(inputs["targets"]["boxes"])
        return inputs["image"]

    monkeypatch.setattr(student.Student, "call", call)
    config = experiment_config.load("must_teacher_classification").task
    config_values.apply(config, {"model": TINY, "tasks": {"classification": {"classes": ["a", "b"]}}}, "test")
    model = student.Student(config)
    model({"image": tf.zeros([1, 8, 8, 3], tf.uint8), "targets": {"boxes": tf.constant([301.3])}})
    assert model.compute_dtype == "bfloat16"
    assert seen[0].numpy().tolist() == [np.float32(301.3)]


def test_sampled_proposals_are_unrounded(mixed: None) -> None:
    """Their masks are those of float32. In bfloat16 the proposal would begin at 27.25, 44.75."""
    mask = np.random.default_rng(0).integers(0, 2, [28, 28]).astype(np.uint8) * 255
    proposal = [27.35, 44.65, 83.2, 107.2]
    found = mask_targets(mask, proposal)
    tf_keras.mixed_precision.set_global_policy("float32")
    np.testing.assert_allclose(found, mask_targets(mask, proposal), atol=1e-4)


def test_the_scores_of_retinanet_are_told_apart(mixed: None) -> None:
    """Of logits 7 and 8, whose sigmoids are 0.9991 and 0.9997; in bfloat16 both are 1."""
    config = dataclasses.replace(cast(Any, golden("detection").CONFIG), design="retinanet")
    head = discover()["detection"].head(config, SETTINGS)
    given = Given(tf.constant([[SIZE, SIZE]], tf.float32), SIZE, None, None, {}, {})
    raw = head(pyramid(1), given=given, training=False)
    scores = {
        level: tf.fill(values.shape, tf.cast(-9.0, values.dtype)) for level, values in raw["level_scores"].items()
    }
    first, second = (sorted(scores)[place] for place in (0, 1))
    for level, logit in ((first, 8.0), (second, 7.0)):
        changed = np.full(scores[level].shape, -9.0)
        changed[0, 0, 0, 1] = logit
        scores[level] = tf.constant(changed, scores[level].dtype)
    found = discover()["detection"].decode(raw | {"level_scores": scores}, given, config)["scores"].numpy()
    np.testing.assert_allclose(found[0, :2], [0.99966, 0.99909], atol=1e-5)
