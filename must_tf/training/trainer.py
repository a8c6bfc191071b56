"""What is seen of a run while it trains: one progress line, metrics.jsonl, TensorBoard; and the end of a bad step.

metrics.jsonl   one JSON object per loop of steps: step, every loss term, weight/<task>, gradient_norm/<module>,
                learning_rate, images_per_second, input_wait (share of the time that steps waited for input)

A loss term <task>/<term> is what is trained, so a teacher's labels are in it with their `pseudo_weight`. Where a task
learns from both kinds of labels there are also <term>_real and <term>_pseudo, the means over either's images alone and
without that weight. Each is averaged over the steps with anything to count; with none in a loop it is left out.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from typing import Any

import orbit
import tensorflow as tf
from official.core import base_trainer

from must_tf.common import files, run_files, startup_times, upstream
from must_tf.common.errors import UserError
from must_tf.common.progress import Progress


class Trainer(base_trainer.Trainer):
    """Model Garden's, which also tells how long steps waited for their input, and counts good ones only."""

    def __init__(self, *args: Any, **kwargs: Any):
        self._waited = tf.Variable(0.0, dtype=tf.float64, trainable=False)
        self._batch_size = args[0].task.train_data.global_batch_size
        super().__init__(*args, **kwargs)
        if kwargs.get("train", True):
            upstream.create_slots(self.optimizer, self.model.trainable_variables)

    def next_train_inputs(self, iterator: Any) -> Any:
        """The next batch, timed in the graph: Python does not run between two steps."""
        before = tf.timestamp()
        with tf.control_dependencies([before]):
            inputs = next(iterator)
        local = tf.nest.flatten(inputs)[:1]
        with tf.control_dependencies(tf.distribute.get_strategy().experimental_local_results(local[0])):
            self._waited.assign_add(tf.timestamp() - before)
        return inputs

    @tf.autograph.experimental.do_not_convert  # nothing in it branches on a tensor in Python
    def train_step(self, iterator: Any) -> None:
        """Model Garden's, but that a step is counted once it is known to be good."""

        def step(inputs: Any) -> None:
            compiled = self.config.runtime.enable_xla and self.config.runtime.num_gpus > 0
            train_step = tf.function(self.task.train_step, jit_compile=True) if compiled else self.task.train_step
            logs = train_step(inputs, model=self.model, optimizer=self.optimizer, metrics=self.train_metrics)
            with tf.control_dependencies([logs[self.task.loss]]):
                self.train_loss.update_state(logs[self.task.loss])
                self.global_step.assign_add(1)

        self.strategy.run(
            step, args=(self.next_train_inputs(iterator),), options=base_trainer.get_runtime_options(self.config)
        )
        startup_times.ended("tracing")

    def train_loop_begin(self) -> None:
        """Starts the clocks."""
        super().train_loop_begin()
        self._waited.assign(0.0)
        self._began, self._first = time.monotonic(), int(self.global_step.numpy())

    def train_loop_end(self) -> dict[str, Any]:
        """Model Garden's means over the loop, without those of nothing, and the speed."""
        silent = [metric.name for metric in self.train_metrics if not float(metric.count.read_value())]
        logs = super().train_loop_end()
        logs = {name: value for name, value in logs.items() if name not in silent}
        seconds = max(time.monotonic() - self._began, 1e-9)
        images = (int(self.global_step.numpy()) - self._first) * self._batch_size
        return logs | {
            "images_per_second": images / seconds,
            "input_wait": min(float(self._waited.numpy()) / seconds, 1.0),
        }


class Log(orbit.Action):
    """After every loop: the progress line, and a line of metrics.jsonl."""

    def __init__(self, directory: str, total: int, start: int, batch_size: int):
        """`start` is the step that the run goes on from; lines of steps that are done again are taken back.

        Without a directory nothing is written: of several workers one does.
        """
        self._directory, self._path = directory, os.path.join(directory, run_files.METRICS)
        self._progress = Progress(total * batch_size, "train", done=start * batch_size)
        self._total, self._batch_size, self._start, self._last = total, batch_size, start, start
        self._lines: list[str] | None = None

    def __call__(self, output: dict[str, Any]) -> None:
        step = int(tf.summary.experimental.get_step().numpy())
        values = {name: float(value) for name, value in output.items()}
        bad = [name for name, value in values.items() if not math.isfinite(value)]
        if bad:  # compiled for an accelerator, a step cannot stop by itself
            raise UserError(
                f"between steps {self._last} and {step}, {', '.join(bad)} became no finite number. {REMEDY}"
            )
        if self._directory:
            self._append(json.dumps({"step": step} | values))
        if self._last == self._start:
            startup_times.ended("optimising the graph and running it")
            print(startup_times.said(step - self._start), file=sys.stderr, flush=True)
        waits = f"{values.get('input_wait', 0.0):.0%} waiting for input"
        note = f"step {step} · loss {values['training_loss']:.3f} · {waits}"
        self._progress.advance((step - self._last) * self._batch_size, note)
        if step >= self._total:
            self._progress.close(note)
        self._last = step

    def _append(self, line: str) -> None:
        if self._lines is None:
            self._lines = kept_lines(self._path, self._start)
            files.write_whole(self._path, "".join(f"{one}\n" for one in self._lines).encode())
        with tf.io.gfile.GFile(self._path, "a") as file:
            file.write(line + "\n")


REMEDY = (
    "The last checkpoint is kept. Lower the learning rate (trainer.optimizer_config.learning_rate) or the weight of "
    "that task (task.tasks.X.loss_weight)."
)


def kept_lines(path: str, step: int) -> list[str]:
    """The lines of a metrics.jsonl up to a step; a last line that was cut off by a kill is not among them."""
    if not tf.io.gfile.exists(path):
        return []
    with tf.io.gfile.GFile(path) as file:
        lines = file.read().splitlines()
    return [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= step]
