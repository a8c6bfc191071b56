"""Keeps the best checkpoint of each task and of all tasks together: `best/<task>/` and `best/overall/`.

Each is a complete run directory, optimizer state included, for `--model_dir=`, `task.init_checkpoint=` and `--teacher`:

    params.yaml, ckpt-700.index, ckpt-700.data-*    copies of the run's files
    ckpt-700.json                                   the evaluation that it was kept for, as in evaluation.json
    checkpoint                                      names ckpt-700

`checkpoint` is written last and atomically. If a run is interrupted before that, the previous best stays, and the same
command looks at the last evaluation again. These folders are the only memory of what is best so far.

A task's best checkpoint has its best headline metric. The best of all has the largest mean gain over the tasks,

    mean_i  s_i (f_i - r_i) / |r_i|,   s_i = 1 if higher is better, else -1,

where f_i is the headline metric and r_i the teacher's (`task.tasks.<task>.teacher_figure`). If that is not given, r_i
is the first metric of this run that was not 0. A metric never wins if it is NaN or if the task predicted NaN.
Evaluations on another validation set or by another protocol are not comparable; a newer checkpoint replaces one that
was kept for those.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

import orbit
import tensorflow as tf
from official.core import train_lib

from must_tf.common import cluster, files, run_files, upstream
from must_tf.evaluation import evaluator
from must_tf.evaluation.evaluator import Evaluation
from must_tf.model.student import StudentConfig, enabled
from must_tf.runs import checkpoints
from must_tf.spec import TaskConfig
from must_tf.tasks import discover


class KeepBest(orbit.Action):
    """Keeps the checkpoint after each evaluation if it is the best so far."""

    def __init__(self, runner: train_lib.OrbitExperimentRunner, task: StudentConfig):
        self._runner, self._task = runner, task

    def __call__(self, output: dict[str, Any]) -> None:
        del output  # evaluation.json has the same metrics, and the protocol
        if cluster.as_first_says(self._unsaved):
            self._runner.controller.save_checkpoint()  # of several processes, all must take part
        if self._runner.strategy.extended.should_checkpoint:
            update(self._runner.model_dir, self._task)

    def _unsaved(self) -> str:
        """Returns the folders under best/ that the weights just evaluated win before they are saved.

        The loop evaluates before it saves at its end, and if the two intervals differ.
        """
        directory = self._runner.model_dir
        evaluation = last_evaluation(directory, self._task)
        if evaluation is None or checkpoints.trained_steps(directory) >= evaluation["step"]:
            return ""
        return ",".join(_winners(directory, self._task, evaluation))


def follow(runner: train_lib.OrbitExperimentRunner, task: StudentConfig) -> None:
    """Makes a run keep its best checkpoints, starting with one that an interruption may have left behind."""
    if runner.strategy.extended.should_checkpoint:
        update(runner.model_dir, task)
    runner.controller.eval_actions += (KeepBest(runner, task),)


def update(model_dir: str, task: StudentConfig) -> None:
    """Keeps the newest checkpoint if its evaluation is the best so far. Calling it again changes nothing."""
    evaluation = last_evaluation(model_dir, task)
    if evaluation is None or checkpoints.trained_steps(model_dir) != evaluation["step"]:
        return
    winners = _winners(model_dir, task, evaluation)
    for name in winners:
        _keep(model_dir, _folder(model_dir, name), evaluation)
    if winners:
        where = os.path.join(model_dir, run_files.BEST)
        print(f"  best so far     {', '.join(winners)}: kept in {where}", flush=True)


def kept(directory: str) -> Evaluation | None:
    """Returns the evaluation for which `best/<name>` was kept, or None if nothing was kept yet."""
    checkpoint = tf.train.latest_checkpoint(directory)
    return evaluator.read(f"{checkpoint}.json") if checkpoint else None


def _folder(model_dir: str, name: str) -> str:
    return os.path.join(model_dir, run_files.BEST, name)


def last_evaluation(model_dir: str, task: StudentConfig) -> Evaluation | None:
    """Returns the run's last evaluation if it was on the run's own validation set: others may come in between."""
    evaluation = evaluator.last(model_dir)
    return evaluation if evaluation and evaluation.get("set") == evaluator.set_of(task.validation_data) else None


def _winners(model_dir: str, task: StudentConfig, evaluation: Evaluation) -> list[str]:
    """Returns the folders under best/ whose kept evaluation this one beats."""
    tasks = enabled(task)
    winners = [
        name for name in tasks if _is_better(_headline(evaluation, name), _before(model_dir, name, evaluation), name)
    ]
    before = _before(model_dir, run_files.OVERALL, evaluation)
    references = _references(model_dir, tasks, evaluation)
    gain = mean_gain(evaluation, references)
    # `not <=`: a kept gain of NaN is beaten by every number.
    if math.isfinite(gain) and (before is None or not gain <= mean_gain(before, references)):
        winners.append(run_files.OVERALL)
    return winners


def _is_better(value: float, before: Evaluation | None, name: str) -> bool:
    if not math.isfinite(value):
        return False
    return before is None or not _sign(name) * value <= _sign(name) * _headline(before, name)


def mean_gain(evaluation: Evaluation, references: Mapping[str, float]) -> float:
    """Returns the mean relative gain over the tasks, see the module's docstring; NaN if a task has no metric."""
    # A reference of 0 means that all metrics so far are 0, or NaN, which must show.
    gains = [
        _sign(name) * (_headline(evaluation, name) - reference) / (abs(reference) or 1.0)
        for name, reference in references.items()
    ]
    return sum(gains) / len(gains) if gains else math.nan


def _key(name: str) -> str:
    return f"{name}/{discover()[name].Metric.headline}"


def _headline(evaluation: Evaluation, name: str) -> float:
    """Returns a task's headline metric; NaN if it was not measured or some of its predictions were not finite."""
    if name in evaluation.get("not_finite", ()):
        return math.nan
    return float(evaluation["figures"].get(_key(name), math.nan))


def _sign(name: str) -> int:
    return 1 if discover()[name].Metric.higher_is_better else -1


def _references(model_dir: str, tasks: Mapping[str, TaskConfig], evaluation: Evaluation) -> dict[str, float]:
    """Returns r_i of the tasks that this evaluation measured; 0 if only 0 has been measured so far."""
    evaluations = [past for past in evaluator.history(model_dir) if comparable(past, evaluation)] + [evaluation]
    references = {}
    for name in tasks:
        values = [_headline(past, name) for past in evaluations]
        first = next((value for value in values if math.isfinite(value) and value), 0.0)
        if _key(name) in evaluation["figures"]:
            references[name] = tasks[name].teacher_figure or first
    return references


def _before(model_dir: str, name: str, evaluation: Evaluation) -> Evaluation | None:
    before = kept(_folder(model_dir, name))
    return before if before and comparable(before, evaluation) else None


def comparable(first: Evaluation, second: Evaluation) -> bool:
    """Returns true if both measured the same images by the same protocol. The record set may have moved."""
    return all(first.get(key) == second.get(key) for key in ("images", "labelled", "protocol"))


def _keep(model_dir: str, directory: str, evaluation: Evaluation) -> None:
    source = tf.train.latest_checkpoint(model_dir)
    name = os.path.basename(source)
    # Never overwrites the checkpoint in use, not even if a resumed run reaches a step that was kept before.
    if os.path.basename(tf.train.latest_checkpoint(directory) or "") == name:
        name += "-again"
    for suffix in _suffixes(source):
        files.copy_whole(source + suffix, os.path.join(directory, name + suffix))
    files.copy_whole(os.path.join(model_dir, run_files.PARAMS), os.path.join(directory, run_files.PARAMS))
    files.write_json(os.path.join(directory, f"{name}.json"), evaluation)
    # From this write on, the new checkpoint is the best.
    upstream.write_checkpoint_state(directory, [f"{directory}/{name}"])
    for file in tf.io.gfile.listdir(directory):
        if file.startswith("ckpt-") and not file.startswith(f"{name}."):
            tf.io.gfile.remove(os.path.join(directory, file))


def _suffixes(prefix: str) -> list[str]:
    """Returns the suffixes of a checkpoint's files: ".index", ".data-00000-of-00001"."""
    folder, name = os.path.split(prefix)
    return [file[len(name) :] for file in tf.io.gfile.listdir(folder) if file.startswith(f"{name}.")]
