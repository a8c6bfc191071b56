"""Patience: which evaluations count, and a run that ends early, is finished, and goes on with --extend."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from must_tf.cli import train
from must_tf.common import run_files, upstream
from must_tf.common.errors import UserError
from must_tf.runs import best, checkpoints, fingerprint
from must_tf.tasks import discover
from must_tf.training import early_stopping
from tests.must_tf.runs.test_best import Run
from tests.support.session.graphs import eagerly
from tests.support.tiny import Tiny, arguments, data, scene_record, write_set

BEST, WORSE = (0.3, 0.5, 20.0), (0.2, 0.5, 20.0)


def reason(run: Run, step: int, patience: int) -> str:
    run.task.patience = patience
    return early_stopping.message(run.directory, run.task, step)


def test_evaluations_since_the_best_are_counted(tmp_path: Path) -> None:
    """By their step: a resumed run repeats some of them, and leaves lines of later steps behind."""
    run = Run(tmp_path)
    run.measure(10, WORSE)
    run.measure(20, BEST)
    run.measure(30, WORSE)
    run.measure(30, WORSE)  # after a kill
    assert reason(run, 30, 1) and not reason(run, 30, 2)
    run.measure(40, WORSE)
    assert reason(run, 40, 2) == (
        "stopped at step 40: 2 evaluations without a new best/overall since step 20 (task.patience)"
    )
    assert not reason(run, 40, 3) and not reason(run, 40, 0)
    assert not reason(run, 30, 2)  # as after a kill between step 40's evaluation and its checkpoint
    run.measure(50, (0.4, 0.5, 20.0))
    assert not reason(run, 50, 1)


def test_another_validation_set_does_not_count(tmp_path: Path) -> None:
    """An evaluation of other images by --mode=eval says nothing about this one."""
    run = Run(tmp_path)
    run.measure(10, BEST)
    run.measure(20, WORSE, images=7, set=["other/*.tfrecord"])
    run.measure(30, WORSE)
    assert reason(run, 30, 1) and not reason(run, 30, 2)


def test_the_count_starts_again_where_the_run_was_extended(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for step, figures in ((10, BEST), (20, WORSE), (30, WORSE)):
        run.measure(step, figures)
    (tmp_path / run_files.CONTENT).write_text(json.dumps({"train_data": {}, "extended_from": 30}))
    assert not reason(run, 30, 1)
    run.measure(40, WORSE)
    assert reason(run, 40, 1) and not reason(run, 40, 2)


@pytest.fixture
def no_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every evaluation of a classifier gives the same metric."""
    metric = discover()["classification"].Metric
    monkeypatch.setattr(metric, "result", lambda self: {metric.headline: 0.5})


def flags(tiny: Tiny, run: Path, mode: str = "train_and_eval", steps: int = 20, **task: Any) -> list[str]:
    override = data(f"{tiny.records}/*.tfrecord")
    override["task"] |= {"patience": 2, "pictures": 0, **task}
    override["trainer"] = {"train_steps": steps, "validation_interval": 2, "checkpoint_interval": 3}
    return arguments(tiny.config, run, "must_teacher_classification", override, mode)


def train_eagerly(given: list[str]) -> None:
    """Runs the command without graphs, of which it would run each a few times."""
    with eagerly():
        train.main(given)


@pytest.mark.usefixtures("no_progress")
def test_a_run_without_progress_ends(tiny_records: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first evaluation, at step 2, is the best, and those at 4 and 6 are not better."""
    run = tmp_path / "run"
    train_eagerly(flags(tiny_records, run))
    said = "stopped at step 6: 2 evaluations without a new best/overall since step 2 (task.patience)"
    assert f"{said}. To train on, add --extend.\n" in capsys.readouterr().out
    assert checkpoints.trained_steps(str(run)) == 6
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    train_eagerly(flags(tiny_records, run))
    assert f"{run} is finished: {said}. Nothing to train." in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before
    # As if killed between steps 2 and 4: the evaluations at 4 and 6 are repeated, and the run ends at the same step.
    for prefix in checkpoints.listed(str(run))[:-1]:
        for path in run.glob(f"{Path(prefix).name}.*"):
            path.unlink()
    assert checkpoints.listed(str(run)) == [f"{run}/ckpt-2"]
    upstream.write_checkpoint_state(str(run), [f"{run}/ckpt-2"])
    train_eagerly(flags(tiny_records, run))
    assert said in capsys.readouterr().out
    assert [line["step"] for line in map(json.loads, (run / run_files.EVALUATIONS).read_text().splitlines())] == [
        *(2, 4, 6),
        *(4, 6),
    ]
    train_eagerly([*flags(tiny_records, run), "--extend"])
    assert "stopped at step 10: 2 evaluations" in capsys.readouterr().out
    assert fingerprint.extended_from(str(run)) == 6
    # More patience lets it go on, too.
    shutil.copytree(run, tmp_path / "more")
    train_eagerly(flags(tiny_records, tmp_path / "more", patience=3))
    assert "stopped at step 12: 3 evaluations" in capsys.readouterr().out


def test_progress_goes_on_to_the_last_step(
    tiny_records: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every evaluation is better than the one before."""
    metric, figures = discover()["classification"].Metric, iter(range(1, 100))
    monkeypatch.setattr(metric, "result", lambda self: {metric.headline: 0.01 * next(figures)})
    train_eagerly(flags(tiny_records, tmp_path / "run", steps=6, patience=1))
    assert "stopped" not in capsys.readouterr().out
    assert checkpoints.trained_steps(str(tmp_path / "run")) == 6
    kept = best.kept(str(tmp_path / "run" / "best" / "overall"))
    assert kept and kept["step"] == 6


def test_patience_needs_evaluations(tiny_records: Tiny, tmp_path: Path) -> None:
    """That can measure something."""
    with pytest.raises(UserError, match="task.patience counts evaluations, and --mode=train makes none"):
        train.main(flags(tiny_records, tmp_path / "run", "train"))
    with pytest.raises(UserError, match="task.patience needs a metric, but .* has no real labels for classification"):
        train.main(flags(tiny_records, tmp_path / "run", validation_data={"input_path": unlabelled(tmp_path)}))
    assert not (tmp_path / "run").exists()


def unlabelled(folder: Path) -> str:
    """A validation set with labels for depth only."""
    return write_set(folder / "depth", [[scene_record(0, ("depth",))]], ("depth",))
