"""The command `must-train`: checks everything first, then trains and evaluates with Model Garden's runner."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence

import tensorflow as tf
import tf_keras
from absl import logging
from official.common import distribute_utils
from official.core import train_utils
from official.core.config_definitions import ExperimentConfig
from official.core.train_lib import OrbitExperimentRunner
from official.modeling import performance

from must_tf.cli import dry_run
from must_tf.cli.flags import TrainFlags, parse_train
from must_tf.common import (
    cluster,
    disk,
    folder_lock,
    held_folders,
    run_files,
    startup_times,
    tensorflow_log,
    upstream,
)
from must_tf.common.errors import Mistakes, Terminated, UserError, exit_on_user_error, nearest_path
from must_tf.data import input as input_lib
from must_tf.experiments import experiment_config
from must_tf.model.student import enabled
from must_tf.runs import best, checkpoint_match, checkpoints, init_weights, restore
from must_tf.runs import directory as run_directory
from must_tf.tasks import discover
from must_tf.training import (
    accumulation,
    batch_size,
    continuous_evaluation,
    damaged_record,
    early_stopping,
    non_finite_step,
    pauses,
    preflight,
)
from must_tf.training.task import NOT_FINITE, StudentTask
from must_tf.training.trainer import Trainer
from must_tf.training.training_log import TrainingLog

INSTEAD_OF_ZERO = 1_000_000_007  # any number that is not 0 after it was reduced


def main(arguments: Sequence[str]) -> None:
    """Parses the flags and runs the experiment."""
    run(parse_train(arguments))


def run(flags: TrainFlags) -> None:
    """Runs an experiment.

    Raises:
      UserError: something is wrong that the user can fix. Most of it is found before any work is done.
    """
    startup_times.begin()
    upstream.disable_memory_optimizer()
    upstream.close_iterators_at_once()
    params, mistakes = experiment_config.read(flags.experiment, flags.config_file, flags.params_override)
    images, keep_best = _settle(params, flags, mistakes), flags.mode == "train_and_eval"
    prefix = "" if flags.overwrite else checkpoints.newest(flags.model_dir)
    done = checkpoints.step_of(prefix)
    _check_directory(params, flags, done)
    if flags.dry_run:
        _dry_run(params, flags, images, prefix)
        return
    stopped = _stopped(params, flags, done)
    if stopped and not flags.extend:
        print(f"{flags.model_dir} is finished: {stopped}. Nothing to train. To train on, add --extend.")
        return
    if "train" in flags.mode and done >= params.trainer.train_steps:
        _report_finished(params, flags, done)
        if flags.mode == "train" or preflight.evaluated_step(flags.model_dir, params.task.validation_data) == done:
            return
        # The run was stopped between its last step and the end of its evaluation.
        flags = dataclasses.replace(flags, mode="eval")
    startup_times.ended("checks")
    with _own(flags, prefix), cluster.naming_lost():
        runner = _start(params, flags, images, prefix, extended=done if stopped else -1)
        startup_times.ended("building")
        _run(runner, params, flags.mode, keep_best)


@contextlib.contextmanager
def _own(flags: TrainFlags, prefix: str) -> Iterator[None]:
    """Locks the run directory, if this process is the one of a training that writes to it.

    Raises:
      UserError: another process trains in it, or has done so since the checks.
    """
    if "train" not in flags.mode or not cluster.is_first():
        yield
        return
    with folder_lock.held(flags.model_dir, option="--model_dir"):
        if not flags.overwrite and checkpoints.newest(flags.model_dir) != prefix:
            raise UserError(f"{flags.model_dir} was trained on by another process. Run the command again.")
        yield


def _stopped(params: ExperimentConfig, flags: TrainFlags, done: int) -> str:
    """Returns why the run ended early at its last checkpoint, or "" if it did not."""
    if flags.mode != "train_and_eval" or not params.task.patience or not 0 < done < params.trainer.train_steps:
        return ""
    if cluster.is_first():
        best.update(flags.model_dir, params.task)  # if an interruption prevented it
    return early_stopping.message(flags.model_dir, params.task, done)


def _report_finished(params: ExperimentConfig, flags: TrainFlags, done: int) -> None:
    """Prints that there is nothing to train, and keeps the best checkpoint if an interruption prevented that."""
    print(
        f"{flags.model_dir} is finished: {done} of {params.trainer.train_steps} steps. Nothing to train. "
        "To continue, give a larger trainer.train_steps and --extend."
    )
    if flags.mode == "train_and_eval" and cluster.is_first():
        best.update(flags.model_dir, params.task)


def _start(
    params: ExperimentConfig, flags: TrainFlags, images: preflight.Images, prefix: str, extended: int
) -> OrbitExperimentRunner:
    """Builds everything and only then takes over the run directory: a failed start writes and deletes nothing."""
    with checkpoints.hidden(flags.model_dir) if flags.overwrite else contextlib.nullcontext():
        checkpoints.make_newest(flags.model_dir, prefix)
        runner = _runner(params, flags, images, prefix)
    if "train" in flags.mode and runner.strategy.extended.should_checkpoint:  # only one worker writes
        if flags.overwrite:
            run_directory.delete(flags.model_dir)
        run_directory.write(flags.model_dir, params, extended)
        tensorflow_log.move(os.path.join(flags.model_dir, run_files.TENSORFLOW_LOG))
    return runner


def _settle(params: ExperimentConfig, flags: TrainFlags, mistakes: Mistakes) -> preflight.Images:
    """Completes the config and checks it against flags, devices and data. Raises all mistakes at once."""
    training = "train" in flags.mode
    with mistakes.collected():
        _check_flags(flags)
    if training and flags.experiment.startswith("must_transfer") and not params.task.init_checkpoint:
        mistakes.problems.append("a transfer needs task.init_checkpoint: the run directory of a student or teacher.")
    if training and params.task.init_checkpoint and (flags.overwrite or not checkpoints.listed(flags.model_dir)):
        with mistakes.collected():
            init_weights.check(params.task.init_checkpoint, params.task.init_modules, params.task.model)
    with mistakes.collected():
        if not training:
            preflight.adopt_classes(params.task, restore.read_config(flags.model_dir))
    with mistakes.collected():
        preflight.settle_devices(params.runtime)
    if training and batch_size.is_auto(params) and not flags.overwrite:
        batch_size.adopt(params, flags.model_dir)
    automatic = training and batch_size.is_auto(params)
    if automatic:
        with mistakes.collected():
            batch_size.check(params.runtime)
    images = preflight.settle(params, flags.mode, mistakes)
    if automatic:
        batch_size.choose(params, images)
        preflight.weigh(params)
    return images


def _check_flags(flags: TrainFlags) -> None:
    training_only = [name for name in ("extend", "overwrite", "dry_run") if getattr(flags, name)]
    if training_only and "train" not in flags.mode:
        raise UserError(f"--{training_only[0]} needs --mode=train or train_and_eval. Remove it or change --mode.")
    if flags.extend and flags.overwrite:
        raise UserError("--extend continues the old run and --overwrite deletes it. Give only one of them.")


def _check_directory(params: ExperimentConfig, flags: TrainFlags, done: int) -> None:
    """Raises UserError if this config must not use this run directory."""
    if "train" not in flags.mode:
        if not done:
            is_there = tf.io.gfile.exists(flags.model_dir)
            hint = "" if is_there else f" It does not exist.{nearest_path(flags.model_dir, only_folders=True)}"
            raise UserError(f"--model_dir={flags.model_dir} has no checkpoint to evaluate.{hint} Train first.")
        run_directory.check_evaluation(flags.model_dir, params)
    elif flags.overwrite:
        run_directory.check_overwrite(flags.model_dir)
    elif notice := run_directory.admit(flags.model_dir, params, flags.extend):
        print(notice, flush=True)


def _dry_run(params: ExperimentConfig, flags: TrainFlags, images: preflight.Images, prefix: str) -> None:
    """Builds everything in a temporary folder, prints what the run would do, and draws a batch."""
    with tempfile.TemporaryDirectory() as elsewhere:
        if prefix:  # restored as the run would restore it
            path = os.path.abspath(prefix) if "://" not in prefix else prefix
            upstream.write_checkpoint_state(elsewhere, [path])
        runner = _runner(params, dataclasses.replace(flags, model_dir=elsewhere), images, prefix)
        dry_run.show_all(runner, params, flags, images)


def _run(runner: OrbitExperimentRunner, params: ExperimentConfig, mode: str, keep_best: bool) -> None:
    if keep_best:
        best.follow(runner, params.task)
    try:
        with _watched(runner):
            if mode == "train_and_eval":
                pauses.train_and_evaluate(runner, params)
            elif mode == "train":
                pauses.train(runner, params)
            elif mode == "continuous_eval":
                continuous_evaluation.run(runner, params)
            else:
                runner.run()
    except Terminated:
        if "train" in mode:
            _save_last(runner)  # a machine that is taken away says so some seconds before
        raise
    except damaged_record.UNREADABLE as error:
        if NOT_FINITE in str(error):
            if not runner.strategy.extended.should_checkpoint:
                raise UserError(f"{NOT_FINITE}; the log of the first worker names the images.") from error
            raise UserError(non_finite_step.explain(runner.trainer, runner.model_dir)) from error
        configs = enabled(params.task)
        sets = {"train": params.task.train_data, "eval": params.task.validation_data}
        paths = [path for word, data in sets.items() if word in mode for path in input_lib.files(data.input_path, word)]
        damage = damaged_record.find(paths, discover(), configs)
        if damage:
            raise UserError(damage) from error
        raise


def _watched(runner: OrbitExperimentRunner) -> contextlib.AbstractContextManager[None]:
    """Shows the progress within a loop of steps. A TPU would answer only after the loop."""
    trainer = runner.trainer
    if trainer.log is None or isinstance(runner.strategy, tf.distribute.TPUStrategy):
        return contextlib.nullcontext()
    return trainer.log.watching(lambda: int(trainer.global_step.numpy()))


def _save_last(runner: OrbitExperimentRunner) -> None:
    """Saves the step that was reached. Of several processes none does: saving needs all of them at the same step."""
    step = int(runner.trainer.global_step.numpy())
    if not step or "TF_CONFIG" in os.environ:
        return
    try:
        held_folders.require()
        runner.controller.save_checkpoint()
    except Exception as error:  # of any kind: the process is about to end, and without a line this would look saved
        why = disk.refusal(error) or init_weights.reason(error)
        print(f"error: step {step} could not be saved: {why}", file=sys.stderr, flush=True)
        return
    print(f"saved step {step}", flush=True)


def _runner(
    params: ExperimentConfig, flags: TrainFlags, images: preflight.Images, prefix: str
) -> OrbitExperimentRunner:
    """Builds everything and loads the initial weights, from the checkpoint `prefix` if there is one."""
    try:
        with cluster.naming_lost():
            runner = _build(params, flags, images, checkpoints.step_of(prefix))
    except (LookupError, *init_weights.UNFIT) as error:  # Model Garden refuses a setting, or the checkpoint differs
        logging.debug("refused", exc_info=True)
        raise UserError(
            f"the run cannot be built as configured: {init_weights.reason(error)}. Fix --config_file or "
            f"--params_override, or use another --model_dir if {flags.model_dir} was made with other settings."
        ) from error
    if prefix and not runner.strategy.extended.should_checkpoint:
        _join(runner, prefix, checkpoints.step_of(prefix))
    if prefix:
        training = "train" in flags.mode
        weights = checkpoint_match.TRAINED if training else ""  # an evaluation is of the weights that the run means
        print(restore.match(runner.trainer.model, prefix, "this configuration", weights), flush=True)
        if training:
            print(f"continuing from step {checkpoints.step_of(prefix)} of {params.trainer.train_steps}", flush=True)
    return runner


def _join(runner: OrbitExperimentRunner, checkpoint: str, done: int) -> None:
    """Brings a worker that writes no checkpoints to the step from which the writing one continues.

    Model Garden lets such a worker look for checkpoints in a new folder of its own. It would start from scratch and
    save at other steps than the others: a deadlock, because saving reads variables across the workers.
    """
    runner.trainer.checkpoint.restore(checkpoint).expect_partial()
    upstream.set_last_saved_step(runner.checkpoint_manager, done)


def _strategy(params: ExperimentConfig, tpu: str) -> tf.distribute.Strategy:
    if params.runtime.distribution_strategy == "multi_worker_mirrored":
        cluster.assemble()
    return distribute_utils.get_distribution_strategy(
        distribution_strategy=params.runtime.distribution_strategy,
        all_reduce_alg=params.runtime.all_reduce_alg,
        num_gpus=params.runtime.num_gpus,
        tpu_address=tpu or params.runtime.tpu,
    )


def _build(params: ExperimentConfig, flags: TrainFlags, images: preflight.Images, done: int) -> OrbitExperimentRunner:
    params.validate()
    params.lock()
    if params.runtime.mixed_precision_dtype:
        performance.set_mixed_precision_policy(params.runtime.mixed_precision_dtype)
    strategy = _strategy(params, flags.tpu)
    directory = flags.model_dir if strategy.extended.should_checkpoint else ""  # only one worker writes
    # Seeds Python and NumPy as well: Keras draws initial weights with Python's generator. While its own seed is 0, also
    # after it was reduced, TensorFlow refuses seeds that are tensors, such as that of an epoch's order.
    seed = params.task.train_data.seed
    tf_keras.utils.set_random_seed(seed if seed % tf.int32.max else INSTEAD_OF_ZERO)
    training = "train" in flags.mode
    if training:
        accumulation.check_size(params, strategy.num_replicas_in_sync)
    with strategy.scope():
        task = StudentTask(params.task, logging_dir=directory, images=images, done=done)
        trainer = train_utils.create_trainer(params, task, training, "eval" in flags.mode, trainer_cls=Trainer)
        if training:
            trainer.log = _log(params, directory, done)
    upstream.quiet_controller()
    return OrbitExperimentRunner(
        distribution_strategy=strategy,
        task=task,
        mode=flags.mode,
        params=params,
        model_dir=flags.model_dir,
        train_actions=[trainer.log] if training else [],
        trainer=trainer,
        save_summary=bool(directory),
    )


def _log(params: ExperimentConfig, directory: str, done: int) -> TrainingLog:
    return TrainingLog(directory, params.trainer.train_steps, done, params.task.train_data.global_batch_size)


def cli(flags: TrainFlags) -> None:
    """Runs the experiment and ends the process with an exit code."""
    sys.exit(exit_on_user_error(lambda: run(flags)))
