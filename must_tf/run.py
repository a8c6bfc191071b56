"""What is settled before the first step: data, classes, weights, devices. What is wrong ends the run here."""

from __future__ import annotations

import json
import os
from typing import Any, NamedTuple

import tensorflow as tf
from official.core import config_definitions
from official.modeling import optimization

from must_tf import balance, student
from must_tf.data import input as input_lib
from must_tf.data import manifest
from must_tf.errors import UserError
from must_tf.tasks import discover

Manifests = dict[str, manifest.Manifest]  # by the folder that it describes


class Images(NamedTuple):
    """How many there are to train and to evaluate on; 0 where that is not asked for."""

    train: int
    validation: int


def settle(params: config_definitions.ExperimentConfig, mode: str) -> Images:
    """Checks the config against the data and fills in what follows from it.

    Args:
      params: the experiment's config; classes and weights are filled in.
      mode: of `train.py`.

    Returns:
      The number of images in both sets.

    Raises:
      UserError: what does not fit, before any work.
    """
    task = params.task
    configs = student.enabled(task)
    _check_model(task, configs)
    _check_loop(params, mode)
    sets = []
    if "train" in mode:
        sets.append(("task.train_data", task.train_data))
    if "eval" in mode:
        sets.append(("task.validation_data", task.validation_data))
    manifests = {where: _manifests(data, where) for where, data in sets}
    _settle_classes(configs, manifests)
    for name, config in configs.items():
        discover()[name].Metric(config)  # refuses what it could not measure, now rather than at the first evaluation
    if "train" in mode:
        _check_labels(configs, manifests["task.train_data"])
        rate = initial_learning_rate(params.trainer.optimizer_config)
        balance.resolve(configs, task.balance, task.train_data.global_batch_size, rate)
    train, validation = (
        sum(one.records for one in manifests.get(where, {}).values())
        for where in ("task.train_data", "task.validation_data")
    )
    return Images(train, validation)


def adopt_classes(task: student.StudentConfig, trained: student.StudentConfig) -> None:
    """Takes the class names that a run was trained with: a validation set need not have labels for every head."""
    for name, config in student.enabled(task).items():
        config.classes = config.classes or getattr(trained.tasks, name).classes


def _check_model(task: student.StudentConfig, configs: dict[str, Any]) -> None:
    if not configs:
        raise UserError("no task has enabled=true; switch one on, for instance task.tasks.depth.enabled=true")
    for name in configs:
        missing = [need for need in discover()[name].needs if need not in configs]
        if missing:
            raise UserError(f"{name} needs {missing[0]}; set task.tasks.{missing[0]}.enabled=true")
    multiple = 2**task.model.max_level
    if task.input_size % multiple or task.input_size <= 0:
        near = max(round(task.input_size / multiple), 1) * multiple
        raise UserError(
            f"task.input_size={task.input_size} must be a multiple of {multiple} (the stride of level "
            f"{task.model.max_level}), for instance {near}."
        )


def _check_loop(params: config_definitions.ExperimentConfig, mode: str) -> None:
    """Refuses what Model Garden's loop takes and this project would do wrong."""
    trainer = params.trainer
    if "train" in mode and trainer.train_steps <= 0:
        raise UserError(f"trainer.train_steps={trainer.train_steps} must be at least 1.")
    if "eval" in mode and trainer.validation_steps != -1:
        raise UserError(
            f"trainer.validation_steps={trainer.validation_steps} must be -1: an evaluation covers the whole set, "
            "every image once. For a shorter one give a smaller set in task.validation_data.input_path."
        )
    if "eval" in mode and "multi_worker" in params.runtime.distribution_strategy:
        raise UserError(
            "evaluation measures on one host. With several workers use --mode=train on them, and --mode=eval with "
            "runtime.distribution_strategy=mirrored on one machine."
        )
    if trainer.optimizer_config.ema:
        raise UserError(
            "trainer.optimizer_config.ema is not supported: averaged weights would be evaluated, but others labelled "
            "with and exported. Remove it."
        )


def _manifests(data: input_lib.Data, where: str) -> Manifests:
    paths = input_lib.files(data.input_path, f"{where}.input_path")
    if data.global_batch_size <= 0:
        raise UserError(f"{where}.global_batch_size={data.global_batch_size} must be at least 1.")
    directories = sorted({os.path.dirname(path) for path in paths})
    found = {directory: manifest.read(directory) for directory in directories}
    listed = sum(len(one.shards) for one in found.values())
    if listed != len(paths):
        raise UserError(
            f"{where}.input_path matches {len(paths)} files where the manifests list {listed}. Name whole record sets "
            "(DIR/*.tfrecord), and convert again where shards are missing."
        )
    return found


def _settle_classes(configs: dict[str, Any], manifests: dict[str, Manifests]) -> None:
    """Takes class names from the records; refuses records that name them otherwise than the config or each other."""
    for name, config in configs.items():
        if not discover()[name].classed:
            continue
        for where, found in manifests.items():
            for directory, one in found.items():
                names = tuple(one.classes.get(name, ()))
                if names and config.classes and names != tuple(config.classes):
                    raise UserError(
                        f"{where}: {directory} names {name}'s classes {_short(names)}, but {_short(config.classes)} "
                        "is in use. Records that are trained together must have the same classes in the same order."
                    )
                config.classes = names or config.classes
        if not config.classes:
            raise UserError(
                f"nobody names {name}'s classes: no record set has any. Give records with {name} labels, or set "
                f"task.tasks.{name}.classes=[...], or task.tasks.{name}.enabled=false"
            )


def _short(names: Any) -> str:
    shown = ", ".join(list(names)[:4])
    return f"[{shown}{', ...' if len(names) > 4 else ''}] ({len(names)})"


def _check_labels(configs: dict[str, Any], manifests: Manifests) -> None:
    for name, config in configs.items():
        reason = discover()[name].unfit(config, manifests)
        if reason:
            raise UserError(reason)
        labelled = sum(sum(found.origins.get(name, {}).values()) for found in manifests.values())
        if not labelled:
            places = ", ".join(manifests)
            raise UserError(
                f"no image in {places} has {name} labels, so its head would learn nothing. Add records that have "
                f"them, label these with a teacher (must-records label), or set task.tasks.{name}.enabled=false"
            )


def initial_learning_rate(config: optimization.OptimizationConfig) -> float:
    """The schedule's first value after warm-up, lr_s of the weight rule."""
    schedule = config.learning_rate.get()
    for field in ("initial_learning_rate", "learning_rate", "values"):
        value = getattr(schedule, field, None)
        if value is not None:
            return float(value[0] if isinstance(value, list | tuple) else value)
    return 0.0


def settle_devices(runtime: config_definitions.RuntimeConfig) -> None:
    """Uses the GPUs that are there: Model Garden's `mirrored` with its default of 0 pins the CPU beside them."""
    gpus = len(tf.config.list_physical_devices("GPU"))
    if runtime.num_gpus > gpus:
        raise UserError(f"runtime.num_gpus={runtime.num_gpus}, but TensorFlow sees {gpus}.")
    if runtime.distribution_strategy in ("mirrored", "one_device") and runtime.num_gpus == 0 and gpus:
        runtime.num_gpus = gpus if runtime.distribution_strategy == "mirrored" else 1
        print(f"using {runtime.num_gpus} of {gpus} GPUs; CUDA_VISIBLE_DEVICES= asks for the CPU", flush=True)


def trained_steps(model_dir: str) -> int:
    """The step of the newest checkpoint; 0 where there is none."""
    path = tf.train.latest_checkpoint(model_dir)
    if not path:
        return 0
    return int(tf.train.load_checkpoint(path).get_tensor("global_step/.ATTRIBUTES/VARIABLE_VALUE"))


def evaluated_step(model_dir: str) -> int:
    """The step of the last whole evaluation; -1 where there is none."""
    path = os.path.join(model_dir, "evaluation.json")
    if not tf.io.gfile.exists(path):
        return -1
    with tf.io.gfile.GFile(path) as file:
        return int(json.loads(file.read())["step"])
