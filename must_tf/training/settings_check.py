"""Checks the settings of a run that do not depend on its data: each is valid by itself, but not beside another."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from official.core.config_definitions import ExperimentConfig, RuntimeConfig

from must_tf.common.errors import Mistakes
from must_tf.data import input as input_lib
from must_tf.model import freezing, trunk
from must_tf.model.student import StudentConfig, enabled
from must_tf.runs import init_weights
from must_tf.spec import TaskConfig
from must_tf.tasks import discover
from must_tf.training import accumulation, loss_scale, schedule

CLIPS = ("clipnorm", "clipvalue", "global_clipnorm")  # keys that Model Garden gives to everything like an optimizer

MOST_REPEATS = 1000  # of an image in an epoch

Configs = Mapping[str, TaskConfig]  # of the enabled tasks


def check(params: ExperimentConfig, mode: str, mistakes: Mistakes) -> None:
    """Collects the settings that do not fit each other.

    Args:
      params: the experiment's config.
      mode: of `train.py`.
      mistakes: found earlier, and those found here. Some rules are left out if an earlier one explains them.
    """
    task: StudentConfig = params.task
    configs = enabled(task)
    _check_model(task, configs, mistakes)
    _check_loop(params, mode, mistakes)
    _check_compiled(params.runtime, configs, mode, mistakes)
    with mistakes.collected():
        loss_scale.check(params.runtime)
    with mistakes.collected():
        schedule.check(params.trainer.optimizer_config)
    if "train" in mode:
        with mistakes.collected():
            accumulation.check(params)
        _check_fine_tuning(task, mistakes)
        mistakes.problems += _unfit_repeats(task)
        _check_strides(task, configs, mistakes)


def _unfit_repeats(task: StudentConfig) -> Iterator[str]:
    data = task.train_data
    entries = len(input_lib.patterns(data.input_path))
    if task.validation_data.repeats:
        yield "task.validation_data.repeats: every image is evaluated once. Leave it out."
    if data.repeats and len(data.repeats) != entries:
        yield (
            f"task.train_data.repeats has {len(data.repeats)} numbers for {entries} entries of input_path. Give one "
            "for each, or leave it out."
        )
    if wrong := [times for times in data.repeats if not 1 <= times <= MOST_REPEATS]:
        yield f"task.train_data.repeats must be whole numbers from 1 to {MOST_REPEATS:,}, not {wrong[0]}."


def _check_model(task: StudentConfig, configs: Configs, mistakes: Mistakes) -> None:
    """Checks the parts of the network. Beside other mistakes, what seems missing may only be misspelled."""
    before = " ".join(mistakes.problems)
    with mistakes.collected():
        init_weights.named(task.init_modules)
    mistakes.problems += freezing.problems(task.freeze, list(discover() if before else configs))
    if not ("task.model" in before or "task.input_size" in before):
        mistakes.problems += [*trunk.problems(task.model), *trunk.size_problems(task.model, task.input_size)]
    if before:
        return
    if not configs:
        mistakes.problems.append("no task is enabled. Enable one, for instance with task.tasks.depth.enabled=true")
    for name in configs:
        missing = [need for need in discover()[name].needs if need not in configs]
        if missing:
            mistakes.problems.append(f"{name} needs {missing[0]}. Set task.tasks.{missing[0]}.enabled=true")


def _check_fine_tuning(task: StudentConfig, mistakes: Mistakes) -> None:
    if not task.freeze_batch_norm:
        return
    reason = "" if task.init_checkpoint else "task.init_checkpoint is empty"
    with mistakes.collected():
        if not init_weights.trunk_parts(task.init_modules):
            reason = reason or "task.init_modules loads no part of the trunk"
    if reason:
        mistakes.problems.append(
            f"task.freeze_batch_norm keeps batch normalisation as it was loaded, but {reason}. Give trained weights "
            "(in a plan: start), or set task.freeze_batch_norm=false."
        )


def _check_strides(task: StudentConfig, configs: Configs, mistakes: Mistakes) -> None:
    """Refuses maps of targets whose cells would not fill the input: they would lie beside those of the output."""
    for name, config in configs.items():
        stride = getattr(config, "stride", 1)
        if task.input_size % stride:
            divisors = [number for number in range(1, stride) if task.input_size % number == 0]
            mistakes.problems.append(
                f"task.tasks.{name}.stride={stride} must divide task.input_size={task.input_size}, like {divisors[-1]}."
            )


def _check_loop(params: ExperimentConfig, mode: str, mistakes: Mistakes) -> None:
    """Refuses settings that Model Garden's loop accepts and that would give wrong results here."""
    trainer, zoom = params.trainer, params.task.train_data.augmentation
    if "train" in mode and zoom.scale_min > zoom.scale_max:
        mistakes.problems.append(
            f"task.train_data.augmentation.scale_min={zoom.scale_min} must not be above scale_max={zoom.scale_max}."
        )
    if "eval" in mode and trainer.validation_steps != -1:
        mistakes.problems.append(
            f"trainer.validation_steps={trainer.validation_steps} must be -1: an evaluation covers every image of the "
            "set once. For a shorter one, give a smaller set in task.validation_data.input_path."
        )
    if "eval" in mode and params.task.validation_data.global_batch_size == 0:
        mistakes.problems.append(
            "task.validation_data.global_batch_size=0 is out of range: must be at least 1. Only the batch size of "
            "training can be chosen automatically."
        )
    if params.task.patience and mode == "train":
        mistakes.problems.append(
            "task.patience counts evaluations, and --mode=train makes none. Use --mode=train_and_eval, or set "
            "task.patience=0."
        )
    optimizer = trainer.optimizer_config.optimizer
    adamw = optimizer.adamw
    if optimizer.type == "adamw" and 0.0 < adamw.gradient_clip_norm <= (adamw.global_clipnorm or 0.0):
        mistakes.problems.append(
            f"trainer.optimizer_config.optimizer.adamw.global_clipnorm={adamw.global_clipnorm} would clip nothing: "
            f"gradient_clip_norm={adamw.gradient_clip_norm} comes first. Set only that one."
        )
    ema = trainer.optimizer_config.ema
    clips = [name for name in CLIPS if ema and getattr(ema, name) is not None]
    if clips:
        mistakes.problems.append(
            f"trainer.optimizer_config.ema.{clips[0]} would clip nothing: gradients do not pass the averages. Set it "
            "at the optimizer."
        )


def _check_compiled(runtime: RuntimeConfig, configs: Configs, mode: str, mistakes: Mistakes) -> None:
    """Refuses settings that XLA cannot compile, if it will have to."""
    on_tpu = runtime.distribution_strategy == "tpu"
    if not on_tpu and not (runtime.enable_xla and runtime.num_gpus > 0 and "train" in mode):
        return
    for name, config in configs.items():
        for field in dataclasses.fields(config):
            refused = field.metadata.get("not_compiled", ())
            if getattr(config, field.name) in refused:
                others = [word for word in field.metadata["choices"] if word not in refused]
                mistakes.problems.append(
                    f"task.tasks.{name}.{field.name}={getattr(config, field.name)!r} does not run "
                    f"{'on a TPU' if on_tpu else 'under XLA (runtime.enable_xla)'}. Set it to {others[-1]!r}."
                )
