"""Everything that depends on the inside of another library: private attributes, patches, and modules without a promise.

TensorFlow, Keras, orbit and Model Garden are used by their public interfaces elsewhere; a test scans for
exceptions. Each function here gives its reason, and has a test that fails if an upgrade breaks it. Libraries are
imported inside the functions, because some are called before TensorFlow is imported.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any


@contextlib.contextmanager
def hidden_modules(*modules: str) -> Iterator[None]:
    """Makes imports of these modules fail inside the block, as if they were not installed.

    TensorFlow and tf_keras import optional libraries whenever they find them, which costs time and memory. Modules that
    are imported already stay, and all can be imported after the block.
    """
    hidden = [name for name in modules if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None is how Python marks a blocked import
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def tensorflow_has_started() -> bool:
    """Returns True once TensorFlow has initialised its devices and threads, after which a process must not be forked.

    No public function tells, and every public way to list devices may initialise them.
    """
    from tensorflow.python.eager import context

    return context.context()._initialized


def registered_experiments() -> list[str]:
    """Returns the names of all experiments in Model Garden's registry, which has no public way to list them."""
    from official.core import exp_factory

    return list(exp_factory._REGISTERED_CONFIGS)


def cache_config_types() -> None:
    """Lets each class of Model Garden's Config look up the types of its fields once. Needs Model Garden.

    It looks them up for every value that is set, from annotations that are text: most of the time that a config takes,
    and seconds where many are made.
    """
    from official.modeling import hyperparams

    types_of: Any = hyperparams.Config._get_annotations.__func__
    if not hasattr(types_of, "cache_info"):
        cached: Any = functools.cache(types_of)
        hyperparams.Config._get_annotations = classmethod(cached)


def disable_memory_optimizer() -> None:
    """Switches off Grappler's memory optimizer for all functions that this process traces from now on.

    `tf.config.optimizer.set_experimental_options` has no key for it, so the eager context gets a base configuration
    on which those options are put.
    """
    import tensorflow as tf
    from tensorflow.python.eager import context

    config = tf.compat.v1.ConfigProto()
    options = config.graph_options.rewrite_options
    options.memory_optimization = options.NO_MEM_OPT
    context.context()._config = config
    tf.config.optimizer.set_experimental_options({})  # makes the context read its configuration again


def close_iterators_at_once() -> None:
    """Lets the iterators of distributed datasets end when they are closed, instead of up to a minute later.

    TensorFlow puts a dataset of its own around ours for each device. Its options cannot be set, so that autotuning is
    on: for nothing, because it has no parameters. Its thread sleeps for longer and longer periods, and closing an
    iterator waits for it: a training of four minutes ended one minute after its last line.
    """
    import tensorflow as tf
    from tensorflow.python.data.ops import multi_device_iterator_ops as multi_device

    made = multi_device._create_device_dataset
    if not hasattr(made, "__wrapped__"):
        options = tf.data.Options()
        options.autotune.enabled = False

        @functools.wraps(made)
        def closes_at_once(*args: Any) -> Any:
            return made(*args).with_options(options)

        multi_device._create_device_dataset = closes_at_once


def gpu_memory() -> list[int]:
    """Returns the bytes that TensorFlow can still take from each visible GPU. Initialises the GPUs.

    The public functions tell how much TensorFlow uses, but not how much there is.
    """
    from tensorflow.python.client import device_lib

    return [device.memory_limit for device in device_lib.list_local_devices() if device.device_type == "GPU"]


def random_record_reader(path: str) -> Any:
    """Opens a TFRecord file for reading at byte offsets: `reader.read(offset)` returns (record, next offset).

    TensorFlow's public readers only go through a file from its start.
    """
    from tensorflow.python.lib.io import tf_record

    return tf_record.tf_record_random_reader(path)


def record_checksum(data: bytes) -> bytes:
    """Returns the four bytes that follow a record's data in a TFRecord file: its masked CRC-32C.

    TensorFlow has no operation that computes them, and in Python it takes long. So a record is written to a file in
    memory, whose file system is registered, but not described anywhere. It is removed, because it would be appended to.
    Every thread has its own: a worker of Beam writes several shards at the same time.
    """
    import tensorflow as tf

    path = f"ram://must_tf/{threading.get_ident()}"
    with tf.io.TFRecordWriter(path) as writer:
        writer.write(data)
    with tf.io.gfile.GFile(path, "rb") as file:
        file.seek(8 + 4 + len(data))  # behind the length, its checksum and the data
        checksum = file.read(4)
    tf.io.gfile.remove(path)
    return checksum


def create_slots(optimizer: Any, variables: Sequence[Any]) -> list[Any]:
    """Creates the optimizer's variables (momentum and the like), which are otherwise created in the first step.

    TensorFlow traces a function that creates variables twice, and with six heads one trace takes longer than many
    steps. Optimizers of Keras' earlier kind, which Model Garden's SGD is, have no public `build`.

    Returns:
      All variables of the optimizer.
    """
    import tensorflow as tf
    import tf_keras

    inner = getattr(optimizer, "inner_optimizer", optimizer)  # mixed precision wraps the optimizer
    if isinstance(inner, tf_keras.optimizers.legacy.Optimizer):
        with tf.name_scope(inner._name):
            inner._create_all_weights(variables)
    else:
        inner.build(variables)
    return list(inner.variables() if callable(inner.variables) else inner.variables)


def set_last_saved_step(manager: Any, step: int) -> None:
    """Makes a `tf.train.CheckpointManager` count its checkpoint interval from this step.

    The manager sets it only when it restores from its own folder, and the workers that write no checkpoints have an
    empty one. All workers must save at the same steps, because saving reads variables across them.
    """
    manager._last_checkpoint_step = step


def write_checkpoint_state(directory: str, prefixes: Sequence[str], timestamps: Sequence[float] = ()) -> None:
    """Writes TensorFlow's file `checkpoint`, which lists a folder's checkpoints, completely or not at all.

    The public `tf.compat.v1.train.update_checkpoint_state` does the same, but logs that it is deprecated.

    Args:
      directory: the folder, local or remote.
      prefixes: of the checkpoints, oldest first; the last one is what `tf.train.latest_checkpoint` returns. Those in
        the folder are listed by their names, so that it can be moved.
      timestamps: seconds since the epoch at which they were saved. TensorFlow never deletes checkpoints without one.
    """
    import tensorflow as tf

    names = [prefix.removeprefix(f"{directory}/") for prefix in prefixes]
    if not os.path.isabs(directory):  # then names are taken as relative to the working directory, and stored as names
        names = [name if os.path.isabs(name) else f"{directory}/{name}" for name in names]
    tf.__internal__.train.update_checkpoint_state(
        directory, names[-1], names, all_model_checkpoint_timestamps=list(timestamps)
    )


def quiet_controller() -> None:
    """Sends the messages of orbit's controller to absl's debug log instead of stdout.

    The controller prints every loop's metrics over several lines, and has no option for it.
    """
    import orbit.controller
    from absl import logging

    orbit.controller._log = logging.debug


def with_constant_weights(function: Any) -> Any:
    """Returns a concrete function whose variables are constants, as converters to other formats need it.

    TensorFlow's own converters and tf2onnx use this function, which has no public name.
    """
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    return convert_variables_to_constants_v2(function)


def calibrated(converter: Any) -> bytes:
    """Returns the TFLite model of a `tf.lite.TFLiteConverter` with the ranges of its tensors, not yet quantised.

    The public switches quantise a whole network, and choose what stays in float by the type of an operation only.
    """
    converter._experimental_calibrate_only = True
    return bytes(converter.convert())


def quantised(calibrated_model: bytes) -> bytes:
    """Quantises the tensors of a TFLite model that have a range. The other half of `calibrated`."""
    from tensorflow.lite.python import convert

    return bytes(convert.mlir_quantize(calibrated_model))
