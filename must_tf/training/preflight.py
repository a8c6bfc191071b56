"""What is settled before the first step: data, classes, weights, devices. What is wrong ends the run here."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from official.core import config_definitions
from official.modeling import optimization

from must_tf.common import devices
from must_tf.common.errors import Mistakes, UserError, nearest
from must_tf.data import input as input_lib
from must_tf.data import manifest, record
from must_tf.evaluation import evaluator
from must_tf.model import student
from must_tf.pseudo_gate import verdict
from must_tf.tasks import discover
from must_tf.training import loss_weights

Manifests = dict[str, manifest.Manifest]  # by the folder that it describes


class Images(NamedTuple):
    """The number of images in the training and validation data; 0 for data that the mode does not read.

    `mixed` names the tasks that have real labels on some training images and pseudo labels on others.
    """

    train: int
    validation: int
    mixed: tuple[str, ...] = ()


NO_IMAGES = Images(0, 0)  # for a task that reads no data, or an endless order of unknown length


def settle(params: config_definitions.ExperimentConfig, mode: str, mistakes: Mistakes | None = None) -> Images:
    """Checks the config against the data and fills in what follows from it.

    Args:
      params: the experiment's config; classes and weights are filled in.
      mode: of `train.py`.
      mistakes: what is known to be wrong already. It is raised together with what is found here.

    Returns:
      The number of images in both sets.

    Raises:
      UserError: what does not fit, all of it, before any work.
    """
    mistakes = mistakes or Mistakes()
    clean = not mistakes.found  # else what is missing now may be what was misspelled
    task = params.task
    configs = student.enabled(task)
    if clean:
        _check_model(task, configs, mistakes)
    _check_loop(params, mode, mistakes)
    manifests: dict[str, Manifests] = {}
    for where, data in sets(task, mode).items():
        with mistakes.noted():
            manifests[where] = _manifests(data, where)
    for name, config in configs.items():
        if discover()[name].class_ids:
            _settle_classes(name, config, manifests, mistakes)
        mistakes.found += discover()[name].settle(config, configs)
        with mistakes.noted():  # refuses what it could not measure, now rather than at the first evaluation
            discover()[name].Metric(config)
    if not mistakes.found and "train" in mode:
        _settle_training(params, configs, manifests["task.train_data"], mistakes)
    mistakes.end()
    train, validation = (manifests.get(where, {}) for where in ("task.train_data", "task.validation_data"))
    return Images(_images(train), _images(validation), tuple(name for name in configs if _is_mixed(name, train)))


def sets(task: student.StudentConfig, mode: str) -> dict[str, input_lib.Data]:
    """The data that a mode reads, by its place in the config."""
    both = {"train": ("task.train_data", task.train_data), "eval": ("task.validation_data", task.validation_data)}
    return dict(both[word] for word in both if word in mode)


def _images(manifests: Manifests) -> int:
    return sum(one.records for one in manifests.values())


def _is_mixed(task: str, manifests: Manifests) -> bool:
    origins = [origin for one in manifests.values() for origin, count in one.origins.get(task, {}).items() if count]
    return len({record.is_pseudo(origin) for origin in origins}) == 2


def _settle_training(params: Any, configs: dict[str, Any], manifests: Manifests, mistakes: Mistakes) -> None:
    _check_labels(configs, manifests, mistakes)
    with mistakes.noted():
        _check_pseudo(configs, manifests, mistakes)
    rate = initial_learning_rate(params.trainer.optimizer_config)
    with mistakes.noted():
        loss_weights.resolve(configs, params.task.balance, params.task.train_data.global_batch_size, rate)


def adopt_classes(task: student.StudentConfig, trained: student.StudentConfig) -> None:
    """Takes the class names that a run was trained with: a validation set need not have labels for every head."""
    for name, config in student.enabled(task).items():
        config.classes = config.classes or getattr(trained.tasks, name).classes


def _check_model(task: student.StudentConfig, configs: dict[str, Any], mistakes: Mistakes) -> None:
    if not configs:
        mistakes.found.append("no task has enabled=true; switch one on, for instance task.tasks.depth.enabled=true")
    for name in configs:
        missing = [need for need in discover()[name].needs if need not in configs]
        if missing:
            mistakes.found.append(f"{name} needs {missing[0]}; set task.tasks.{missing[0]}.enabled=true")
    multiple = 2**task.model.max_level
    if task.input_size % multiple:
        near = max(round(task.input_size / multiple), 1) * multiple
        mistakes.found.append(
            f"task.input_size={task.input_size} must be a multiple of {multiple} (the stride of level "
            f"{task.model.max_level}), for instance {near}."
        )


def _check_loop(params: config_definitions.ExperimentConfig, mode: str, mistakes: Mistakes) -> None:
    """Refuses what Model Garden's loop takes and this project would do wrong."""
    trainer, zoom = params.trainer, params.task.train_data.augmentation
    if "train" in mode and zoom.scale_min > zoom.scale_max:
        mistakes.found.append(
            f"task.train_data.augmentation.scale_min={zoom.scale_min} must not be above scale_max={zoom.scale_max}."
        )
    if "eval" in mode and trainer.validation_steps != -1:
        mistakes.found.append(
            f"trainer.validation_steps={trainer.validation_steps} must be -1: an evaluation covers the whole set, "
            "every image once. For a shorter one give a smaller set in task.validation_data.input_path."
        )
    if "eval" in mode and "multi_worker" in params.runtime.distribution_strategy:
        mistakes.found.append(
            "evaluation measures on one host. With several workers use --mode=train on them, and --mode=eval with "
            "runtime.distribution_strategy=mirrored on one machine."
        )
    if trainer.optimizer_config.ema:
        mistakes.found.append(
            "trainer.optimizer_config.ema is not supported: averaged weights would be evaluated, but others labelled "
            "with and exported. Remove it."
        )


def _manifests(data: input_lib.Data, where: str) -> Manifests:
    paths = input_lib.files(data.input_path, f"{where}.input_path")
    directories = sorted({os.path.dirname(path) for path in paths})
    found = {directory: manifest.read(directory) for directory in directories}
    listed = sum(len(one.shards) for one in found.values())
    if listed != len(paths):
        raise UserError(
            f"{where}.input_path matches {len(paths)} files where the manifests list {listed}. Name whole record sets "
            "(DIR/*.tfrecord), and convert again where shards are missing."
        )
    return found


def _settle_classes(name: str, config: Any, manifests: dict[str, Manifests], mistakes: Mistakes) -> None:
    """Takes class names from the records; refuses records that name them otherwise than the config or each other."""
    given = tuple(config.classes)
    named = [(where, path, one) for where, found in manifests.items() for path, one in found.items()]
    for where, path, one in named:
        names = tuple(one.classes.get(name, ()))
        if names and config.classes and names != tuple(config.classes):
            hint = _unknown_classes(name, given, names, path) if given else ""
            mistakes.found.append(
                hint
                or f"{where}: {path} names {name}'s classes {_short(names)}, but {_short(config.classes)} "
                "is in use. Records that are trained together must have the same classes in the same order."
            )
        else:
            config.classes = names or config.classes
    if not config.classes and named:
        mistakes.found.append(
            f"nobody names {name}'s classes: no record set has any. Give records with {name} labels, or set "
            f"task.tasks.{name}.classes=[...], or task.tasks.{name}.enabled=false"
        )


def _unknown_classes(task: str, given: Sequence[str], names: Sequence[str], path: str) -> str:
    """On classes of the config that the records do not have, with the nearest that they have."""
    unknown = [one for one in given if one not in names]
    words = " ".join(f"{one!r} is not there.{nearest(one, names)}" for one in unknown[:5])
    return f"task.tasks.{task}.classes: {path} has {_short(names)}; {words}" if unknown else ""


def _short(names: Any) -> str:
    shown = ", ".join(list(names)[:4])
    return f"[{shown}{', ...' if len(names) > 4 else ''}] ({len(names)})"


def _check_labels(configs: dict[str, Any], manifests: Manifests, mistakes: Mistakes) -> None:
    for name, config in configs.items():
        reason = discover()[name].unfit(config, manifests)
        if reason:
            mistakes.found.append(reason)
        labelled = sum(sum(found.origins.get(name, {}).values()) for found in manifests.values())
        if not labelled:
            mistakes.found.append(
                f"no image in {', '.join(manifests)} has {name} labels, so its head would learn nothing. Add "
                "records that have them, label these with a teacher (must-records label), or set "
                f"task.tasks.{name}.enabled=false"
            )


def _check_pseudo(configs: dict[str, Any], manifests: Manifests, mistakes: Mistakes) -> None:
    """Refuses pseudo labels that `must-records stats` found unfit; says which nobody has judged."""
    said = verdict.check(configs, manifests)
    mistakes.found += said.problems
    for note in said.notes:
        print(note, flush=True)


def initial_learning_rate(config: optimization.OptimizationConfig) -> float:
    """The schedule's first value after warm-up, lr_s of the weight rule."""
    schedule = config.learning_rate.get()
    for field in ("initial_learning_rate", "learning_rate", "values"):
        value = getattr(schedule, field, None)
        if value is not None:
            return float(value[0] if isinstance(value, list | tuple) else value)
    return 0.0


def settle_devices(runtime: config_definitions.RuntimeConfig) -> None:
    """Uses the GPUs that are there. Raises UserError where one would lie idle that nobody asked to leave alone."""
    seen = 0 if runtime.distribution_strategy == "tpu" else devices.seen()
    runtime.num_gpus, said = devices.choose(runtime.distribution_strategy, runtime.num_gpus, seen)
    if said:
        print(said, flush=True)


def evaluated_step(model_dir: str, validation: input_lib.Data | None = None) -> int:
    """The step of the last whole evaluation, if it was on this set; -1 where there is none."""
    evaluation = evaluator.last(model_dir)
    if evaluation is None or (validation and evaluation.get("set") != evaluator.set_of(validation)):
        return -1
    return evaluation["step"]
