"""Runs one train step of a student with three heads on one global batch, by one replica, two, or two processes.

    python -m tests.support.replicas here|worker OUT RECORDS CONFIG

`here` writes OUT/one.npz and OUT/two.npz, a worker OUT.npz. Logical devices and workers must exist before TensorFlow
starts, so neither runs in the process of the tests.
"""

from __future__ import annotations

import functools
import sys

import numpy as np
import tensorflow as tf
import tf_keras

from must_tf.common import upstream
from must_tf.config import values as config_values
from must_tf.experiments import experiment_config
from must_tf.tasks import discover
from must_tf.training import preflight
from must_tf.training import task as task_lib
from tests.support.session import graphs

IMAGES = 4
HEADS = ("classification", "segmentation", "depth")  # tests/contract/test_replicas.py has the losses of all tasks
LEARNING_RATE = 1.0


def step(strategy: tf.distribute.Strategy, records: str, path: str) -> dict[str, np.ndarray]:
    """Returns the change of each variable in one step of plain gradient descent, by position and name."""
    tf_keras.backend.clear_session()  # layers are numbered anew
    params = experiment_config.load("must_student", [path])
    # Synchronised: otherwise each replica would normalise by its own images.
    norm = {"norm_activation": {"use_sync_bn": True}}
    data = {"input_path": records, "global_batch_size": IMAGES}
    heads = {name: {"enabled": name in HEADS} for name in discover()}
    config_values.apply(params, {"task": {"model": norm, "train_data": data, "tasks": heads}}, "test")
    preflight.settle(params, "train")
    tf_keras.utils.set_random_seed(1)
    with strategy.scope():
        task = task_lib.StudentTask(params.task)
        model = task.build_model()
        optimizer = tf_keras.optimizers.legacy.SGD(LEARNING_RATE)
        upstream.create_slots(optimizer, model.trainable_variables)  # the first step would trace twice to create them
    batches = strategy.distribute_datasets_from_function(
        lambda context: task.build_inputs(params.task.train_data, context)
    )
    before = [variable.numpy() for variable in model.variables]

    @functools.partial(tf.function, autograph=False)
    def once(batch: object) -> None:
        strategy.run(lambda mine: task.train_step(mine, model, optimizer), args=(batch,))

    once(next(iter(batches)))
    names = [f"{place} {variable.name}" for place, variable in enumerate(model.variables)]
    return {name: old - new.numpy() for name, old, new in zip(names, before, model.variables, strict=True)}


def main() -> None:
    """Writes the changes of all variables."""
    kind, out, records, path = sys.argv[1:]
    if kind == "worker":
        graphs.optimise(False)
        save(out, step(tf.distribute.MultiWorkerMirroredStrategy(), records, path))
        return
    tf.config.run_functions_eagerly(True)  # three replicas in graphs take a minute to trace; the workers have graphs
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    save(f"{out}/one.npz", step(tf.distribute.OneDeviceStrategy("CPU:0"), records, path))
    save(f"{out}/two.npz", step(tf.distribute.MirroredStrategy(("CPU:0", "CPU:1")), records, path))


def save(path: str, changes: dict[str, np.ndarray]) -> None:
    """Writes the changes by name."""
    np.savez(path, **changes)  # type: ignore[arg-type]  # NumPy's stub: allow_pickle


if __name__ == "__main__":
    main()
