"""A training saves and evaluates at multiples of its intervals, whatever the length of its loops of steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from must_tf.cli import train
from must_tf.runs import checkpoints
from must_tf.tasks import discover
from must_tf.training import pauses
from tests.support.session.graphs import eagerly
from tests.support.tiny import Tiny, arguments, data

LOOP = {"steps_per_loop": 10, "summary_interval": 10}


@pytest.mark.parametrize(
    ("step", "interval", "last", "expected"),
    [(0, 4, 20, 4), (4, 4, 20, 8), (7, 4, 20, 8), (17, 4, 18, 18), (0, 50, 20, 20)],
)
def test_a_resumed_run_pauses_at_the_same_steps(step: int, interval: int, last: int, expected: int) -> None:
    """From whichever checkpoint it continues: at multiples of the interval, and at the end."""
    assert pauses.next_pause(step, interval, last) == expected


def trained(tiny: Tiny, run: Path, mode: str, **trainer: int) -> list[int]:
    """Trains a classifier without graphs in loops of ten steps. Returns the steps of all checkpoints."""
    override = data(f"{tiny.records}/*.tfrecord")
    override["task"]["pictures"] = 0
    override["trainer"] = {"max_to_keep": 100, **LOOP, **trainer}
    with eagerly():
        train.main(arguments(tiny.config, run, "must_teacher_classification", override, mode))
    return [checkpoints.step_of(prefix) for prefix in reversed(checkpoints.listed(str(run)))]


def weights(run: Path, step: int) -> dict[str, bytes]:
    """Returns the bytes of a checkpoint's model and optimizer."""
    reader = tf.train.load_checkpoint(f"{run}/ckpt-{step}")
    names = [name for name in reader.get_variable_to_shape_map() if name.endswith("VARIABLE_VALUE")]
    return {name: np.asarray(reader.get_tensor(name)).tobytes() for name in names if name.startswith(("model", "opt"))}


def test_a_checkpoint_is_saved_within_a_loop(tiny_records: Tiny, tmp_path: Path) -> None:
    """Every 3 steps of loops of 10, as after a kill at step 8, and with the weights of a run that saves only once."""
    often, once = tmp_path / "often", tmp_path / "once"
    assert trained(tiny_records, often, "train", train_steps=7, checkpoint_interval=3) == [3, 6, 7]
    assert trained(tiny_records, once, "train", train_steps=7, checkpoint_interval=10) == [7]
    assert weights(often, 7) and weights(often, 7) == weights(once, 7)


def test_a_best_checkpoint_does_not_delay_the_next(
    tiny_records: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the evaluation at step 4 finds a new best, which is saved for it. The next interval ends at step 6."""
    metric = discover()["classification"].Metric
    monkeypatch.setattr(metric, "result", lambda self: {metric.headline: 0.5})
    intervals = {"validation_interval": 4, "checkpoint_interval": 3}
    assert trained(tiny_records, tmp_path / "run", "train_and_eval", train_steps=8, **intervals) == [3, 4, 6, 8]
