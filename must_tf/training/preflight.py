"""Checks a run before its first step and fills in what the config leaves open: data, classes, weights, devices."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from official.core.config_definitions import ExperimentConfig, RuntimeConfig
from official.modeling import optimization

from must_tf.common import devices
from must_tf.common.errors import Mistakes, UserError, nearest
from must_tf.common.text import listed
from must_tf.data import input as input_lib
from must_tf.data import manifest, record
from must_tf.evaluation import evaluator
from must_tf.model.student import StudentConfig, enabled
from must_tf.pseudo_gate import verdict
from must_tf.shared import pixel_confidence
from must_tf.spec import TaskConfig
from must_tf.tasks import discover
from must_tf.training import loss_weights, settings_check
from must_tf.training.settings_check import Configs

CLASSES_SHOWN = 4  # class names in a message
UNKNOWN_SHOWN = 5  # class names of the config that the records do not have

Manifests = dict[str, manifest.Manifest]  # by the folder that they describe


class Images(NamedTuple):
    """The number of images in the training and validation data; 0 for data that the mode does not read.

    `mixed` names the tasks that have real labels on some training images and pseudo labels on others.
    """

    train: int
    validation: int
    mixed: tuple[str, ...] = ()


NO_IMAGES = Images(0, 0)  # for a task that is built without its data


def settle(params: ExperimentConfig, mode: str, mistakes: Mistakes | None = None) -> Images:
    """Checks the config against the data and fills in what follows from it.

    Args:
      params: the experiment's config; classes and weights are filled in.
      mode: of `train.py`.
      mistakes: found earlier. They are raised together with those found here.

    Returns:
      The number of images in the data.

    Raises:
      UserError: all that does not fit.
    """
    mistakes = mistakes or Mistakes()
    task: StudentConfig = params.task
    configs = enabled(task)
    settings_check.check(params, mode, mistakes)
    manifests: dict[str, Manifests] = {}
    for key, data in sets(task, mode).items():
        with mistakes.collected():
            manifests[key] = _manifests(data, key)
    _settle_tasks(configs, manifests, mistakes)
    if not mistakes.problems and "train" in mode:
        _settle_training(params, configs, manifests["task.train_data"], mistakes)
    validation = manifests.get("task.validation_data", {})
    unmeasured = _unmeasured(configs, validation)
    if validation and task.patience and "train" in mode and len(unmeasured) == len(configs):
        mistakes.problems.append(f"task.patience needs a metric, but {_no_metrics(validation, unmeasured)}.")
    mistakes.raise_all()
    train = manifests.get("task.train_data", {})
    if validation and unmeasured:
        print(f"{_no_metrics(validation, unmeasured)}: no metrics for those.", flush=True)
    return Images(
        _images_per_epoch(task.train_data, train),
        _images(validation),
        tuple(name for name in configs if _is_mixed(name, train)),
    )


def sets(task: StudentConfig, mode: str) -> dict[str, input_lib.Data]:
    """Returns the data that a mode reads, by its key in the config."""
    both = {"train": ("task.train_data", task.train_data), "eval": ("task.validation_data", task.validation_data)}
    return dict(both[word] for word in both if word in mode)


def _images(manifests: Manifests) -> int:
    return sum(described.records for described in manifests.values())


def _images_per_epoch(data: input_lib.Data, manifests: Manifests) -> int:
    """Returns the number of images in an epoch of training, some of which may be there several times."""
    times = {os.path.dirname(path): count for path, count in input_lib.repeated(data).items()} if manifests else {}
    return sum(described.records * times[folder] for folder, described in manifests.items())


def _is_mixed(task: str, manifests: Manifests) -> bool:
    origins = [
        origin for described in manifests.values() for origin, count in described.origins.get(task, {}).items() if count
    ]
    return len({record.is_pseudo(origin) for origin in origins}) == 2


def _settle_tasks(configs: Configs, manifests: dict[str, Manifests], mistakes: Mistakes) -> None:
    for name, config in configs.items():
        spec = discover()[name]
        if spec.class_ids:
            _settle_classes(name, config, manifests, mistakes)
        mistakes.problems += spec.settle(config, configs)
        with mistakes.collected():  # a metric refuses a config that it cannot measure; better now than at the end
            spec.Metric(config)


def _settle_training(params: ExperimentConfig, configs: Configs, manifests: Manifests, mistakes: Mistakes) -> None:
    _check_labels(configs, manifests, mistakes)
    with mistakes.collected():
        _check_pseudo(configs, manifests, mistakes)
    with mistakes.collected():
        weigh(params)


def weigh(params: ExperimentConfig) -> None:
    """Fills in the weights of the losses, which may depend on the batch size."""
    rate = initial_learning_rate(params.trainer.optimizer_config)
    loss_weights.resolve(enabled(params.task), params.task.balance, params.task.train_data.global_batch_size, rate)


def adopt_classes(task: StudentConfig, trained: StudentConfig) -> None:
    """Copies the class names of a trained run: a validation set need not have labels for every head."""
    for name, config in enabled(task).items():
        config.classes = config.classes or getattr(trained.tasks, name).classes


def _manifests(data: input_lib.Data, key: str) -> Manifests:
    paths = input_lib.files(data.input_path, f"{key}.input_path")
    folders = sorted({os.path.dirname(path) for path in paths})
    manifests = {folder: manifest.read(folder) for folder in folders}
    shards = sum(len(described.shards) for described in manifests.values())
    if shards != len(paths):
        raise UserError(
            f"{key}.input_path matches {len(paths)} files, but the manifests list {shards}. Give complete record sets "
            "(DIR/*.tfrecord), and convert again if shards are missing."
        )
    return manifests


def _settle_classes(name: str, config: TaskConfig, manifests: dict[str, Manifests], mistakes: Mistakes) -> None:
    """Takes class names from the records. Refuses records with other classes than the config or other records."""
    configured = tuple(config.classes)
    places = [(key, folder, described) for key, folders in manifests.items() for folder, described in folders.items()]
    for key, folder, described in places:
        names = tuple(described.classes.get(name, ()))
        if names and config.classes and names != tuple(config.classes):
            unknown = _unknown_classes(name, configured, names, folder) if configured else ""
            mistakes.problems.append(
                unknown
                or f"{key}: {folder} has the {name} classes {_short(names)}, other records or the config have "
                f"{_short(config.classes)}. All must have the same classes in the same order."
            )
        else:
            config.classes = names or config.classes
    if not config.classes and places:
        mistakes.problems.append(
            f"the {name} classes are unknown: no record set names them. Give records with {name} labels, or set "
            f"task.tasks.{name}.classes=[...] or task.tasks.{name}.enabled=false"
        )


def _unknown_classes(task: str, configured: Sequence[str], names: Sequence[str], folder: str) -> str:
    """Returns a message about classes of the config that the records do not have; "" if they have all."""
    unknown = [name for name in configured if name not in names]
    hints = " ".join(f"{name!r} is not one of them.{nearest(name, names)}" for name in unknown[:UNKNOWN_SHOWN])
    return f"task.tasks.{task}.classes: the classes of {folder} are {_short(names)}. {hints}" if unknown else ""


def _short(names: Sequence[str]) -> str:
    return f"[{listed(names, CLASSES_SHOWN)}] ({len(names)})"


def _check_labels(configs: Configs, manifests: Manifests, mistakes: Mistakes) -> None:
    for name, config in configs.items():
        reason = discover()[name].cannot_learn(config, manifests)
        if reason:
            mistakes.problems.append(reason)
        labelled = sum(manifest.labelled_images(described, name) for described in manifests.values())
        if not labelled:
            without = f", or set task.tasks.{name}.enabled=false" if len(configs) > 1 else ""
            mistakes.problems.append(
                f"no image in {listed(manifests)} has {name} labels, so its head would learn nothing. Add records "
                f"that have them, or label these with a teacher (must label){without}."
            )


def _unmeasured(configs: Configs, manifests: Manifests) -> list[str]:
    """Returns the tasks that the validation data has no real labels for."""
    return [name for name in configs if not any(_real_images(described, name) for described in manifests.values())]


def _no_metrics(manifests: Manifests, unmeasured: Sequence[str]) -> str:
    return f"{listed(manifests)} has no real labels for {listed(unmeasured)}"


def _real_images(described: manifest.Manifest, task: str) -> int:
    origins = described.origins.get(task, {})
    return sum(count for origin, count in origins.items() if not record.is_pseudo(origin))


def _check_pseudo(configs: Configs, manifests: Manifests, mistakes: Mistakes) -> None:
    """Refuses pseudo labels that failed `must stats`; prints which ones have not been judged.

    Settings for a confidence that no label has are noted, too.
    """
    result = verdict.check(configs, manifests)
    mistakes.problems += result.problems
    compared = {name: config for name, config in configs.items() if discover()[name].summary.confidence}
    unused = [pixel_confidence.unused(name, config, manifests) for name, config in compared.items()]
    for note in (*result.notes, *filter(None, unused)):
        print(note, flush=True)


def initial_learning_rate(config: optimization.OptimizationConfig) -> float:
    """Returns the schedule's first value after warm-up, lr_s of the weight rule."""
    schedule = config.learning_rate.get()
    for field in ("initial_learning_rate", "learning_rate", "values"):
        value = getattr(schedule, field, None)
        if value is not None:
            return float(value[0] if isinstance(value, list | tuple) else value)
    return 0.0


def settle_devices(runtime: RuntimeConfig) -> None:
    """Fills in the number of GPUs.

    Raises:
      UserError: there are fewer GPUs than the config names, or more than it would use.
    """
    visible = 0 if runtime.distribution_strategy == "tpu" else devices.tensorflow_gpus()
    runtime.num_gpus, note = devices.choose(runtime.distribution_strategy, runtime.num_gpus, visible)
    if note:
        print(note, flush=True)


def evaluated_step(model_dir: str, validation: input_lib.Data | None = None) -> int:
    """Returns the step of a run's last evaluation; -1 if there is none, or if it was not on this validation set."""
    evaluation = evaluator.last(model_dir)
    if evaluation is None or (validation is not None and evaluation.get("set") != evaluator.set_of(validation)):
        return -1
    return evaluation["step"]
