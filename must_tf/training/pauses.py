"""Trains with pauses at the steps where a checkpoint or an evaluation is due.

Model Garden's loop saves and evaluates only between two loops of `trainer.steps_per_loop` steps, and counts its
intervals from where it starts or last saved. Here loops end earlier where something is due, and steps are multiples
of the intervals, also in a resumed run. How steps are divided into loops does not change the weights.
"""

from __future__ import annotations

import functools

from official.core.config_definitions import ExperimentConfig
from official.core.train_lib import OrbitExperimentRunner

from must_tf.common import cluster
from must_tf.training import early_stopping


def next_pause(step: int, interval: int, last: int) -> int:
    """Returns the first step after this one that is a multiple of the interval, or the last step."""
    return min((step // interval + 1) * interval, last)


def train(runner: OrbitExperimentRunner, params: ExperimentConfig) -> None:
    """Trains until the last step, and saves it."""
    with runner.strategy.scope():
        _train_to(runner, params.trainer.train_steps, params.trainer.checkpoint_interval)
        runner.controller.save_checkpoint()


def train_and_evaluate(runner: OrbitExperimentRunner, params: ExperimentConfig) -> None:
    """Trains until the last step or the end of patience, with an evaluation at every multiple of the interval."""
    settings = params.trainer
    with runner.strategy.scope():
        step, reason = int(runner.trainer.global_step.numpy()), ""
        while step < settings.train_steps and not reason:
            step = next_pause(step, settings.validation_interval, settings.train_steps)
            _train_to(runner, step, settings.checkpoint_interval)
            runner.controller.evaluate(settings.validation_steps)
            reason = cluster.as_first_says(
                functools.partial(early_stopping.message, runner.model_dir, params.task, step)
            )
        runner.controller.save_checkpoint()
    if reason and step < settings.train_steps:
        print(f"{reason}. To train on, add --extend.", flush=True)


def _train_to(runner: OrbitExperimentRunner, last: int, interval: int) -> None:
    """Trains until this step and saves at every multiple of the interval."""
    step = int(runner.trainer.global_step.numpy())
    while step < last:
        step = next_pause(step, interval, last)
        runner.controller.train(step, checkpoint_at_completion=False)
        if step % interval == 0:
            # The loop saves only if the last checkpoint is old enough, and the best ones are saved in between.
            runner.controller.save_checkpoint()
