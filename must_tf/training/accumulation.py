"""Gradient accumulation: one optimizer step from N micro-batches, each of which fits into the memory of a device.

    g = sum_n sum_t w_t / C_t dL_tn

L_tn is the sum of loss term t over micro-batch n, w_t its weight, and C_t its count over the whole global batch. The
mean of the micro-batches' own means would be another gradient, because labels are spread unevenly. C_t is known only
after a forward pass: of masks, it is the number of sampled proposals that show an object. So each step first runs all
micro-batches forward to count, which is a third more work, and then forward and backward.

The result is that of one batch, up to rounding, except for batch normalisation: each micro-batch is normalised by its
own statistics, and the moving statistics move N times in a step. The first pass leaves them as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import tensorflow as tf
import tf_keras
from official.core.config_definitions import ExperimentConfig

from must_tf.common.errors import UserError

if TYPE_CHECKING:
    from must_tf.training.task import StudentTask

KEY = "task.accumulate_steps"

ReplicaStep = Callable[[Any, tf.Tensor], None]  # (the replica's whole batch, number of the micro-batch)


def check(params: ExperimentConfig) -> None:
    """Raises UserError if steps cannot be accumulated with these settings."""
    steps, runtime = params.task.accumulate_steps, params.runtime
    if steps == 1:
        return
    if params.task.train_data.global_batch_size == 0:
        raise UserError(f"{KEY}={steps} needs a number for task.train_data.global_batch_size, not 0 (automatic).")
    if runtime.distribution_strategy == "tpu" or (runtime.enable_xla and runtime.num_gpus > 0):
        where = "on a TPU" if runtime.distribution_strategy == "tpu" else "under XLA (runtime.enable_xla)"
        raise UserError(
            f"{KEY}={steps} does not run {where}. Set it to 1, and task.train_data.global_batch_size lower."
        )


def check_size(params: ExperimentConfig, replicas: int) -> None:
    """Raises UserError if a batch cannot be divided evenly."""
    steps, size = params.task.accumulate_steps, params.task.train_data.global_batch_size
    if steps > 1 and size % (steps * replicas):
        on = f" times {replicas} devices" if replicas > 1 else ""
        raise UserError(
            f"task.train_data.global_batch_size={size} must be a multiple of {KEY}={steps}{on}: the batch is trained "
            "in equal parts."
        )


class Accumulation:
    """Sums of one step. Made in the scope of the distribution strategy."""

    def __init__(self, task: StudentTask, model: tf_keras.Model, optimizer: tf_keras.optimizers.Optimizer):
        """The optimizer and the model are those of the training."""
        self._task, self._model, self._optimizer = task, model, optimizer
        self._parts = task.task_config.accumulate_steps
        self._slopes = [_local(variable.shape, variable.dtype) for variable in model.trainable_variables]
        self._loss = _local([], tf.float32)
        self._counts = {key: _local([], tf.float32) for key in task.counted_names()}
        self._values = {key: _local([], tf.float32) for key in task.term_names()}
        self._unconnected: set[int] = set()  # places of variables that the loss does not depend on

    def accumulate(self, inputs: Any) -> None:
        """Fills the sums from a distributed batch. Every replica has sums of its own."""
        strategy = tf.distribute.get_strategy()
        strategy.run(self._reset)
        self._repeat(self._count, inputs)
        strategy.run(self._share_counts)
        self._repeat(self._differentiate, inputs)

    def apply(self, metrics: list[Any]) -> dict[str, tf.Tensor]:
        """Takes the optimizer's step on one replica. Returns the loss as `StudentTask.train_step` does."""
        slopes = [None if place in self._unconnected else v.read_value() for place, v in enumerate(self._slopes)]
        logged = {key: (value.read_value(), self._counts[key].read_value()) for key, value in self._values.items()}
        logged |= self._task.logged_weights()
        return self._task.apply(self._loss.read_value(), slopes, logged, self._model, self._optimizer, metrics)

    def _repeat(self, step: ReplicaStep, inputs: Any) -> None:
        """Runs a step for each micro-batch, one after the other, so that one at a time needs memory."""
        strategy = tf.distribute.get_strategy()

        def body(number: tf.Tensor) -> tuple[tf.Tensor]:
            strategy.run(step, args=(inputs, number))
            return (number + 1,)

        tf.while_loop(lambda number: number < self._parts, body, [tf.constant(0)], parallel_iterations=1)

    def _reset(self) -> None:
        for variable in (*self._slopes, self._loss, *self._counts.values(), *self._values.values()):
            variable.assign(tf.zeros_like(variable))

    def _count(self, inputs: Any, number: tf.Tensor) -> None:
        part = self._part(inputs, number)
        statistics = [variable for variable in self._model.non_trainable_variables if variable.dtype.is_floating]
        before = [tf.identity(variable) for variable in statistics]
        outputs = self._model(part, training=True)
        for key, count in self._task.counts(part, outputs).items():
            self._counts[key].assign_add(count)
        for variable, value in zip(statistics, before, strict=True):
            variable.assign(value)

    def _share_counts(self) -> None:
        """Sums the counts over the replicas."""
        context = tf.distribute.get_replica_context()
        local = {key: count.read_value() for key, count in self._counts.items()}
        for key, count in context.all_reduce(tf.distribute.ReduceOp.SUM, local).items():
            self._counts[key].assign(count)

    def _differentiate(self, inputs: Any, number: tf.Tensor) -> None:
        part = self._part(inputs, number)
        counts = {key: count.read_value() for key, count in self._counts.items()}
        loss, slopes, logged = self._task.differentiated(
            part, self._model, self._optimizer, counts=counts, parts=self._parts
        )
        self._loss.assign_add(loss)
        for key, value in self._values.items():
            value.assign_add(logged[key][0])
        for place, (total, slope) in enumerate(zip(self._slopes, slopes, strict=True)):
            if slope is None:
                self._unconnected.add(place)
            else:
                total.assign_add(tf.convert_to_tensor(slope))

    def _part(self, inputs: Any, number: tf.Tensor) -> Any:
        """Returns one micro-batch: consecutive rows."""
        return tf.nest.map_structure(lambda x: tf.reshape(x, [self._parts, -1, *x.shape[1:]])[number], inputs)


def _local(shape: Any, dtype: tf.DType) -> tf.Variable:
    """Returns a variable of which every replica has its own value."""
    return tf.Variable(
        tf.zeros(shape, dtype),
        trainable=False,
        synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=tf.VariableAggregation.SUM,
    )
