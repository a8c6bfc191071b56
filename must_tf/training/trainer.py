"""Runs training steps, and measures their speed and how long they wait for input."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
import tf_keras
from official.core import base_trainer

from must_tf.common import startup_times, upstream
from must_tf.runs import checkpoint_match
from must_tf.training.accumulation import Accumulation
from must_tf.training.averages import Averages
from must_tf.training.training_log import TrainingLog


class Trainer(base_trainer.Trainer):
    """Model Garden's trainer with four differences.

    - It measures how long steps wait for input.
    - It counts only steps that succeed.
    - It averages weights by itself and evaluates the averaged ones, see `averages.py`.
    - It evaluates the statistics that a checkpoint has.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        """Takes the arguments of Model Garden's trainer, the config first."""
        self._waited = tf.Variable(0.0, dtype=tf.float64, trainable=False)
        self._batch_size = args[0].task.train_data.global_batch_size
        self.averages: Averages | None = None
        self._accumulation: Accumulation | None = None
        self.log: TrainingLog | None = None  # of a training
        super().__init__(*args, **kwargs)
        if kwargs.get("train", True):
            upstream.create_slots(self.optimizer, self.model.trainable_variables)
            self._average()
            if self.config.task.accumulate_steps > 1:
                self._accumulation = Accumulation(self.task, self.model, self.optimizer)

    def _average(self) -> None:
        """Starts averages if the config asks for them. A trainer that only evaluates gets its weights from outside."""
        config = self.config.trainer.optimizer_config.ema
        if config is not None:
            self.averages = Averages(config, self.model, self.task.build_like())
            setattr(self.checkpoint, checkpoint_match.AVERAGED, self.averages.model)

    @property
    def evaluated(self) -> tf_keras.Model:
        """The model that is evaluated."""
        return self.averages.model if self.averages else self.model

    def initialize(self) -> None:
        """Loads the initial weights, from which the averages start. Not called if the run has a checkpoint."""
        super().initialize()
        if self.averages:
            self.averages.start()

    def next_train_inputs(self, iterator: Iterator[Any]) -> Any:
        """Returns the next batch. It is timed in the graph, because Python does not run between two steps."""
        before = tf.timestamp()
        with tf.control_dependencies([before]):
            inputs = next(iterator)
        local = tf.nest.flatten(inputs)[:1]
        with tf.control_dependencies(tf.distribute.get_strategy().experimental_local_results(local[0])):
            self._waited.assign_add(tf.timestamp() - before)
        return inputs

    @tf.autograph.experimental.do_not_convert  # no Python branch depends on a tensor
    def train_step(self, iterator: Iterator[Any]) -> None:
        """Runs one step as Model Garden's trainer does, but counts it only once its loss is known to be finite."""

        decay = self.averages.decay(self.global_step + 1) if self.averages else None

        def step(inputs: Any) -> None:
            compiled = self.config.runtime.enable_xla and self.config.runtime.num_gpus > 0
            train_step = tf.function(self.task.train_step, jit_compile=True) if compiled else self.task.train_step
            if self._accumulation:
                logs = self._accumulation.apply(self.train_metrics)
            else:
                logs = train_step(inputs, model=self.model, optimizer=self.optimizer, metrics=self.train_metrics)
            with tf.control_dependencies([logs[self.task.loss]]):
                if self.averages:
                    self.averages.update(decay)
                self.train_loss.update_state(logs[self.task.loss])
                self.global_step.assign_add(1)

        inputs = self.next_train_inputs(iterator)
        if self._accumulation:
            self._accumulation.accumulate(inputs)
        self.strategy.run(step, args=(inputs,), options=base_trainer.get_runtime_options(self.config))
        startup_times.ended("tracing")

    def eval_begin(self) -> None:
        """Sets the statistics of batch normalisation to their means over the replicas, which a checkpoint has.

        Unless they are synchronised, each replica normalises by its own batches, and has its own moving mean and
        variance. Training does not read them.
        """
        super().eval_begin()
        if self.strategy.num_replicas_in_sync == 1:
            return
        for variable in self.evaluated.variables:
            if variable.synchronization == tf.VariableSynchronization.ON_READ:
                variable.assign(variable.read_value())

    @tf.autograph.experimental.do_not_convert
    def eval_step(self, iterator: Iterator[Any]) -> dict[str, Any]:
        """Returns the outputs for one batch, as tuples of one tensor per replica."""

        def step(inputs: Any) -> dict[str, Any]:
            outputs: dict[str, Any] = self.task.validation_step(inputs, self.evaluated, self.validation_metrics)
            return outputs

        outputs = self.strategy.run(step, args=(next(iterator),))
        local: dict[str, Any] = tf.nest.map_structure(self.strategy.experimental_local_results, outputs)
        return local

    def train_loop_begin(self) -> None:
        """Starts the clocks."""
        super().train_loop_begin()
        self._waited.assign(0.0)
        self._began = time.monotonic()
        self._first = int(self.global_step.numpy())

    def train_loop_end(self) -> dict[str, float]:
        """Returns the means over the loop, except for those that counted nothing, and the speed."""
        silent = [metric.name for metric in self.train_metrics if not float(metric.count.read_value())]
        logs = super().train_loop_end()
        # Of Keras' newer optimizers, the learning rate is a variable on every replica.
        logs = {name: tf.convert_to_tensor(value) for name, value in logs.items() if name not in silent}
        seconds = max(time.monotonic() - self._began, 1e-9)
        images = (int(self.global_step.numpy()) - self._first) * self._batch_size
        return logs | {
            "images_per_second": images / seconds,
            "input_wait": min(float(self._waited.numpy()) / seconds, 1.0),
        }
