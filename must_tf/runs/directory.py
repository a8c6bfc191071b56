"""Ties a run directory to one config: the same command resumes the run, another config is refused with the differences.

A run directory holds the config that the run was started with (params.yaml) and a fingerprint of the training data
(run.json): a run resumes if the data has moved, but not if it has changed. `common/run_files.py` lists all its files.

These settings may change between two commands:

- where and how fast the run goes: `runtime`, except for the precision
- when it saves, logs, draws and evaluates: `trainer`, except for steps, optimizer and schedule
- when it stops early: `task.patience`
- what it evaluates on and how: `task.validation_data`, and fields of a task that are marked `measuring`
- settings of tasks that are not enabled
"""

from __future__ import annotations

import fnmatch
import json
import os
import shlex
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf
from official.core.config_definitions import ExperimentConfig, TrainerConfig
from official.modeling import optimization

from must_tf.common import files, folder_lock, own_folder, run_files
from must_tf.common.errors import UserError
from must_tf.common.text import listed
from must_tf.config import fields, validate
from must_tf.config import values as config_values
from must_tf.data import manifest
from must_tf.model.student import StudentConfig
from must_tf.runs import checkpoints, fingerprint
from must_tf.tasks import discover

STEPS = "trainer.train_steps"
SCHEDULE = "trainer.optimizer_config.learning_rate."
FOLLOWS = ("decay_steps", "total_decay_steps")  # of the schedule; they may grow with the steps
COUNTS = ("task.", STEPS, "trainer.optimizer_config.", "runtime.mixed_precision_dtype", "runtime.loss_scale")
FREE = ("task.validation_data.", "task.pictures", "task.patience", "task.name", "task.allow_image_summary")
TASKS = "task.tasks."
# An evaluation may leave out heads and use other data; all that shapes the predictions must be as it was in training.
SHAPES = ("task.model.", "task.input_size", TASKS)
# A learning rate below this share of the schedule's highest changes no weight in float32.
NO_RATE = 1e-6
RATES = 50  # steps at which a schedule is sampled to find its highest rate
VALUE_SHOWN = 100  # characters of a value in a message

# All files that a run writes to its directory, except for params.yaml and run.json.
FILES = (
    run_files.CHECKPOINT,
    run_files.HIDDEN_CHECKPOINT,
    "ckpt-[0-9]*",
    run_files.EVALUATION,
    run_files.EVALUATIONS,
    run_files.AGREEMENT,
    run_files.METRICS,
    run_files.TENSORFLOW_LOG,
    run_files.DRY_RUN,
)
FOLDERS = (run_files.TRAIN, run_files.VALIDATION, run_files.PICTURES, run_files.BEST, run_files.FAILED)
# All files that a run writes to these folders.
INSIDE = (
    *FILES,
    run_files.PARAMS,
    run_files.CONTENT,
    "events.out.tfevents.*",
    "step-*.png",
    run_files.FAILED_BATCH,
    run_files.FAILED_RECORDS,
    run_files.FAILED_REPORT,
)

# What people put into a run directory, beside what `own_folder` knows.
BESIDE = ("*.txt", "*.md", "*.yaml", "*.yml", "*.sh", "*.partial")

Flat = dict[str, Any]  # a config as {"task.input_size": 640, ...}


class Change(NamedTuple):
    """A setting whose value differs from the one that the run was started with."""

    key: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.key}: {_short(self.old)} -> {_short(self.new)}"


def is_run(directory: str) -> bool:
    """Returns true if a run was started in this directory."""
    return tf.io.gfile.exists(os.path.join(directory, run_files.PARAMS))


def write(directory: str, params: ExperimentConfig, extended: int = -1) -> None:
    """Ties the directory to this config, creating it if needed.

    Args:
      directory: the run directory.
      params: the completed config.
      extended: the step at which the run had stopped early and goes on from; -1 if it had not.
    """
    tf.io.gfile.makedirs(directory)
    fingerprint.write(directory, params.task.train_data, extended)
    config_values.write_params(params, os.path.join(directory, run_files.PARAMS))


def admit(directory: str, params: ExperimentConfig, extend: bool) -> str:
    """Checks that a training may use a directory.

    Args:
      directory: --model_dir, which need not exist.
      params: the config with everything filled in.
      extend: true to allow more steps than the run was started with.

    Returns:
      A message for the log, or "".

    Raises:
      UserError: the directory belongs to another config; names the settings that differ.
    """
    if tf.io.gfile.exists(os.path.join(directory, manifest.NAME)):
        raise UserError(f"{directory} is a folder of records: it has a {manifest.NAME}. Give another --model_dir.")
    if not checkpoints.listed(directory):  # nothing was trained yet
        if not is_run(directory) and (other := _foreign(directory)):
            raise UserError(
                f"{directory} is not a run directory: it has {listed(other)}. Give a new or empty --model_dir."
            )
        return ""
    if not is_run(directory):
        raise UserError(
            f"{directory} has checkpoints, but no {run_files.PARAMS} with their settings. Give another --model_dir."
        )
    differing = changes(directory, params)
    longer = [change for change in differing if _extends(change)]
    if len(longer) < len(differing) or (longer and not extend):
        raise UserError(_refusal(directory, differing, only_longer=len(longer) == len(differing)))
    return _extension(directory, params, longer) if longer else ""


def changes(directory: str, params: ExperimentConfig) -> list[Change]:
    """Returns the settings that differ from those of the run in a directory and may not differ."""
    old, new = _flat_pair(directory, params)
    same_data = _same_content(directory, params)
    differing = [
        change
        for change in differences(old, new)
        if change.key.startswith(COUNTS)
        and not change.key.startswith(FREE)
        and _role(change.key) != fields.MEASURING
        and not _is_off(change.key, old, new)
    ]
    if same_data is not None:  # then the content counts, not the path
        differing = [change for change in differing if change.key != fingerprint.PATH]
    if same_data is False:
        before, now = fingerprint.stored(directory), fingerprint.content(params.task.train_data)
        differing.append(Change("the records of task.train_data", before, now))
    return differing


def differences(old: Flat, new: Flat) -> list[Change]:
    """Returns the differences between two flat configs; a key that only one of them has is None in the other."""
    keys = dict.fromkeys([*old, *new])
    return [Change(key, old.get(key), new.get(key)) for key in keys if old.get(key) != new.get(key)]


def check_evaluation(directory: str, params: ExperimentConfig) -> None:
    """Raises UserError if the config would predict differently from what the run in this directory was trained for."""
    old, new = _flat_pair(directory, params)
    differing = [
        change
        for change in differences(old, new)
        if change.key.startswith(SHAPES)
        and _role(change.key) not in (fields.MEASURING, fields.TRAINING)
        and not change.key.endswith(".enabled")
        and not _is_off(change.key, new, new)
    ]
    if differing:
        raise UserError(
            f"{directory} was trained with other settings (trained -> requested):{_lines(differing)}\n"
            f"  Give the settings it was trained with: "
            f"--config_file={shlex.quote(os.path.join(directory, run_files.PARAMS))}"
        )


def check_overwrite(directory: str) -> None:
    """Raises UserError if the directory is not empty and not a run directory, or cannot be one."""
    if problem := run_files.pattern_problem(directory):
        raise UserError(problem)
    if not is_run(directory) and _files(directory):
        raise UserError(
            f"--overwrite: {directory} is not a run directory (it has no {run_files.PARAMS}), so nothing was deleted. "
            "Give another --model_dir, or empty it yourself."
        )


def _files(directory: str) -> list[str]:
    """Returns the names in a folder, without lock files; none if it does not exist."""
    names = tf.io.gfile.listdir(directory) if tf.io.gfile.isdir(directory) else []
    return [name.rstrip("/") for name in names if not folder_lock.is_part_of_lock(name)]


def _foreign(directory: str) -> list[str]:
    """Returns the files that neither a run writes nor people put beside one, like logs."""
    return own_folder.foreign(directory, (*FILES, *FOLDERS, *INSIDE, *BESIDE))


def delete(directory: str) -> None:
    """Removes the files that a run writes, and its folders if they are empty then. Other files stay."""
    check_overwrite(directory)
    for folder in FOLDERS:
        if tf.io.gfile.isdir(os.path.join(directory, folder)):
            _delete_in(os.path.join(directory, folder))
    # The config goes last: after an interruption this is still a run directory.
    for pattern in [*FILES, run_files.CONTENT, run_files.PARAMS]:
        for path in files.matching(directory, pattern):
            tf.io.gfile.remove(path)


def _delete_in(folder: str) -> None:
    for name in tf.io.gfile.listdir(folder):
        path = os.path.join(folder, name.rstrip("/"))
        if tf.io.gfile.isdir(path):
            _delete_in(path)
        elif any(fnmatch.fnmatch(name, pattern) for pattern in INSIDE):
            tf.io.gfile.remove(path)
    if not tf.io.gfile.listdir(folder):
        tf.io.gfile.rmtree(folder)


def _role(key: str) -> str:
    """Returns the role that a task's config gives to the field at this place (see `config.fields`), or ""."""
    if not key.startswith(TASKS):
        return ""
    task, _, name = key.removeprefix(TASKS).partition(".")
    spec = discover().get(task)
    roles = (fields.MEASURING, fields.TRAINING)
    return next((role for role in roles if spec and name in fields.names(spec.Config, role)), "")


def started_with(directory: str) -> ExperimentConfig:
    """Returns the config that a run was started with; keys that are newer than the run have their defaults."""
    params = ExperimentConfig(task=StudentConfig(), trainer=TrainerConfig())
    stored = config_values.read_yaml(os.path.join(directory, run_files.PARAMS))
    params.override(validate.sift(params, stored)[0])
    return params


def _flat_pair(directory: str, params: ExperimentConfig) -> tuple[Flat, Flat]:
    """Returns the config that the run was started with, and `params`."""
    return config_values.flat(started_with(directory).as_dict()), config_values.flat(params.as_dict())


def _is_off(key: str, old: Flat, new: Flat) -> bool:
    """Returns true if a key belongs to a task that is enabled in neither config."""
    parts = key.split(".")
    if parts[:2] != ["task", "tasks"] or parts[3] == "enabled":
        return False
    switch = ".".join([*parts[:3], "enabled"])
    return not old.get(switch) and not new.get(switch)


def _same_content(directory: str, params: ExperimentConfig) -> bool | None:
    """Returns true if the training data has its old content; None if the run has no fingerprint of it."""
    before = fingerprint.stored(directory)
    return None if before is None else before == fingerprint.content(params.task.train_data)


def _extends(change: Change) -> bool:
    follows = change.key.startswith(SCHEDULE) and change.key.rpartition(".")[2] in FOLLOWS
    grows = isinstance(change.old, int) and isinstance(change.new, int) and change.new > change.old
    return grows and (follows or change.key == STEPS)


def _refusal(directory: str, differing: Sequence[Change], only_longer: bool) -> str:
    remedy = "continue training with --extend" if only_longer else "restore the old settings"
    return (
        f"{directory} belongs to a run with other settings (old -> new):{_lines(differing)}\n"
        f"  Give another --model_dir, {remedy}, or start over with --overwrite, which deletes that run."
    )


def _lines(differing: Sequence[Change]) -> str:
    return "".join(f"\n    {change}" for change in differing)


def _short(value: Any) -> str:
    text = "none" if value is None else json.dumps(value)
    return text if len(text) <= VALUE_SHOWN else f"{text[: VALUE_SHOWN - 3]}..."


def _extension(directory: str, params: ExperimentConfig, longer: Sequence[Change]) -> str:
    """Describes the learning rate of the added steps, for which the schedule was not made.

    Raises:
      UserError: it is 0 in all of them.
    """
    before = learning_rate(started_with(directory).trainer.optimizer_config)
    now = learning_rate(params.trainer.optimizer_config)
    done, total = checkpoints.trained_steps(directory), params.trainer.train_steps
    start = max((change.old for change in longer if change.key == STEPS), default=done)
    added = [now(step) for step in range(max(done, start), total, max((total - start) // RATES, 1))]
    highest = max(now(step) for step in range(0, total, max(total // RATES, 1)))
    if added and max(added) <= NO_RATE * highest:
        raise UserError(
            f"--extend: the learning rate of {directory} is 0 from step {start} on, so the added steps would change "
            f"nothing. Make its schedule longer too, for instance {_schedule_length(params)}={total}."
        )
    return (
        f"extended:{_lines(longer)}\n  learning rate at step {done}: {before(done):.3g} before, {now(done):.3g} now; "
        f"at step {total - 1}: {now(total - 1):.3g}"
    )


def _schedule_length(params: ExperimentConfig) -> str:
    """Returns the key that sets how long the schedule is."""
    schedule = params.trainer.optimizer_config.learning_rate
    field = next((name for name in FOLLOWS if hasattr(schedule.get(), name)), "values")
    return f"{SCHEDULE}{schedule.type}.{field}"


def learning_rate(settings: optimization.OptimizationConfig) -> Callable[[int], float]:
    """Returns the schedule as a function of the step."""
    if "TF_CONFIG" in os.environ:  # running an operation now would keep TensorFlow from starting workers later
        return _learning_rate_in_graph(settings)
    schedule = optimization.OptimizerFactory(settings).build_learning_rate()
    return (lambda step: float(schedule(step))) if callable(schedule) else (lambda step: float(schedule))


def _learning_rate_in_graph(settings: optimization.OptimizationConfig) -> Callable[[int], float]:
    with tf.Graph().as_default():
        step = tf.compat.v1.placeholder(tf.int64, [])
        schedule = optimization.OptimizerFactory(settings).build_learning_rate()
        rate = schedule(step) if callable(schedule) else tf.constant(float(schedule))
        session = tf.compat.v1.Session()
    return lambda at: float(session.run(rate, {step: at}))
