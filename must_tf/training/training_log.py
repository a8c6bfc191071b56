"""The log of a training: the progress on the terminal, and metrics.jsonl. Stops if a value is not finite.

metrics.jsonl has one JSON object per loop of steps:

    step
    <task>/<term>           every loss term
    weight/<task>           the factor on the task's loss
    gradient_norm/<module>
    loss_scale              only with float16
    learning_rate
    images_per_second
    input_wait              share of the time that steps waited for input

A loss term is logged as it is trained, so pseudo labels count with their `pseudo_weight`. If a task has both kinds of
labels, <term>_real and <term>_pseudo are the means over the images of one kind, without that weight. Each term is
averaged over the steps in which it counts anything, and left out if there are none in the loop.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import threading
from collections.abc import Callable, Iterator

import orbit
import tensorflow as tf

from must_tf.common import files, held_folders, run_files, startup_times
from must_tf.common.errors import UserError
from must_tf.common.progress import Progress

REMEDY = (
    "The last checkpoint is kept. Lower the learning rate (trainer.optimizer_config.learning_rate) or the weight of "
    "that task (task.tasks.X.loss_weight)."
)
LOOK_SECONDS = 1.0  # between two looks at the step, while a loop of steps runs


class TrainingLog(orbit.Action):
    """Updates the progress line and adds a line to metrics.jsonl after every loop of steps."""

    def __init__(self, directory: str, total: int, start: int, batch_size: int):
        """Initialises the log.

        Args:
          directory: the run directory, or "" to write no file: only one of several workers does.
          total: steps of the whole run.
          start: the step from which the run resumes. Lines of later steps are removed.
          batch_size: over all replicas.
        """
        self._directory = directory
        self._path = os.path.join(directory, run_files.METRICS)
        self._progress = Progress(total * batch_size, "train", done=start * batch_size)
        self._total = total
        self._batch_size = batch_size
        self._start = start
        self._last = start
        self._counted = start  # the last step that is in the progress
        self._about = ""  # the loss of the last loop, for the progress
        self._showing = threading.Lock()
        self._is_cleaned = False

    def __call__(self, output: dict[str, float]) -> None:
        step = int(tf.summary.experimental.get_step().numpy())
        values = {name: float(value) for name, value in output.items()}
        self._check(step, values)
        held_folders.require()  # a checkpoint may follow
        if self._directory:
            self._append(json.dumps({"step": step} | values))
        if self._last == self._start:
            startup_times.ended("optimising the graph and running it")
            print(startup_times.line(step - self._start), file=sys.stderr, flush=True)
        waits = f"{values.get('input_wait', 0.0):.0%} waiting for input"
        self._about = f" · loss {values['training_loss']:.3f} · {waits}"
        self._show(step)
        if step >= self._total:
            self._progress.close(f"step {step}{self._about}")
        self._last = step

    def _show(self, step: int) -> None:
        """Updates the progress line, from either thread, if the step is a new one."""
        with self._showing:
            if step > self._counted:
                self._progress.advance((step - self._counted) * self._batch_size, f"step {step}{self._about}")
                self._counted = step

    @contextlib.contextmanager
    def watching(self, step: Callable[[], int]) -> Iterator[None]:
        """Shows the progress within a loop of steps, too: a hundred large ones on a CPU take a quarter of an hour.

        The loss is then that of the last loop.

        Args:
          step: reads the number of steps that are done. It is called from a thread.
        """
        is_over = threading.Event()

        def watch() -> None:
            with contextlib.suppress(tf.errors.OpError):  # a device is lost, as the training will say
                while not is_over.wait(LOOK_SECONDS):
                    self._show(step())

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join(LOOK_SECONDS)  # not longer: it may wait for a device

    def _check(self, step: int, values: dict[str, float]) -> None:
        """Raises UserError if a value is not finite: a step that is compiled for an accelerator cannot stop itself."""
        bad = [name for name, value in values.items() if not math.isfinite(value)]
        if bad:
            raise UserError(f"between steps {self._last} and {step}: NaN or infinite {', '.join(bad)}. {REMEDY}")

    def _append(self, line: str) -> None:
        if not self._is_cleaned:
            lines = kept_lines(self._path, self._start)
            files.write_whole(self._path, "".join(f"{kept}\n" for kept in lines).encode())
            self._is_cleaned = True
        with tf.io.gfile.GFile(self._path, "a") as file:
            file.write(line + "\n")


def kept_lines(path: str, step: int) -> list[str]:
    """Returns the lines of a metrics.jsonl up to a step, without those that a kill or a power failure damaged."""
    if not tf.io.gfile.exists(path):
        return []
    with tf.io.gfile.GFile(path, "rb") as file:
        lines = file.read().decode(errors="replace").splitlines()
    return [line for line in lines if _step_of(line) <= step]


def _step_of(line: str) -> float:
    """Returns the step of a line of metrics.jsonl; infinity if the line is damaged."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return math.inf
