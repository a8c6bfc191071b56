"""Runs one train step of a student with six heads on one global batch, by one replica, two, or two processes.

    python -m tests.support.replicas one|two|worker OUT.npz RECORDS CONFIG

Logical devices and workers must exist before TensorFlow starts, so each case runs in its own process.
"""

from __future__ import annotations

import sys

import numpy as np
import tensorflow as tf
import tf_keras

from must_tf.config import values as config_values
from must_tf.experiments import experiment_config
from must_tf.training import preflight
from must_tf.training import task as task_lib

IMAGES = 4
LEARNING_RATE = 1.0


def strategy_of(kind: str) -> tf.distribute.Strategy:
    """Returns the strategy: one device, two logical devices, or this process among those in TF_CONFIG."""
    if kind == "worker":
        return tf.distribute.MultiWorkerMirroredStrategy()
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    if kind == "one":
        return tf.distribute.OneDeviceStrategy("CPU:0")
    return tf.distribute.MirroredStrategy(("CPU:0", "CPU:1"))


def step(kind: str, records: str, path: str) -> dict[str, np.ndarray]:
    """Returns the change of each variable in one step of plain gradient descent, by position and name."""
    strategy = strategy_of(kind)
    params = experiment_config.load("must_student", [path])
    # Synchronised: otherwise each replica would normalise by its own images.
    norm = {"norm_activation": {"use_sync_bn": True}}
    data = {"input_path": records, "global_batch_size": IMAGES}
    config_values.apply(params, {"task": {"model": norm, "train_data": data}}, "test")
    preflight.settle(params, "train")
    tf_keras.utils.set_random_seed(1)
    with strategy.scope():
        task = task_lib.StudentTask(params.task)
        model = task.build_model()
        optimizer = tf_keras.optimizers.legacy.SGD(LEARNING_RATE)
    batches = strategy.distribute_datasets_from_function(
        lambda context: task.build_inputs(params.task.train_data, context)
    )
    before = [variable.numpy() for variable in model.variables]

    @tf.function
    def once(batch: object) -> None:
        strategy.run(lambda mine: task.train_step(mine, model, optimizer), args=(batch,))

    once(next(iter(batches)))
    names = [f"{place} {variable.name}" for place, variable in enumerate(model.variables)]
    return {name: old - new.numpy() for name, old, new in zip(names, before, model.variables, strict=True)}


def main() -> None:
    """Writes the changes of all variables."""
    kind, out, records, path = sys.argv[1:]
    np.savez(out, **step(kind, records, path))  # type: ignore[arg-type]  # NumPy's stub: allow_pickle


if __name__ == "__main__":
    main()
