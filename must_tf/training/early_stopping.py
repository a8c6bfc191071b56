"""Ends a training early: after `task.patience` evaluations in a row without a new best/overall.

Which evaluations count follows from the files of the run directory: evaluations.jsonl, the step of best/overall, and
the step from which `--extend` continued (run.json). So a killed run stops at the same step as one that was not killed.
"""

from __future__ import annotations

import functools
import os

from official.core.config_definitions import ExperimentConfig
from official.core.train_lib import OrbitExperimentRunner

from must_tf.common import cluster, run_files
from must_tf.evaluation import evaluator
from must_tf.model.student import StudentConfig
from must_tf.runs import best, fingerprint


def message(model_dir: str, task: StudentConfig, step: int) -> str:
    """Returns why the run ends at this step, or "" if it goes on."""
    waited, kept = _waited(model_dir, task, step), _best_step(model_dir)
    if not task.patience or waited < task.patience:
        return ""
    since = f"since step {kept}" if kept >= 0 else "at all"
    return f"stopped at step {step}: {waited} evaluations without a new best/overall {since} (task.patience)"


def next_evaluation(step: int, interval: int, last: int) -> int:
    """Returns the first step after this one that is evaluated: a multiple of the interval, or the last step.

    Model Garden's loop counts the interval from where it starts, so a resumed run would evaluate at other steps.
    """
    return min((step // interval + 1) * interval, last)


def train_and_evaluate(runner: OrbitExperimentRunner, params: ExperimentConfig) -> None:
    """Trains until the last step or the end of patience, with an evaluation at every multiple of the interval."""
    controller, settings = runner.controller, params.trainer
    with runner.strategy.scope():
        step, reason = int(runner.trainer.global_step.numpy()), ""
        while step < settings.train_steps and not reason:
            step = next_evaluation(step, settings.validation_interval, settings.train_steps)
            controller.train(step, checkpoint_at_completion=False)
            controller.evaluate(settings.validation_steps)
            reason = cluster.as_first_says(functools.partial(message, runner.model_dir, params.task, step))
        controller.save_checkpoint()
    if reason and step < settings.train_steps:
        print(f"{reason}. To train on, add --extend.", flush=True)


def _waited(model_dir: str, task: StudentConfig, step: int) -> int:
    """Returns the number of steps up to this one that were evaluated since the last best/overall or --extend."""
    last = best.last_evaluation(model_dir, task)
    since = max(_best_step(model_dir), fingerprint.extended_from(model_dir))
    return len(
        {
            evaluation["step"]
            for evaluation in evaluator.history(model_dir)
            if last and best.comparable(evaluation, last) and since < evaluation["step"] <= step
        }
    )


def _best_step(model_dir: str) -> int:
    """Returns the step of best/overall; -1 if there is none."""
    kept = best.kept(os.path.join(model_dir, run_files.BEST, run_files.OVERALL))
    return kept["step"] if kept else -1
