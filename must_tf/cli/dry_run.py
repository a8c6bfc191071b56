"""`--dry_run`: prints what a run would do and draws its first batch. Nothing is trained."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf
from official.core.config_definitions import ExperimentConfig
from official.core.train_lib import OrbitExperimentRunner
from official.modeling import optimization

from must_tf.cli.flags import TrainFlags
from must_tf.common import run_files, tables
from must_tf.data import contents, manifest
from must_tf.data import input as input_lib
from must_tf.evaluation import batch_picture
from must_tf.model.student import Student, StudentConfig, enabled
from must_tf.pseudo_gate import verdict
from must_tf.runs import checkpoint_match
from must_tf.runs import directory as run_directory
from must_tf.shared import picture_grid
from must_tf.tasks import discover
from must_tf.training import memory_estimate, preflight
from must_tf.training.preflight import Images
from must_tf.training.task import StudentTask

DRAWN = 6  # images of the batch in the picture


def show_all(runner: OrbitExperimentRunner, params: ExperimentConfig, flags: TrainFlags, images: Images) -> None:
    """Prints the plan and draws the first batch to <model_dir>/dry_run.png. Writes nothing else.

    Args:
      runner: built as for the run, but in another folder.
      params: the completed config.
      flags: the flags of train.py.
      images: number of images in the datasets.
    """
    for line in lines(runner, params, flags, images):
        print(line, flush=True)
    configs = enabled(params.task)
    task = runner.trainer.task
    first = next(iter(task.build_inputs(params.task.train_data)))
    path, count = os.path.join(flags.model_dir, run_files.DRY_RUN), min(DRAWN, params.task.train_data.global_batch_size)
    picture_grid.save_png(path, batch_picture.picture(first, configs, count))
    print(f"{count} images of the first batch, as the model sees them: {path}", flush=True)
    print("dry run: nothing was trained and nothing else was written")


def lines(runner: OrbitExperimentRunner, params: ExperimentConfig, flags: TrainFlags, images: Images) -> Iterator[str]:
    """Yields the lines of the plan, each as soon as it is known."""
    done = int(runner.trainer.global_step.numpy())
    yield f"plan of {flags.experiment}, --mode={flags.mode}: {flags.model_dir} {_start_of(done, flags)}"
    for where, data in preflight.sets(params.task, flags.mode).items():
        yield from _data(where, data)
    yield from shared_photos(params.task, flags.mode)
    yield from _tasks(params.task)
    yield from _modules(runner.trainer.model)
    yield from _steps(params, images)
    yield from _devices(runner.strategy)
    yield from _memory(runner, params)


def _start_of(done: int, flags: TrainFlags) -> str:
    if done:
        return f"continues from step {done}"
    return "starts again and deletes the old run" if flags.overwrite else "is new"


def _data(where: str, data: input_lib.Data) -> Iterator[str]:
    yield f"{where}, batches of {data.global_batch_size}"
    paths = input_lib.files(data.input_path, where)
    for directory in sorted({os.path.dirname(path) for path in paths}):
        content = manifest.read(directory)
        labels = [f"{task} {_origins(origins)}" for task, origins in content.origins.items() if origins]
        yield f"  {directory}: {content.records} images; {'; '.join(labels) or 'no labels'}"
        if verdict.pseudo_tasks(content):
            yield f"    pseudo labels, judged by must stats: {verdict.of_folder(directory, content).words}"


def shared_photos(task: StudentConfig, mode: str) -> Iterator[str]:
    """Yields a warning if validation photos are trained on, as far as the shards' sidecars tell."""
    numbers = []
    for where, data in preflight.sets(task, mode).items():
        found = [contents.of_shard(path) for path in input_lib.files(data.input_path, where)]
        numbers.append(np.concatenate([np.zeros([0], np.uint64), *(one for one in found if one is not None)]))
    if len(numbers) == 2 and (count := contents.shared(numbers[1], numbers[0]).sum()):
        yield (
            f"WARNING: {count} of the validation images are also in the training data, so metrics will be too good. "
            "`must check --against` lists them. Convert the training data again with --exclude."
        )


def _origins(origins: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {origin}" for origin, count in origins.items())


def _tasks(task: StudentConfig) -> Iterator[str]:
    rows = []
    for name, config in enabled(task).items():
        classes = len(config.classes) if discover()[name].class_ids else None
        rows.append((name, f"{config.weight:.4g}", classes, " + ".join(discover()[name].terms(config))))
    weight = "initial weight" if task.balance == "learned" else "weight"
    yield tables.table(("task", weight, "classes", "loss"), rows, title=f"tasks, balance={task.balance}")


def _modules(model: Student) -> Iterator[str]:
    modules = {"/".join(path): module for path, module in checkpoint_match.modules(model).items()}
    rows = [
        (path, _millions(module.trainable_variables))
        for path, module in modules.items()
        if not path.startswith("log_variances/")
    ]
    rows.append(("total", _millions(model.trainable_variables)))
    title = f"model, input {model.trunk.backbone.input_shape[1]} px"
    yield tables.table(("module", "parameters"), rows, title=title)


def _millions(variables: Sequence[tf.Variable]) -> str:
    return f"{sum(variable.shape.num_elements() for variable in variables) / 1e6:.3f} M"


def _steps(params: ExperimentConfig, images: Images) -> Iterator[str]:
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
    replicas = strategy.num_replicas_in_sync
    yield f"devices: {type(strategy).__name__}, {replicas} replica{'' if replicas == 1 else 's'}: {', '.join(names)}"


def _memory(runner: OrbitExperimentRunner, params: ExperimentConfig) -> Iterator[str]:
    task = StudentTask(params.task)
    data = params.task.train_data
    parts = params.task.accumulate_steps
    rows = math.ceil(data.global_batch_size / runner.strategy.num_replicas_in_sync / parts)
    optimizer = task.create_optimizer(params.trainer.optimizer_config)
    (memory,) = memory_estimate.estimates(task, optimizer, task.build_inputs(data).element_spec, [rows])
    averages = memory.parameters if params.trainer.optimizer_config.ema else 0
    # The whole batch is there, and the sums of the gradients beside those of one part.
    waiting, sums = (parts - 1) * memory.batch, memory.gradients if parts > 1 else 0
    memory = memory._replace(batch=memory.batch + waiting, gradients=memory.gradients + sums)
    yield f"memory on each device, {rows} images at once: at least {_size(memory.total + averages)}"
    averaged = f", averages {_size(averages)}" if averages else ""
    model = f"parameters {_size(memory.parameters)}{averaged}, gradients {_size(memory.gradients)}"
    step = f"batch {_size(memory.batch)}, kept for the backward pass {_size(memory.activations)}"
    yield f"  {model}, optimizer {_size(memory.slots)}, {step}"
    unknown = f", {memory.unknown} tensors of unknown size" if memory.unknown else ""
    yield f"  counted from the graph of a step, without temporary buffers and TensorFlow itself{unknown}"


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
