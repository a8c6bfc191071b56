"""`--dry_run`: what a run would do, in words, and its first batch as a picture. Nothing is trained."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf
from official.modeling import optimization

from must_tf.cli.flags import TrainFlags
from must_tf.common import run_files
from must_tf.data import input as input_lib
from must_tf.data import manifest
from must_tf.evaluation import batch_picture
from must_tf.model.student import enabled
from must_tf.pseudo_gate import verdict
from must_tf.runs import checkpoint_match
from must_tf.runs import directory as run_directory
from must_tf.shared import picture_grid
from must_tf.tasks import discover
from must_tf.training import memory_estimate, preflight
from must_tf.training.task import StudentTask

DRAWN = 6  # images of the batch


def show_all(runner: Any, params: Any, flags: TrainFlags, images: preflight.Images) -> None:
    """Prints the plan; draws the first batch to <model_dir>/dry_run.png and writes nothing else.

    Args:
      runner: all built, in another folder.
      params: the settled config.
      flags: of train.py.
      images: in the sets.
    """
    for line in lines(runner, params, flags, images):
        print(line, flush=True)
    configs = enabled(params.task)
    task = runner.trainer.task
    first = next(iter(task.build_inputs(params.task.train_data)))
    path, count = os.path.join(flags.model_dir, run_files.DRY_RUN), min(DRAWN, params.task.train_data.global_batch_size)
    picture_grid.save_png(path, batch_picture.picture(first, configs, count))
    print(f"{count} images of the first batch, as trained on: {path}", flush=True)
    print("dry run: nothing was trained, and nothing else was written")


def lines(runner: Any, params: Any, flags: TrainFlags, images: preflight.Images) -> Iterator[str]:
    """The plan, line by line, each as soon as it is known."""
    done = int(runner.trainer.global_step.numpy())
    state = f"goes on at step {done}" if done else "starts anew, and deletes the old run" * flags.overwrite or "is new"
    yield f"plan of {flags.experiment}, --mode={flags.mode}: {flags.model_dir} {state}"
    for where, data in preflight.sets(params.task, flags.mode).items():
        yield from _data(where, data)
    yield from _tasks(params.task)
    yield from _modules(runner.trainer.model)
    yield from _steps(params, images)
    yield from _devices(runner.strategy)
    yield from _memory(runner, params)


def _data(where: str, data: input_lib.Data) -> Iterator[str]:
    yield f"{where}, batches of {data.global_batch_size}"
    paths = input_lib.files(data.input_path, where)
    for directory in sorted({os.path.dirname(path) for path in paths}):
        found = manifest.read(directory)
        labels = [f"{task} {_origins(origins)}" for task, origins in found.origins.items() if origins]
        yield f"  {directory}: {found.records} images; {'; '.join(labels) or 'no labels'}"
        if verdict.pseudo_tasks(found):
            yield f"    pseudo labels, by must-records stats: {verdict.verdict(directory, found).state}"


def _origins(origins: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {origin}" for origin, count in origins.items())


def _tasks(task: Any) -> Iterator[str]:
    yield f"tasks, balance={task.balance}"
    for name, config in enabled(task).items():
        learned = " (learned from there)" if task.balance == "learned" else ""
        classes = f", {len(config.classes)} classes" if discover()[name].class_ids else ""
        terms = " + ".join(discover()[name].terms(config))
        yield f"  {name:<16}weight {config.weight:.4g}{learned}{classes}; loss {terms}"


def _modules(model: Any) -> Iterator[str]:
    yield f"model, input {model.trunk.backbone.input_shape[1]} px"
    for path, module in checkpoint_match.modules(model).items():
        if path[0] != "log_variances":
            yield f"  {'/'.join(path):<24}{_millions(module.trainable_variables)} parameters"
    yield f"  {'in total':<24}{_millions(model.trainable_variables)} parameters"


def _millions(variables: Any) -> str:
    return f"{sum(v.shape.num_elements() for v in variables) / 1e6:9.3f} M"


def _steps(params: Any, images: preflight.Images) -> Iterator[str]:
    trainer, size = params.trainer, params.task.train_data.global_batch_size
    epoch = images.train / size
    yield (
        f"steps {trainer.train_steps}, {epoch:.4g} per epoch of {images.train} images: "
        f"{trainer.train_steps / epoch:.4g} epochs"
    )
    rate = run_directory.learning_rate(trainer.optimizer_config)
    steps = sorted({0, _warmup(trainer.optimizer_config), trainer.train_steps // 2, trainer.train_steps - 1})
    rates = ", ".join(f"{rate(step):.3g} at step {step}" for step in steps if step < trainer.train_steps)
    yield f"  {trainer.optimizer_config.optimizer.type}, learning rate {rates}"
    yield f"  saved every {trainer.checkpoint_interval} steps, evaluated every {trainer.validation_interval}"


def _warmup(settings: optimization.OptimizationConfig) -> int:
    warmup = settings.warmup.get()
    return getattr(warmup, "warmup_steps", None) or 0


def _devices(strategy: tf.distribute.Strategy) -> Iterator[str]:
    names = [name.rpartition("device:")[2] for name in strategy.extended.worker_devices]
    yield f"devices: {type(strategy).__name__}, {strategy.num_replicas_in_sync} at once: {', '.join(names)}"


def _memory(runner: Any, params: Any) -> Iterator[str]:
    task = StudentTask(params.task)
    data = params.task.train_data
    rows = math.ceil(data.global_batch_size / runner.strategy.num_replicas_in_sync)
    found = memory_estimate.estimate(task, _fresh_optimizer(params), task.build_inputs(data).element_spec, rows)
    yield f"memory on each device, {rows} images at once: {_size(found.total)} at least"
    yield (
        f"  parameters {_size(found.parameters)}, gradients {_size(found.gradients)}, optimizer {_size(found.slots)}, "
        f"batch {_size(found.batch)}, kept for the backward pass {_size(found.activations)}"
    )
    unknown = f", {found.unknown} tensors whose size only the device knows" if found.unknown else ""
    yield f"  counted from the step's graph; not in it: what operations need while they run, TensorFlow itself{unknown}"


def _fresh_optimizer(params: Any) -> Any:
    factory = optimization.OptimizerFactory(params.trainer.optimizer_config)
    return factory.build_optimizer(factory.build_learning_rate())


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
