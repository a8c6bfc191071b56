"""The driver: `train.py --experiment=must_student --mode=train_and_eval --model_dir=DIR`, over Model Garden's own."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

import orbit.controller
import tensorflow as tf
from absl import logging
from official.common import distribute_utils
from official.core import train_lib
from official.modeling import performance

from must_tf import best, config, restore, run, transfer
from must_tf.data import damage
from must_tf.data import input as input_lib
from must_tf.errors import UserError, exit_on_user_error
from must_tf.progress import Progress
from must_tf.student import StudentTask, enabled
from must_tf.tasks import discover

MODES = ("train", "eval", "train_and_eval")


class ShowProgress(orbit.Action):
    """One line: steps, rate, time left, loss. Stops a run whose loss is no number any more."""

    def __init__(self, total: int, start: int, batch_size: int):
        self._progress = Progress(total * batch_size, "train", done=start * batch_size)
        self._batch_size, self._last = batch_size, start

    def __call__(self, output: dict[str, Any]) -> None:
        step = int(tf.summary.experimental.get_step().numpy())
        losses = {name: float(value) for name, value in output.items()}
        bad = [name for name, value in losses.items() if value != value or abs(value) == float("inf")]
        if bad:
            raise UserError(
                f"at step {step} {', '.join(bad)} is no finite number. The last checkpoint is kept. Lower the learning "
                "rate (trainer.optimizer_config.learning_rate) or the weight of that task (task.tasks.X.loss_weight)."
            )
        note = f"step {step} · loss {losses['training_loss']:.3f}"
        self._progress.advance((step - self._last) * self._batch_size, note)
        self._last = step


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The flags, as Model Garden names them."""
    parser = argparse.ArgumentParser(
        prog="train.py",
        description="Trains and evaluates a teacher, a student or a transfer.",
        epilog="example: train.py --experiment=must_teacher_depth --mode=train_and_eval --model_dir=runs/depth "
        "--params_override=task.train_data.input_path=records/train/*.tfrecord",
        allow_abbrev=False,
    )
    parser.add_argument("--experiment", required=True, help="must_student, must_teacher_<task> or must_transfer_<task>")
    parser.add_argument("--mode", default="train_and_eval", choices=MODES)
    parser.add_argument("--model_dir", required=True, help="checkpoints, params.yaml, logs and pictures go here")
    parser.add_argument("--config_file", action="append", default=[], help="YAML; several are applied in order")
    parser.add_argument("--params_override", default="", help="a.b=1,a.c=2 or YAML; applied last")
    parser.add_argument("--tpu", default="", help="name or address of a TPU")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs an experiment. Raises UserError for what the user can mend, before any work."""
    flags = parse(sys.argv[1:] if arguments is None else arguments)
    params = config.load(flags.experiment, flags.config_file, flags.params_override)
    if flags.experiment.startswith("must_transfer") and "train" in flags.mode and not params.task.init_checkpoint:
        raise UserError("a transfer needs task.init_checkpoint: the run directory of a student or teacher.")
    if "train" not in flags.mode:
        run.adopt_classes(params.task, restore.read_config(flags.model_dir))
    images, keep_best = run.settle(params, flags.mode), flags.mode == "train_and_eval"
    run.settle_devices(params.runtime)
    done = run.trained_steps(flags.model_dir)
    if "train" not in flags.mode and not done:
        raise UserError(f"--model_dir={flags.model_dir} has no checkpoint to evaluate.")
    if "train" in flags.mode and done >= params.trainer.train_steps:
        print(f"{flags.model_dir} is finished: {done} of {params.trainer.train_steps} steps. Nothing to train.")
        if keep_best:
            best.update(flags.model_dir, params.task)
        if flags.mode == "train" or run.evaluated_step(flags.model_dir) == done:
            return
        flags.mode = "eval"  # it was stopped between its last step and the end of its evaluation
    if "train" in flags.mode and not done and params.task.init_checkpoint:
        transfer.check(params.task.init_checkpoint, params.task.init_modules)
    runner = _runner(params, flags, images, done)
    if "train" in flags.mode:  # only now: a run that cannot start leaves nothing behind
        tf.io.gfile.makedirs(flags.model_dir)
        config.write_params(params, os.path.join(flags.model_dir, "params.yaml"))
    _run(runner, params, flags.mode, keep_best)


def _run(runner: train_lib.OrbitExperimentRunner, params: Any, mode: str, keep_best: bool) -> None:
    if keep_best:
        best.follow(runner, params.task)
    try:
        runner.run()
    except damage.UNREADABLE as error:
        configs = enabled(params.task)
        sets = {"train": params.task.train_data, "eval": params.task.validation_data}
        paths = [path for word, data in sets.items() if word in mode for path in input_lib.files(data.input_path, word)]
        found = damage.find(paths, discover(), configs)
        if found:
            raise UserError(found) from error
        raise


def _runner(params: Any, flags: argparse.Namespace, images: run.Images, done: int) -> train_lib.OrbitExperimentRunner:
    """Everything built, and the weights that it starts from loaded."""
    try:
        runner = _build(params, flags, images, done)
    except (LookupError, *transfer.UNFIT) as error:  # a setting that Model Garden refuses, or a checkpoint of others
        logging.debug("refused", exc_info=True)
        raise UserError(
            f"the run cannot be built as configured: {transfer.reason(error)}. Mend it in --config_file or "
            f"--params_override, or give another --model_dir if {flags.model_dir} holds a checkpoint of other settings."
        ) from error
    if done:
        restore.match(runner.trainer.model, transfer.checkpoint_path(flags.model_dir), "this configuration")
    return runner


def _build(params: Any, flags: argparse.Namespace, images: run.Images, done: int) -> train_lib.OrbitExperimentRunner:
    params.validate()
    params.lock()
    if params.runtime.mixed_precision_dtype:
        performance.set_mixed_precision_policy(params.runtime.mixed_precision_dtype)
    strategy = distribute_utils.get_distribution_strategy(
        distribution_strategy=params.runtime.distribution_strategy,
        all_reduce_alg=params.runtime.all_reduce_alg,
        num_gpus=params.runtime.num_gpus,
        tpu_address=flags.tpu or params.runtime.tpu,
    )
    tf.random.set_seed(params.task.train_data.seed)
    batch_size = params.task.train_data.global_batch_size
    with strategy.scope():
        task = StudentTask(params.task, logging_dir=flags.model_dir)
    task.start = input_lib.Start(done * batch_size, images.train)
    task.evaluation_count = images.validation
    # Orbit prints every loop's figures over several lines; they are in TensorBoard, and ours is one line.
    orbit.controller._log = logging.debug
    actions = [ShowProgress(params.trainer.train_steps, done, batch_size)] if "train" in flags.mode else []
    return train_lib.OrbitExperimentRunner(
        distribution_strategy=strategy,
        task=task,
        mode=flags.mode,
        params=params,
        model_dir=flags.model_dir,
        train_actions=actions,
    )


def cli() -> None:
    """The command `must-train`."""
    sys.exit(exit_on_user_error(main))
