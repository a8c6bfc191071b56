"""An evaluation that follows a training: each checkpoint once, the best kept, an end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import tensorflow as tf

from must_tf.common import upstream
from must_tf.runs import best, checkpoints, restore
from must_tf.training import continuous_evaluation
from tests.must_tf.runs.test_best import Run


class Followed:
    """A run without a model. Each evaluation lets the training write its next checkpoint."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch):
        self.run = Run(folder)
        self.evaluated: list[int] = []
        self.coming = [(4, 0.5), (7, 0.3), (20, 0.4)]  # step and mIoU
        self.runner = mock.MagicMock(model_dir=str(folder), strategy=tf.distribute.get_strategy())
        self.runner.trainer.global_step = tf.Variable(0, dtype=tf.int64)
        self.runner.controller.evaluate = self._evaluate
        self.params = mock.MagicMock()
        self.params.task = self.run.task
        self.params.trainer.train_steps, self.params.trainer.continuous_eval_timeout = 20, 0.1
        monkeypatch.setattr(continuous_evaluation, "PAUSE", 0.01)
        monkeypatch.setattr(restore, "match", lambda model, prefix, name: self.restored.append(prefix))
        self.restored: list[str] = []
        self._save()

    def _save(self) -> None:
        step, figure = self.coming.pop(0)
        self._last = figure
        self.run._step.assign(step)
        self.run._mark.assign(figure)
        self.run._manager.save(checkpoint_number=step)

    def _evaluate(self, steps: Any) -> None:
        del steps
        step = int(self.runner.trainer.global_step.numpy())
        assert step not in self.evaluated  # or it would go on without an end
        self.evaluated.append(step)
        self.run.evaluated(step, (self._last, 0.5, 20.0))

    def follow(self) -> list[int]:
        continuous_evaluation.run(self.runner, self.params)
        return self.evaluated


def test_each_checkpoint_is_evaluated_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Until none comes any longer. The same command goes on, up to the last step."""
    followed = Followed(tmp_path, monkeypatch)
    assert followed.follow() == [4]
    assert "no new checkpoint in" in capsys.readouterr().out
    followed._save()
    assert followed.follow() == [4, 7]
    assert followed.restored[-1].endswith("ckpt-7")
    kept = best.kept(str(tmp_path / "best" / "segmentation"))
    assert kept and kept["step"] == 4
    capsys.readouterr()
    followed._save()
    assert followed.follow() == [4, 7, 20]
    assert "no new" not in capsys.readouterr().out
    assert followed.follow() == [4, 7, 20]  # nothing is left to evaluate
    assert [json.loads(line)["step"] for line in (tmp_path / "evaluations.jsonl").read_text().splitlines()] == [
        4,
        7,
        20,
    ]


def test_a_checkpoint_that_is_being_written_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    followed = Followed(tmp_path, monkeypatch)
    upstream.write_checkpoint_state(str(tmp_path), [f"{tmp_path}/ckpt-9"])
    assert followed.follow() == []
    assert checkpoints.listed(str(tmp_path)) == [f"{tmp_path}/ckpt-4"]
