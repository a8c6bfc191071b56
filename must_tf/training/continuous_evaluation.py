"""`--mode=continuous_eval`: evaluates the checkpoints of a run while other processes train it with `--mode=train`.

It ends after the checkpoint of the last step, or if none has come for `trainer.continuous_eval_timeout` seconds. A
checkpoint that is replaced by newer ones during an evaluation is left out.
"""

from __future__ import annotations

import functools
import time

import tensorflow as tf
from official.core.config_definitions import ExperimentConfig
from official.core.train_lib import OrbitExperimentRunner

from must_tf.common import cluster
from must_tf.runs import best, checkpoints, init_weights, restore
from must_tf.training import preflight

PAUSE = 5.0  # seconds between two looks for a new checkpoint


def run(runner: OrbitExperimentRunner, params: ExperimentConfig) -> None:
    """Evaluates the newest checkpoint whenever there is a new one, and keeps the best."""
    directory, limit = runner.model_dir, params.trainer.continuous_eval_timeout
    done = preflight.evaluated_step(directory, params.task.validation_data)
    with runner.strategy.scope():
        while done < params.trainer.train_steps:
            prefix = cluster.as_first_says(functools.partial(_awaited, directory, done, limit))
            if not prefix:
                print(f"no new checkpoint in {directory} for {limit} s: not waiting any longer", flush=True)
                return
            restore.match(runner.trainer.model, prefix, "this configuration")
            done = checkpoints.step_of(prefix)
            runner.trainer.global_step.assign(done)
            runner.controller.evaluate(params.trainer.validation_steps)
            if runner.strategy.extended.should_checkpoint:
                best.update(directory, params.task)


def _awaited(directory: str, after: int, limit: float) -> str:
    """Waits for a checkpoint of a later step. Returns its prefix, or "" after `limit` seconds."""
    end = time.monotonic() + limit
    while True:
        newest = tf.train.latest_checkpoint(directory) or ""
        if _step(newest) > after:
            return newest
        if time.monotonic() >= end:
            return ""
        time.sleep(PAUSE)


def _step(prefix: str) -> int:
    """Returns the step of a checkpoint; -1 if it is being written, or deleted already."""
    try:
        return checkpoints.step_of(prefix) if prefix else -1
    except init_weights.UNFIT:
        return -1
