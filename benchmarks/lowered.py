"""The whole train step of an experiment as StableHLO: what a TPU or GPU compiles.

    python -m benchmarks.lowered --experiment=must_student --config_file=FILE --batch=8 --out=step.mlir

No data is read: images are of the experiment's size and class counts may be given by --classes. The program's inputs
are the batch, then the model's and optimizer's variables.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from official.modeling import optimization, performance

from must_tf import config, files, student
from must_tf.data import geometry, record, scenes
from must_tf.data import input as input_lib
from must_tf.errors import exit_on_user_error
from must_tf.spec import ImageInfo
from must_tf.tasks import discover

# What a program for an accelerator must not have: sizes that are known only while it runs, and calls to the host.
DYNAMIC = re.compile(r"tensor<[^>]*\?|#stablehlo\.bounds|dynamic_(?:reshape|broadcast_in_dim|conv|gather|iota|pad)\b")
HOST = re.compile(r"stablehlo\.(?:infeed|outfeed|send|recv)\b|custom_call[^\n]*(?:callback|host|py_func)", re.I)


def settle(params: Any, classes: int) -> None:
    """Class names and weights without any records."""
    for name, task in student.enabled(params.task).items():
        if discover()[name].classed and not task.classes:
            task.classes = tuple(f"class-{number}" for number in range(classes))
        task.weight = task.weight or task.loss_weight


def batch_spec(task: student.StudentTask, batch_size: int) -> Any:
    """The shapes of a training batch, from one generated image."""
    size = task.task_config.input_size
    reader = input_lib.Reader({name: discover()[name] for name in task.configs}, task.configs, size)
    image = tf.io.encode_png(scenes.render("wild", 0, 0, (size, size)).image).numpy()
    serialized = tf.constant(record.encode(image, ImageInfo("image", size, size), {}, discover()))
    element = reader.element(serialized, tf.constant(0, tf.int64), lambda original: geometry.fit(original, size))
    return tf.nest.map_structure(lambda x: tf.TensorSpec([batch_size, *x.shape], x.dtype), element)


def lower(params: Any, batch_size: int) -> str:
    """StableHLO of forward, backward and update. Raises whatever XLA cannot compile."""
    if params.runtime.mixed_precision_dtype:
        performance.set_mixed_precision_policy(params.runtime.mixed_precision_dtype)
    task = student.StudentTask(params.task)
    model = task.build_model()
    factory = optimization.OptimizerFactory(params.trainer.optimizer_config)
    optimizer = factory.build_optimizer(factory.build_learning_rate())
    spec, metrics = batch_spec(task, batch_size), task.build_metrics()

    def step(*flat: tf.Tensor) -> tf.Tensor:
        batch = tf.nest.pack_sequence_as(spec, flat)
        return task.train_step(batch, model, optimizer, metrics)[task.loss]

    compiled = tf.function(step, jit_compile=True, autograph=False)
    return compiled.experimental_get_compiler_ir(*tf.nest.flatten(spec))(stage="stablehlo")


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes the program and says what is in it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lowered", description=__doc__.splitlines()[0])
    parser.add_argument("--experiment", default="must_student")
    parser.add_argument("--config_file", action="append", default=[])
    parser.add_argument("--params_override", default="")
    parser.add_argument("--batch", type=int, default=8, help="images per device")
    parser.add_argument("--classes", type=int, default=80, help="of tasks whose classes the config does not name")
    parser.add_argument("--out", required=True)
    flags = parser.parse_args(arguments)
    params = config.load(flags.experiment, flags.config_file, flags.params_override)
    settle(params, flags.classes)
    program = lower(params, flags.batch)
    files.write_whole(flags.out, program.encode())
    print(
        f"{flags.out}: {len(program) / 1e6:.1f} MB, {program.count('stablehlo.')} operations, "
        f"{len(DYNAMIC.findall(program))} of dynamic size, {len(HOST.findall(program))} calls to the host"
    )


if __name__ == "__main__":
    sys.exit(exit_on_user_error(main))
