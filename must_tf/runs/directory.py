"""A run directory belongs to one config: the same command goes on, another one is refused with what differs.

    runs/student/params.yaml    the config, with everything that was filled in
    runs/student/run.json       what the training data held: a run goes on though it moved, and not though it changed

What may differ: where and how fast it runs (`runtime`, but not the precision); when it saves, logs, draws and evaluates
what and how (`trainer` but for steps, optimizer and schedule; `task.validation_data`; fields of a task that are marked
`measuring`); settings of tasks that are off.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
from typing import Any, NamedTuple

import tensorflow as tf
from official.core import config_definitions
from official.modeling import optimization

from must_tf.common import files, run_files
from must_tf.common.errors import UserError
from must_tf.common.run_files import CONTENT, PARAMS
from must_tf.config import fields, validate
from must_tf.config import values as config_values
from must_tf.data import input as input_lib
from must_tf.data import manifest
from must_tf.model.student import StudentConfig
from must_tf.runs import checkpoints
from must_tf.tasks import discover

STEPS = "trainer.train_steps"
SCHEDULE = "trainer.optimizer_config.learning_rate."
FOLLOWS = ("decay_steps", "total_decay_steps")  # of the schedule: may grow with the steps
COUNTS = ("task.", STEPS, "trainer.optimizer_config.", "runtime.mixed_precision_dtype", "runtime.loss_scale")
FREE = ("task.validation_data.", "task.pictures", "task.name", "task.allow_image_summary")
PATH = "task.train_data.input_path"
TASKS = "task.tasks."
# An evaluation may leave out heads and use other data; all that shapes the predictions must be as it was in training.
SHAPES = ("task.model.", "task.input_size", TASKS)
# All that a run writes: in its folder, and anywhere in these folders of it.
FILES = (
    PARAMS,
    CONTENT,
    run_files.CHECKPOINT,
    run_files.HIDDEN_CHECKPOINT,
    "ckpt-*",
    run_files.EVALUATION,
    run_files.EVALUATIONS,
    run_files.METRICS,
    run_files.DRY_RUN,
)
FOLDERS = (run_files.TRAIN, run_files.VALIDATION, run_files.PICTURES, run_files.BEST, run_files.FAILED)
INSIDE = (
    *FILES,
    "events.out.tfevents.*",
    "step-*.png",
    run_files.FAILED_BATCH,
    run_files.FAILED_RECORDS,
    run_files.FAILED_REPORT,
)


class Change(NamedTuple):
    """A setting whose value is another one than the run was started with."""

    key: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.key}: {_short(self.old)} -> {_short(self.new)}"


def is_run(directory: str) -> bool:
    """Whether a run was started in this folder."""
    return tf.io.gfile.exists(os.path.join(directory, PARAMS))


def write(directory: str, params: Any) -> None:
    """Makes the folder this config's."""
    tf.io.gfile.makedirs(directory)
    files.write_json(os.path.join(directory, CONTENT), {"train_data": content(params.task.train_data)})
    config_values.write_params(params, os.path.join(directory, PARAMS))


def content(data: input_lib.Data) -> dict[str, Any]:
    """What a record set holds, wherever it lies: the number of its images, and a hash over its files."""
    paths = input_lib.files(data.input_path, PATH)
    found = {directory: manifest.read(directory) for directory in sorted({os.path.dirname(path) for path in paths})}
    shards = {os.path.join(at, shard["file"]): shard["sha256"] for at, one in found.items() for shard in one.shards}
    hashes = [shards.get(path, path) for path in paths]  # in the order in which they are read: it decides about the run
    digest = hashlib.sha256("\n".join(hashes).encode()).hexdigest()
    return {"records": sum(one.records for one in found.values()), "sha256": digest}


def admit(directory: str, params: Any, extend: bool) -> str:
    """Lets a training into its folder.

    Args:
      directory: --model_dir, which need not exist.
      params: the config with all that was filled in.
      extend: whether more steps than the run was started with are wanted.

    Returns:
      What is to be said about it, or an empty string.

    Raises:
      UserError: the folder belongs to another config; says which settings differ.
    """
    if not checkpoints.listed(directory):  # nothing was trained yet
        return ""
    if not is_run(directory):
        raise UserError(f"{directory} has checkpoints, but no {PARAMS} that says of what. Give another --model_dir.")
    found = changes(directory, params)
    longer = [one for one in found if _extends(one)]
    if [one for one in found if one not in longer] or (longer and not extend):
        raise UserError(_refusal(directory, found, bool(longer) and len(longer) == len(found)))
    return _extension(directory, params, longer) if longer else ""


def changes(directory: str, params: Any) -> list[Change]:
    """The settings that count and that differ from those of the run in a folder."""
    old, new = config_values.flat(_started_with(directory).as_dict()), config_values.flat(params.as_dict())
    same_data = _same_content(directory, params)
    found = [
        one
        for one in differences(old, new)
        if one.key.startswith(COUNTS)
        and not one.key.startswith(FREE)
        and _role(one.key) != fields.MEASURING
        and not _is_off(one.key, old, new)
    ]
    found = [one for one in found if one.key != PATH or same_data is None]
    if same_data is False:
        found.append(Change("the records of task.train_data", *_records(directory, params)))
    return found


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[Change]:
    """What differs between two flat configs; a key that only one has is None in the other."""
    keys = dict.fromkeys([*old, *new])
    return [Change(key, old.get(key), new.get(key)) for key in keys if old.get(key) != new.get(key)]


def check_evaluation(directory: str, params: Any) -> None:
    """Raises UserError where an evaluation would predict otherwise than the run in this folder was trained to."""
    old, new = config_values.flat(_started_with(directory).as_dict()), config_values.flat(params.as_dict())
    found = [
        one
        for one in differences(old, new)
        if one.key.startswith(SHAPES)
        and _role(one.key) not in (fields.MEASURING, fields.TRAINING)
        and not one.key.endswith(".enabled")
        and not _is_off(one.key, new, new)
    ]
    if found:
        raise UserError(
            f"{directory} was trained with other settings (its own -> asked for):{_lines(found)}\n"
            f"  Give those of {directory}/{PARAMS}, as --config_file for instance."
        )


def check_overwrite(directory: str) -> None:
    """Raises UserError for a folder with something in it that is no run directory."""
    if tf.io.gfile.exists(directory) and tf.io.gfile.listdir(directory) and not is_run(directory):
        raise UserError(f"--overwrite: {directory} is no run directory (it has no {PARAMS}); nothing was deleted.")


def delete(directory: str) -> None:
    """Removes the files that a run writes, and the folders that are empty then. What else lies there stays."""
    check_overwrite(directory)
    for folder in FOLDERS:
        if tf.io.gfile.isdir(os.path.join(directory, folder)):
            _delete_in(os.path.join(directory, folder))
    # The checkpoints before what says whose they are: interrupted, it is still a run directory.
    for pattern in [*FILES[2:], CONTENT, PARAMS]:
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


def _started_with(directory: str) -> Any:
    """The config that a run was started with; keys that its version did not have are at their defaults."""
    params = config_definitions.ExperimentConfig(task=StudentConfig(), trainer=config_definitions.TrainerConfig())
    stored = config_values.read_yaml(os.path.join(directory, PARAMS))
    params.override(validate.sift(params, stored)[0])
    return params


def _is_off(key: str, old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Whether a key belongs to a task that has no head in either."""
    parts = key.split(".")
    if parts[:2] != ["task", "tasks"] or parts[3] == "enabled":
        return False
    switch = ".".join([*parts[:3], "enabled"])
    return not old.get(switch) and not new.get(switch)


def _same_content(directory: str, params: Any) -> bool | None:
    """Whether the training data holds what it held; None where nobody wrote that down."""
    if not tf.io.gfile.exists(os.path.join(directory, CONTENT)):
        return None
    before, now = _records(directory, params)
    return before == now


def _records(directory: str, params: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    with tf.io.gfile.GFile(os.path.join(directory, CONTENT)) as file:
        before = json.loads(file.read())["train_data"]
    return before, content(params.task.train_data)


def _extends(change: Change) -> bool:
    follows = change.key.startswith(SCHEDULE) and change.key.rpartition(".")[2] in FOLLOWS
    grows = isinstance(change.old, int) and isinstance(change.new, int) and change.new > change.old
    return grows and (follows or change.key == STEPS)


def _refusal(directory: str, found: list[Change], is_longer: bool) -> str:
    more = "train on with --extend" if is_longer else "go back to the old settings"
    return (
        f"{directory} belongs to a run with other settings (old -> new):{_lines(found)}\n"
        f"  Give another --model_dir, {more}, or start anew with --overwrite, which deletes that run."
    )


def _lines(found: list[Change]) -> str:
    return "".join(f"\n    {one}" for one in found)


def _short(value: Any) -> str:
    text = "none" if value is None else json.dumps(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


def _extension(directory: str, params: Any, longer: list[Change]) -> str:
    """What more steps do to the learning rate, of which the schedule was made for fewer."""
    before, now = (learning_rate(one.trainer.optimizer_config) for one in (_started_with(directory), params))
    done, total = checkpoints.step_of(checkpoints.search(directory).prefix), params.trainer.train_steps
    start = max((one.old for one in longer if one.key == STEPS), default=done)
    added = [now(step) for step in range(max(done, start), total, max((total - start) // 50, 1))]
    if added and max(added) <= 1e-6 * max(now(step) for step in range(0, total, max(total // 50, 1))):
        raise UserError(
            f"--extend: the schedule of {directory} has come to a learning rate of 0 at step {start}, so that the "
            f"added steps would change nothing. Let it last longer as well, for instance {_remedy(params)}={total}."
        )
    return (
        f"extended:{_lines(longer)}\n  learning rate at step {done}: {before(done):.3g} before, {now(done):.3g} now; "
        f"at step {total - 1}: {now(total - 1):.3g}"
    )


def _remedy(params: Any) -> str:
    kind = params.trainer.optimizer_config.learning_rate.type
    field = next(
        (name for name in FOLLOWS if hasattr(params.trainer.optimizer_config.learning_rate.get(), name)), "values"
    )
    return f"{SCHEDULE}{kind}.{field}"


def learning_rate(settings: optimization.OptimizationConfig) -> Any:
    """step -> learning rate."""
    if "TF_CONFIG" in os.environ:  # computing anything at once would keep workers from starting later
        return _in_a_graph(settings)
    made = optimization.OptimizerFactory(settings).build_learning_rate()
    return (lambda step: float(made(step))) if callable(made) else (lambda step: float(made))


def _in_a_graph(settings: optimization.OptimizationConfig) -> Any:
    with tf.Graph().as_default():
        step = tf.compat.v1.placeholder(tf.int64, [])
        made = optimization.OptimizerFactory(settings).build_learning_rate()
        rate = made(step) if callable(made) else tf.constant(float(made))
        session = tf.compat.v1.Session()
    return lambda at: float(session.run(rate, {step: at}))
