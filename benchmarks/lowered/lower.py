"""Lowers the whole train step of an experiment to StableHLO, which is what a TPU or GPU compiles.

    python -m benchmarks.lowered.lower --experiment=must_student --config_file=FILE --batch=8 --out=step.mlir

No data is read: images are generated scenes of the experiment's size, and class counts may be given by --classes. The
program's inputs are the batch, then the variables of model and optimizer; no weight is a constant in it. OUT.json
describes the inputs and counts the arithmetic of a step, for `benchmarks/lowered/time_lowered.py`.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tf_keras
from official.modeling import optimization, performance
from tensorflow.python.eager.polymorphic_function import compiler_ir
from tensorflow.python.framework import auto_control_deps_utils

from benchmarks.harness import operations
from must_tf.common import files, upstream
from must_tf.common.errors import exit_on_user_error
from must_tf.data import geometry, record, scenes
from must_tf.data import input as input_lib
from must_tf.experiments import experiment_config
from must_tf.model import student
from must_tf.spec import ImageInfo
from must_tf.tasks import discover
from must_tf.training import task as task_lib

# A program for an accelerator must have neither sizes that are known only at run time nor calls to the host.
DYNAMIC = re.compile(r"tensor<[^>]*\?|#stablehlo\.bounds|dynamic_(?:reshape|broadcast_in_dim|conv|gather|iota|pad)\b")
HOST = re.compile(r"stablehlo\.(?:infeed|outfeed|send|recv)\b|custom_call[^\n]*(?:callback|host|py_func)", re.I)
SEED = 3  # for the generated scenes
APART = 1e3  # factor for the initial weights of an RPN's scores, whose deviation is 1e-5 in Model Garden


class Step(NamedTuple):
    """A train step traced for one batch, with that batch, flat."""

    function: Any  # tf.types.experimental.ConcreteFunction, to be compiled by XLA
    plain: Callable[..., tf.Tensor]  # the same step with TensorFlow's own kernels
    batch: list[tf.Tensor]
    owners: tuple[Any, ...]  # objects that keep the variables alive

    def past_warmup(self, params: Any) -> None:
        """Moves the step counter past the warm-up: at step 0 of a warm-up no weight changes."""
        warmup = params.trainer.optimizer_config.warmup
        optimizer = self.owners[1]
        optimizer.iterations.assign(getattr(warmup.get(), "warmup_steps", 0) if warmup.type else 0)

    def without_ties(self) -> None:
        """Drives the scores of an untrained RPN apart: they are almost equal, and most of their effect is lost in
        rounding.
        """
        for variable in self.owners[0].trainable_variables:
            if "rpn-scores/kernel" in variable.name:
                variable.assign(variable * APART)

    def inputs(self) -> list[np.ndarray]:
        """Returns the program's inputs in its order, with their present values."""
        return [_value(each) for each in [*self.batch, *self.function.captured_inputs]]

    def run(self) -> list[np.ndarray]:
        """Returns TensorFlow's outputs in the program's order: the loss, then every variable that the step writes."""
        graph = self.function.graph
        read = set(auto_control_deps_utils.get_read_only_resource_input_indices_graph(graph))
        written = [i for i, each in enumerate(graph.inputs) if each.dtype == tf.resource and i not in read]
        loss = self.plain(*self.batch).numpy()
        after = self.inputs()
        return [loss, *(after[i] for i in written)]


def _value(tensor: tf.Tensor) -> np.ndarray:
    """Returns a tensor's value, or the value of the variable whose handle it is."""
    if tensor.dtype != tf.resource:
        return tensor.numpy()
    kind = tf.as_dtype(tensor._handle_data.shape_and_type[0].dtype)
    return tf.raw_ops.ReadVariableOp(resource=tensor, dtype=kind).numpy()


def settle(params: Any, classes: int) -> None:
    """Fills in class names and loss weights without any records."""
    for name, task in student.enabled(params.task).items():
        if discover()[name].class_ids and not task.classes:
            task.classes = tuple(f"class-{number}" for number in range(classes))
        task.weight = task.weight or task.loss_weight


def batch_of_scenes(task: task_lib.StudentTask, count: int) -> Any:
    """Makes a training batch of generated scenes, labelled for all of the task's heads."""
    size = task.task_config.input_size
    reader = input_lib.Reader({name: discover()[name] for name in task.configs}, task.configs, size)
    elements = []
    for index in range(count):
        scene = scenes.render("wild", SEED, index, (size, size))
        labelled = {name: record.Labelled(scene.labels[name], "real:scenes") for name in task.configs}
        image, info = tf.io.encode_png(scene.image).numpy(), ImageInfo(str(index), size, size)
        serialized = tf.constant(record.encode(image, info, labelled, discover()))
        elements.append(reader.element(serialized, tf.constant(index, tf.int64), lambda o: geometry.fit(o, size)))
    return tf.nest.map_structure(lambda *each: tf.stack(each), *elements)


def traced(params: Any, batch_size: int) -> Step:
    """Traces forward, backward and update of an experiment whose classes and weights are filled in."""
    if params.runtime.mixed_precision_dtype:
        performance.set_mixed_precision_policy(params.runtime.mixed_precision_dtype)
    task = task_lib.StudentTask(params.task)
    model = task.build_model()
    factory = optimization.OptimizerFactory(params.trainer.optimizer_config)
    optimizer = factory.build_optimizer(factory.build_learning_rate())
    upstream.create_slots(optimizer, model.trainable_variables)
    batch, metrics = batch_of_scenes(task, batch_size), task.build_metrics()

    def step(*flat: tf.Tensor) -> tf.Tensor:
        inputs = tf.nest.pack_sequence_as(batch, flat)
        return task.train_step(inputs, model, optimizer, metrics)[task.loss]

    flat = tf.nest.flatten(batch)
    function = tf.function(step, jit_compile=True, autograph=False).get_concrete_function(*flat)
    return Step(function, tf.function(step, autograph=False), flat, (model, optimizer, metrics))


def program_of(step: Step) -> str:
    """Returns the StableHLO of a traced step. Raises what XLA raises if it cannot compile it."""
    return compiler_ir.from_concrete_function(step.function)(stage="stablehlo")


def lower(params: Any, batch_size: int) -> str:
    """Lowers forward, backward and update to StableHLO. Raises what XLA raises if it cannot compile them."""
    return program_of(traced(params, batch_size))


def about(step: Step) -> dict[str, Any]:
    """Describes what a program cannot tell of itself: images, arithmetic, precision, and the kind of its inputs."""
    precision = tf_keras.mixed_precision.global_policy().compute_dtype
    return {
        "images": int(step.batch[0].shape[0]),
        "operations": operations.count(step.function.graph),
        "precision": precision,
        "inputs": [_like(each) for each in step.inputs()],
    }


def _like(values: np.ndarray) -> dict[str, Any]:
    numbers = np.asarray(values, np.float64)
    found = {"mean": numbers.mean(), "deviation": numbers.std(), "low": numbers.min(), "high": numbers.max()}
    return {"shape": list(values.shape), "type": values.dtype.name} | {key: float(each) for key, each in found.items()}


def values(step: Step) -> bytes:
    """Returns an .npz: inputs in_0, in_1, ... and TensorFlow's outputs out_0, out_1, ... of one step on them."""
    before = {f"in_{i}": each for i, each in enumerate(step.inputs())}
    after = {f"out_{i}": each for i, each in enumerate(step.run())}
    file = io.BytesIO()
    np.savez(file, **before, **after)  # type: ignore[arg-type]  # NumPy's stub: allow_pickle
    return file.getvalue()


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes the program and prints a summary of it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lowered.lower", description=__doc__.splitlines()[0])
    parser.add_argument("--experiment", default="must_student")
    parser.add_argument("--config_file", action="append", default=[])
    parser.add_argument("--params_override", default="")
    parser.add_argument("--batch", type=int, default=8, help="images per device")
    parser.add_argument(
        "--classes", type=int, default=80, help="number of classes, for tasks whose classes the config does not name"
    )
    parser.add_argument(
        "--values",
        default="",
        help="also run the step here, at the full learning rate, and write inputs and outputs to this .npz",
    )
    parser.add_argument("--out", required=True)
    flags = parser.parse_args(arguments)
    params = experiment_config.load(flags.experiment, flags.config_file, flags.params_override)
    settle(params, flags.classes)
    step = traced(params, flags.batch)
    program = program_of(step)
    files.write_whole(flags.out, program.encode())
    files.write_json(f"{flags.out}.json", about(step))
    if flags.values:
        step.past_warmup(params)
        step.without_ties()
        files.write_whole(flags.values, values(step))
    print(
        f"{flags.out}: {len(program) / 1e6:.1f} MB, {program.count('stablehlo.')} operations, "
        f"{len(DYNAMIC.findall(program))} of dynamic size, {len(HOST.findall(program))} calls to the host"
    )


if __name__ == "__main__":
    sys.exit(exit_on_user_error(main))
