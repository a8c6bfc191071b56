"""The best checkpoint of every task, and of all together: `best/<task>/` and `best/overall/` in the run's directory.

Each is a whole run directory, optimizer's state included, for `--model_dir=`, `task.init_checkpoint=` and `--teacher`:

    params.yaml, ckpt-700.index, ckpt-700.data-*    as the run had them
    ckpt-700.json                                   the evaluation that it won by, as in evaluation.json
    checkpoint                                      names ckpt-700

It comes to be with `checkpoint`, which is written last and whole: interrupted before, the previous best stands, and the
same command looks at the last evaluation again. What is best so far is read from there; nothing else remembers it.

A task's best has its best headline figure. The best of all has the largest mean gain over the tasks,

    mean_i  s_i (f_i - r_i) / |r_i|,   s_i = 1 where higher is better, else -1,

f_i being the headline figure and r_i the teacher's (`task.tasks.<task>.teacher_figure`), or where that is not given the
first one of this run that was not 0. A figure that is NaN, or that was measured where a task predicted NaN, never wins.
Figures of another validation set or protocol are no measure: against those, the newest is the best.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from typing import Any

import orbit
import tensorflow as tf
from official.core import train_lib

from must_tf.common import files
from must_tf.evaluation import evaluator
from must_tf.model.student import StudentConfig, enabled
from must_tf.runs import checkpoints
from must_tf.spec import TaskConfig
from must_tf.tasks import discover

FOLDER = "best"
OVERALL = "overall"

Evaluation = dict[str, Any]  # the content of evaluation.json


class KeepBest(orbit.Action):
    """After each evaluation, keeps what it measured wherever it is the best so far."""

    def __init__(self, runner: train_lib.OrbitExperimentRunner, task: StudentConfig):
        self._runner, self._task = runner, task

    def __call__(self, output: dict[str, Any]) -> None:
        del output  # it is in the run's directory, with its protocol
        directory = self._runner.model_dir
        evaluation = _last_evaluation(directory, self._task)
        # The loop evaluates before it saves where the two intervals differ, and at its end.
        if (
            evaluation
            and _won(directory, self._task, evaluation)
            and checkpoints.trained_steps(directory) < evaluation["step"]
        ):
            self._runner.controller.save_checkpoint()
        update(directory, self._task)


def follow(runner: train_lib.OrbitExperimentRunner, task: StudentConfig) -> None:
    """Has a run keep its best, beginning with what an interruption may have left to be kept."""
    update(runner.model_dir, task)
    runner.controller.eval_actions += (KeepBest(runner, task),)


def update(model_dir: str, task: StudentConfig) -> None:
    """Keeps the newest checkpoint wherever its evaluation is the best so far; done twice, it does nothing."""
    evaluation = _last_evaluation(model_dir, task)
    if evaluation is None or checkpoints.trained_steps(model_dir) != evaluation["step"]:
        return
    won = _won(model_dir, task, evaluation)
    for name in won:
        _keep(model_dir, os.path.join(model_dir, FOLDER, name), evaluation)
    if won:
        print(f"  best so far     {', '.join(won)}: kept in {os.path.join(model_dir, FOLDER)}", flush=True)


def kept(directory: str) -> Evaluation | None:
    """The evaluation by which `best/<name>` was kept; None where there is none yet."""
    checkpoint = tf.train.latest_checkpoint(directory)
    return _read(f"{checkpoint}.json") if checkpoint else None


def _last_evaluation(model_dir: str, task: StudentConfig) -> Evaluation | None:
    """The run's last, if it was on this run's own validation set: one may look at others in between."""
    path = os.path.join(model_dir, evaluator.LAST)
    evaluation = _read(path) if tf.io.gfile.exists(path) else None
    return evaluation if evaluation and evaluation.get("set") == evaluator.set_of(task) else None


def _won(model_dir: str, task: StudentConfig, evaluation: Evaluation) -> list[str]:
    """Where the evaluation is better than what is kept."""
    tasks = enabled(task)
    won = [name for name in tasks if _is_better(_figure(evaluation, name), _before(model_dir, name, evaluation), name)]
    before = _before(model_dir, OVERALL, evaluation)
    references = _references(model_dir, tasks, evaluation)
    gain = mean_gain(evaluation, references)
    if math.isfinite(gain) and (before is None or not gain <= mean_gain(before, references)):
        won.append(OVERALL)
    return won


def _is_better(figure: float, before: Evaluation | None, name: str) -> bool:
    if not math.isfinite(figure):
        return False
    return before is None or not _sign(name) * figure <= _sign(name) * _figure(before, name)


def mean_gain(evaluation: Evaluation, references: dict[str, float]) -> float:
    """The mean over the tasks of the relative gain; NaN where one of them has no figure. See the module's docstring."""
    # Without a reference all figures so far are 0 (or NaN, which must show).
    gains = [
        _sign(name) * (_figure(evaluation, name) - reference) / (abs(reference) or 1.0)
        for name, reference in references.items()
    ]
    return sum(gains) / len(gains) if gains else math.nan


def _figure(evaluation: Evaluation, name: str) -> float:
    """A task's headline; NaN where there is none, or where some of its predictions were no numbers."""
    if name in evaluation["not_finite"]:
        return math.nan
    return float(evaluation["figures"].get(f"{name}/{discover()[name].Metric.headline}", math.nan))


def _sign(name: str) -> int:
    return 1 if discover()[name].Metric.higher_is_better else -1


def _references(model_dir: str, tasks: dict[str, TaskConfig], evaluation: Evaluation) -> dict[str, float]:
    """r_i of the tasks that the set has something to measure for; 0 where nothing but 0 was measured yet."""
    history = [one for one in (*_history(model_dir), evaluation) if _comparable(one, evaluation)]
    references = {}
    for name in tasks:
        figures = [_figure(one, name) for one in history]
        first = next((figure for figure in figures if math.isfinite(figure) and figure), 0.0)
        if f"{name}/{discover()[name].Metric.headline}" in evaluation["figures"]:
            references[name] = tasks[name].teacher_figure or first
    return references


def _history(model_dir: str) -> Iterator[Evaluation]:
    path = os.path.join(model_dir, evaluator.HISTORY)
    if tf.io.gfile.exists(path):
        with tf.io.gfile.GFile(path) as file:
            yield from map(json.loads, file.read().splitlines())


def _before(model_dir: str, name: str, evaluation: Evaluation) -> Evaluation | None:
    before = kept(os.path.join(model_dir, FOLDER, name))
    return before if before and _comparable(before, evaluation) else None


def _comparable(one: Evaluation, other: Evaluation) -> bool:
    """Whether both measured the same images by the same rules. A set may have moved."""
    return all(one.get(key) == other.get(key) for key in ("images", "labelled", "protocol"))


def _keep(model_dir: str, directory: str, evaluation: Evaluation) -> None:
    source = tf.train.latest_checkpoint(model_dir)
    name = os.path.basename(source)
    # Never over what is in use, also where a resumed run comes to a step that was kept before the interruption.
    if os.path.basename(tf.train.latest_checkpoint(directory) or "") == name:
        name += "-again"
    for file in _files_of(source):
        files.copy_whole(source + file, os.path.join(directory, name + file))
    files.copy_whole(os.path.join(model_dir, "params.yaml"), os.path.join(directory, "params.yaml"))
    files.write_json(os.path.join(directory, f"{name}.json"), evaluation)
    state = f'model_checkpoint_path: "{name}"\nall_model_checkpoint_paths: "{name}"\n'
    files.write_whole(os.path.join(directory, "checkpoint"), state.encode())  # from here on it is the best
    for file in tf.io.gfile.listdir(directory):
        if file.startswith("ckpt-") and not file.startswith(f"{name}."):
            tf.io.gfile.remove(os.path.join(directory, file))


def _files_of(prefix: str) -> list[str]:
    """What follows the prefix in the names of a checkpoint's files."""
    folder, name = os.path.split(prefix)
    return [file[len(name) :] for file in tf.io.gfile.listdir(folder) if file.startswith(f"{name}.")]


def _read(path: str) -> Evaluation:
    with tf.io.gfile.GFile(path) as file:
        return json.loads(file.read())
