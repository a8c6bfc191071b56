"""One replica and two give the same gradient, however the labels are distributed.

Logical devices must be created before TensorFlow starts, so this runs in a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import tensorflow as tf

from must_tf.model import student
from must_tf.training import loss_weights
from must_tf.training import task as task_lib
from tests.support.contract import SPECS, golden, seen
from tests.support.session.forked_python import INTERPRETER

DEVICES = ("CPU:0", "CPU:1")
WEIGHTS = np.array([1.0, 1.0, 0.5, 0.0], np.float32)  # two replicas: 2 labelled images and 1 that counts half
STEP = 0.05  # step of the outputs: large enough to differ, too small to change the matching


def test_two_replicas_give_the_gradient_of_one() -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [*INTERPRETER, "-W", "ignore", "-m", "tests.contract.test_replicas"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == list(SPECS)


def _like_the_first(task: str) -> list[tuple[dict[str, np.ndarray], ...]]:
    """(outputs, targets) of the cases that need no other config and have the first one's shapes: they fit one batch."""
    cases = [case for case in golden(task).CASES if not case[2]]
    arrays = [tuple({k: np.asarray(v) for k, v in each.items()} for each in case[:2]) for case in cases]
    shapes = [{k: v.shape for k, v in each[0].items()} for each in arrays]
    return [each for each, shape in zip(arrays, shapes, strict=True) if shape == shapes[0]]


def _row(task: str, row: int) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor], dict[str, tf.Tensor]]:
    """(outputs, the direction to move them in, targets) of one image; rows go round the task's cases."""
    own, rng, cases = golden(task), np.random.default_rng(row), _like_the_first(task)
    arrays = cases[row % len(cases)]
    raw, targets = ({k: _constant(v) for k, v in each.items()} for each in arrays)
    floats = {k: v for k, v in raw.items() if v.dtype == tf.float32 and k not in own.UNBATCHED}
    direction = {k: tf.constant(rng.normal(size=v.shape), tf.float32) for k, v in floats.items()}
    return raw, direction, seen(WEIGHTS[row : row + 1], own.CONFIG) | targets


def _constant(values: np.ndarray) -> tf.Tensor:
    return tf.constant(values, {"f": tf.float32, "b": tf.bool}.get(values.dtype.kind, tf.int32))


def _gradient(task: str, strategy: tf.distribute.Strategy, rows: list[list[int]]) -> np.ndarray:
    """Of the task's summed loss along one direction per image; `rows` are each replica's images."""
    own, spec = golden(task), SPECS[task]
    with strategy.scope():
        factor = tf.Variable(1.0)

    def step() -> tf.Tensor:
        mine = rows[tf.distribute.get_replica_context().replica_id_in_sync_group]
        parts = [_row(task, row) for row in mine]
        stacked = [
            {k: v if k in own.UNBATCHED else tf.concat([p[i][k] for p in parts], 0) for k, v in parts[0][i].items()}
            for i in range(3)
        ]
        with tf.GradientTape() as tape:
            moved = {k: stacked[0][k] + STEP * factor * v for k, v in stacked[1].items()}
            terms = spec.loss(stacked[0] | moved, stacked[2], own.CONFIG)
            # As in Model Garden's train_step: every replica's loss divided by their number, gradients added up.
            total = tf.add_n([loss_weights.mean(term) for term in terms.values()]) / strategy.num_replicas_in_sync
        return tape.gradient(total, factor)

    return strategy.reduce(tf.distribute.ReduceOp.SUM, strategy.run(step), axis=None).numpy()


FIRST = next(iter(SPECS))


def _trainer(rule: str) -> task_lib.StudentTask:
    """Of the first task alone."""
    settings = student.StudentConfig(balance=rule)
    setattr(settings.tasks, FIRST, golden(FIRST).CONFIG.replace(weight=1.0))
    return task_lib.StudentTask(settings)


def _mine(strategy: tf.distribute.Strategy, weights: list[float]) -> tuple[dict, dict]:
    """This replica's labels and outputs: the first task's first case, one weight per image."""
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    mine = weights if strategy.num_replicas_in_sync == 1 else weights[replica : replica + 1]
    raw, _, targets = _row(FIRST, 0)
    stacked = [
        {k: v if k in golden(FIRST).UNBATCHED else tf.concat([v] * len(mine), 0) for k, v in each.items()}
        for each in (raw, targets)
    ]
    return {"targets": {FIRST: stacked[1] | seen(mine, golden(FIRST).CONFIG)}}, {"raw": {FIRST: stacked[0]}}


def _logged(strategy: tf.distribute.Strategy, weights: list[float]) -> list[float]:
    """The loss terms as they go to the log."""
    trainer = _trainer("fixed")
    with strategy.scope():
        metrics = trainer.build_metrics()
    metrics = [metric for metric in metrics if not metric.name.startswith("gradient_norm/")]  # of a whole train step

    def step() -> None:
        labels, outputs = _mine(strategy, weights)
        trainer.build_losses(labels, outputs)
        trainer.process_metrics(metrics, labels, outputs)

    strategy.run(step)
    return [float(metric.result()) for metric in metrics]


def _learned_gradient(strategy: tf.distribute.Strategy, weights: list[float]) -> np.ndarray:
    """Of the first task's learned weight s at 0, by the student itself; one weight per replica's image."""
    trainer = _trainer("learned")
    with strategy.scope():
        learned = tf.Variable(0.0)
    trainer._log_variances = {FIRST: learned}

    def step() -> tf.Tensor:
        labels, outputs = _mine(strategy, weights)
        with tf.GradientTape() as tape:
            loss = trainer.build_losses(labels, outputs) / strategy.num_replicas_in_sync
        return tf.convert_to_tensor(tape.gradient(loss, learned, unconnected_gradients="zero"))

    return strategy.reduce(tf.distribute.ReduceOp.SUM, strategy.run(step), axis=None).numpy()


def main() -> None:
    """Compares every task's gradients; prints the names of those that agree."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    for task in SPECS:
        one = _gradient(task, tf.distribute.OneDeviceStrategy(DEVICES[0]), [[0, 1, 2, 3]])
        two = _gradient(task, tf.distribute.MirroredStrategy(DEVICES), [[0, 1], [2, 3]])
        lopsided = _gradient(task, tf.distribute.MirroredStrategy(DEVICES), [[0, 1, 2], [3]])
        assert abs(one) > 1e-3, task
        np.testing.assert_allclose([two, lopsided], [one, one], rtol=1e-4, err_msg=task)
        print(task)
    for weights in ([1.0, 0.0], [0.0, 0.0]):
        for measured in (_learned_gradient, _logged):
            on_one = measured(tf.distribute.OneDeviceStrategy(DEVICES[0]), weights)
            on_two = measured(tf.distribute.MirroredStrategy(DEVICES), weights)
            np.testing.assert_allclose(on_two, on_one, rtol=1e-5)


if __name__ == "__main__":
    main()
