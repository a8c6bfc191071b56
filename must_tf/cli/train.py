"""The driver: `train.py --experiment=must_student --mode=train_and_eval --model_dir=DIR`, over Model Garden's own."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

import orbit.controller
import tensorflow as tf
import tf_keras
from absl import logging
from official.common import distribute_utils
from official.core import train_lib, train_utils
from official.modeling import performance

from must_tf import experiment_config
from must_tf.cli import dry_run
from must_tf.common import deterministic_sums, files, run_files, startup_times
from must_tf.common.errors import Mistakes, UserError, exit_on_user_error
from must_tf.data import input as input_lib
from must_tf.model.student import enabled
from must_tf.runs import best, checkpoints, init_weights, restore
from must_tf.runs import directory as run_directory
from must_tf.tasks import discover
from must_tf.training import damaged_record, non_finite_step, preflight
from must_tf.training.task import NOT_FINITE, StudentTask
from must_tf.training.trainer import Log, Trainer

MODES = ("train", "eval", "train_and_eval")


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
    parser.add_argument("--dry_run", action="store_true", help="build all, print the plan, draw a batch, and stop")
    parser.add_argument("--extend", action="store_true", help="train a run on to a larger trainer.train_steps")
    parser.add_argument("--overwrite", action="store_true", help="delete the run in --model_dir and start anew")
    parser.add_argument("--tpu", default="", help="name or address of a TPU")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs an experiment. Raises UserError for what the user can mend, before any work."""
    startup_times.begin()
    flags = parse(sys.argv[1:] if arguments is None else arguments)
    deterministic_sums.in_order()
    params, mistakes = experiment_config.read(flags.experiment, flags.config_file, flags.params_override)
    images, keep_best = _settled(params, flags, mistakes), flags.mode == "train_and_eval"
    prefix = "" if flags.overwrite else checkpoints.newest(flags.model_dir)
    done = checkpoints.step_of(prefix)
    _admit(params, flags, done)
    if flags.dry_run:
        _dry_run(params, flags, images, prefix)
        return
    if "train" in flags.mode and done >= params.trainer.train_steps:
        _finished(params, flags, done)
        if flags.mode == "train" or preflight.evaluated_step(flags.model_dir, params.task.validation_data) == done:
            return
        flags.mode = "eval"  # it was stopped between its last step and the end of its evaluation
    startup_times.ended("checks")
    runner = _started(params, flags, images, prefix)
    startup_times.ended("building")
    _run(runner, params, flags.mode, keep_best)


def _finished(params: Any, flags: argparse.Namespace, done: int) -> None:
    """Says that there is nothing to train, and keeps the best where an interruption came before that."""
    print(
        f"{flags.model_dir} is finished: {done} of {params.trainer.train_steps} steps. Nothing to train; "
        "a larger trainer.train_steps with --extend trains on."
    )
    if flags.mode == "train_and_eval":
        best.update(flags.model_dir, params.task)


def _started(
    params: Any, flags: argparse.Namespace, images: preflight.Images, prefix: str
) -> train_lib.OrbitExperimentRunner:
    """Everything built, and only then the folder made this run's: what cannot start leaves and deletes nothing."""
    with checkpoints.hidden(flags.model_dir) if flags.overwrite else contextlib.nullcontext():
        checkpoints.make_newest(flags.model_dir, prefix)
        runner = _runner(params, flags, images, prefix)
    if "train" in flags.mode and runner.strategy.extended.should_checkpoint:  # of several workers one writes
        if flags.overwrite:
            run_directory.delete(flags.model_dir)
        run_directory.write(flags.model_dir, params)
    return runner


def _settled(params: Any, flags: argparse.Namespace, mistakes: Mistakes) -> preflight.Images:
    """The config checked against flags, devices and data; everything that is wrong is raised at once."""
    training = "train" in flags.mode
    with mistakes.noted():
        _check_flags(flags)
    if training and flags.experiment.startswith("must_transfer") and not params.task.init_checkpoint:
        mistakes.found.append("a transfer needs task.init_checkpoint: the run directory of a student or teacher.")
    if training and params.task.init_checkpoint and (flags.overwrite or not checkpoints.listed(flags.model_dir)):
        with mistakes.noted():
            init_weights.check(params.task.init_checkpoint, params.task.init_modules)
    with mistakes.noted():
        if not training:
            preflight.adopt_classes(params.task, restore.read_config(flags.model_dir))
    with mistakes.noted():
        preflight.settle_devices(params.runtime)
    return preflight.settle(params, flags.mode, mistakes)


def _check_flags(flags: argparse.Namespace) -> None:
    given = [name for name in ("extend", "overwrite", "dry_run") if getattr(flags, name)]
    if given and "train" not in flags.mode:
        raise UserError(f"--{given[0]} is for training; leave it out, or give --mode=train or train_and_eval.")
    if flags.extend and flags.overwrite:
        raise UserError("--extend trains the old run on, --overwrite deletes it; give one of them.")


def _admit(params: Any, flags: argparse.Namespace, done: int) -> None:
    """Whether this config may use this folder."""
    if "train" not in flags.mode:
        if not done:
            raise UserError(f"--model_dir={flags.model_dir} has no checkpoint to evaluate.")
        run_directory.check_evaluation(flags.model_dir, params)
    elif flags.overwrite:
        run_directory.check_overwrite(flags.model_dir)
    elif said := run_directory.admit(flags.model_dir, params, flags.extend):
        print(said, flush=True)


def _dry_run(params: Any, flags: argparse.Namespace, images: preflight.Images, prefix: str) -> None:
    """Builds everything in a folder of its own, and tells and draws what a run would do."""
    with tempfile.TemporaryDirectory() as elsewhere:
        if prefix:  # which is then restored as the run would
            path = os.path.abspath(prefix) if "://" not in prefix else prefix
            state = f'model_checkpoint_path: "{path}"\nall_model_checkpoint_paths: "{path}"\n'
            files.write_whole(f"{elsewhere}/{run_files.CHECKPOINT}", state.encode())
        runner = _runner(params, argparse.Namespace(**vars(flags) | {"model_dir": elsewhere}), images, prefix)
        dry_run.show_all(runner, params, flags, images)


def _run(runner: train_lib.OrbitExperimentRunner, params: Any, mode: str, keep_best: bool) -> None:
    if keep_best:
        best.follow(runner, params.task)
    try:
        runner.run()
    except damaged_record.UNREADABLE as error:
        if NOT_FINITE in str(error):
            if not runner.strategy.extended.should_checkpoint:
                raise UserError(f"{NOT_FINITE}; the first worker says more.") from error
            raise UserError(non_finite_step.explain(runner.trainer, runner.model_dir)) from error
        configs = enabled(params.task)
        sets = {"train": params.task.train_data, "eval": params.task.validation_data}
        paths = [path for word, data in sets.items() if word in mode for path in input_lib.files(data.input_path, word)]
        found = damaged_record.find(paths, discover(), configs)
        if found:
            raise UserError(found) from error
        raise


def _runner(
    params: Any, flags: argparse.Namespace, images: preflight.Images, prefix: str
) -> train_lib.OrbitExperimentRunner:
    """Everything built, and the weights that it starts from loaded: of the checkpoint `prefix`, if there is one."""
    try:
        runner = _build(params, flags, images, checkpoints.step_of(prefix))
    except (
        LookupError,
        *init_weights.UNFIT,
    ) as error:  # a setting that Model Garden refuses, or a checkpoint of others
        logging.debug("refused", exc_info=True)
        raise UserError(
            f"the run cannot be built as configured: {init_weights.reason(error)}. Mend it in --config_file or "
            f"--params_override, or give another --model_dir if {flags.model_dir} holds a checkpoint of other settings."
        ) from error
    if prefix and not runner.strategy.extended.should_checkpoint:
        _join(runner, prefix, checkpoints.step_of(prefix))
    if prefix:
        print(restore.match(runner.trainer.model, prefix, "this configuration"), flush=True)
        if "train" in flags.mode:
            print(f"going on from step {checkpoints.step_of(prefix)} of {params.trainer.train_steps}", flush=True)
    return runner


def _join(runner: train_lib.OrbitExperimentRunner, checkpoint: str, done: int) -> None:
    """Brings a worker that writes no checkpoints to where the one that does goes on.

    Model Garden lets it look for checkpoints in a new folder of its own: it would start from scratch, and save at other
    steps than the others, which waits for them for ever because saving reads variables across the workers.
    """
    runner.trainer.checkpoint.restore(checkpoint).expect_partial()
    runner.checkpoint_manager._last_checkpoint_step = done


def _strategy(params: Any, tpu: str) -> tf.distribute.Strategy:
    return distribute_utils.get_distribution_strategy(
        distribution_strategy=params.runtime.distribution_strategy,
        all_reduce_alg=params.runtime.all_reduce_alg,
        num_gpus=params.runtime.num_gpus,
        tpu_address=tpu or params.runtime.tpu,
    )


def _build(
    params: Any, flags: argparse.Namespace, images: preflight.Images, done: int
) -> train_lib.OrbitExperimentRunner:
    params.validate()
    params.lock()
    if params.runtime.mixed_precision_dtype:
        performance.set_mixed_precision_policy(params.runtime.mixed_precision_dtype)
    strategy = _strategy(params, flags.tpu)
    # Also of Python and NumPy: Keras draws initial weights by the former.
    tf_keras.utils.set_random_seed(params.task.train_data.seed)
    training, batch_size = "train" in flags.mode, params.task.train_data.global_batch_size
    with strategy.scope():
        task = StudentTask(params.task, logging_dir=flags.model_dir, images=images, done=done)
        trainer = train_utils.create_trainer(params, task, training, "eval" in flags.mode, trainer_cls=Trainer)
    # Orbit prints every loop's figures over several lines; they are in TensorBoard, and ours is one line.
    orbit.controller._log = logging.debug
    directory = flags.model_dir if strategy.extended.should_checkpoint else ""  # of several workers one writes
    return train_lib.OrbitExperimentRunner(
        distribution_strategy=strategy,
        task=task,
        mode=flags.mode,
        params=params,
        model_dir=flags.model_dir,
        train_actions=[Log(directory, params.trainer.train_steps, done, batch_size)] if training else [],
        trainer=trainer,
    )


def cli() -> None:
    """The command `must-train`."""
    sys.exit(exit_on_user_error(main))


if __name__ == "__main__":
    cli()
