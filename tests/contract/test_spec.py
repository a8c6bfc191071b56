"""The contract fits on a page, and every discovered task marks its thresholds on pseudo labels."""

from __future__ import annotations

import dataclasses

import pytest

from must_tf.config import fields
from must_tf.spec import TaskSpec
from tests.support.contract import SPECS

# Below ignore_threshold, boxes are background whatever the verdict says about those above.
UNMARKED = {("detection", "ignore_threshold")}


def test_the_contract_has_at_most_21_members() -> None:
    assert len(dataclasses.fields(TaskSpec)) <= 21


@pytest.mark.parametrize("task", SPECS)
def test_thresholds_have_their_role(task: str) -> None:
    named = {field.name for field in dataclasses.fields(SPECS[task].Config) if "threshold" in field.name}
    marked = set(fields.names(SPECS[task].Config, fields.THRESHOLD))
    assert {(task, name) for name in named - marked} <= UNMARKED
    assert marked <= named


def test_a_role_keeps_default_and_range_and_refuses_a_factory() -> None:
    marked = fields.threshold(fields.between(0.5, 0, 1))
    assert marked.default == 0.5 and marked.metadata["range"] == fields.Range(0, 1)
    with pytest.raises(TypeError, match="default_factory"):
        fields.measuring(dataclasses.field(default_factory=list))
