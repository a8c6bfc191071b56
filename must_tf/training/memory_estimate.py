"""Estimates the least memory that a training step needs, from its graph, without running it.

The backward pass reads some tensors that the forward pass made. These are kept in between and count as activations.
Variables and views of other tensors (reshapes) do not count.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf
import tf_keras

from must_tf.common import upstream
from must_tf.training.task import StudentTask

VIEWS = ("Reshape", "Identity", "Squeeze", "ExpandDims", "StopGradient", "PreventGradient")
ONLY_SIZES = ("Shape", "ShapeN", "Size", "Rank")  # operations that read no values
NOT_KEPT = ("ReadVariableOp", "Const", "Placeholder", "VarHandleOp")

# (inputs, mark) -> anything; calls `mark()` between its forward and its backward pass.
Step = Callable[[Any, Callable[[], None]], Any]


class Memory(NamedTuple):
    """Bytes on one device. `unknown` counts tensors whose size the graph does not tell (cuDNN's); they are left out."""

    parameters: int
    gradients: int
    slots: int
    batch: int
    activations: int
    unknown: int

    @property
    def total(self) -> int:
        """The sum of all bytes."""
        return self.parameters + self.gradients + self.slots + self.batch + self.activations


def estimates(
    task: StudentTask, optimizer: tf_keras.optimizers.Optimizer, spec: Any, rows: Sequence[int]
) -> list[Memory]:
    """Returns the memory of one training step on each device, for several sizes of the batch.

    Args:
      task: builds the model.
      optimizer: an unused one, whose variables are created.
      spec: of a batch, as `tf.data.Dataset.element_spec`.
      rows: images of the batch on one device.
    """
    model = task.build_model()
    slots = upstream.create_slots(optimizer, model.trainable_variables)
    found = []
    for count in rows:
        local = tf.nest.map_structure(lambda x, count=count: tf.TensorSpec([count, *x.shape[1:]], x.dtype), spec)
        activations, unknown = kept(_step(task, model), local)
        memory = Memory(
            parameters=sum(map(_bytes, model.variables)),
            gradients=sum(map(_bytes, model.trainable_variables)),
            slots=sum(map(_bytes, slots)),
            batch=sum(map(_bytes, tf.nest.flatten(local))),
            activations=activations,
            unknown=unknown,
        )
        found.append(memory)
    return found


def kept(step: Step, spec: Any) -> tuple[int, int]:
    """Returns the bytes kept from the forward to the backward pass, and the number of tensors of unknown size.

    Args:
      step: traced, not run.
      spec: of its inputs.
    """
    border: list[int] = []

    def traced(inputs: Any) -> Any:
        graph = tf.compat.v1.get_default_graph()
        return step(inputs, lambda: border.append(len(graph.get_operations())))

    operations = tf.function(traced, autograph=False).get_concrete_function(spec).graph.get_operations()
    forward = {operation.name for operation in operations[: border[0]]}
    backward = [operation for operation in operations[border[0] :] if operation.type not in ONLY_SIZES]
    read = [_origin(tensor) for operation in backward for tensor in operation.inputs]
    saved = {t.name: t for t in read if t.op.name in forward and t.op.type not in NOT_KEPT}
    sizes = [_bytes(tensor) for tensor in saved.values() if tensor.shape.is_fully_defined()]
    return sum(sizes), len(saved) - len(sizes)


def _step(task: StudentTask, model: tf_keras.Model) -> Step:
    def step(inputs: Any, mark: Callable[[], None]) -> Any:
        with tf.GradientTape() as tape:
            outputs = model(inputs, training=True)
            loss = task.build_losses(labels=inputs, model_outputs=outputs, aux_losses=model.losses)
        mark()
        return tape.gradient(loss, model.trainable_variables)

    return step


def _origin(tensor: tf.Tensor) -> tf.Tensor:
    """Returns the tensor whose memory this one shows."""
    while tensor.op.type in VIEWS:
        tensor = tensor.op.inputs[0]
    return tensor


def _bytes(value: tf.Tensor | tf.TensorSpec | tf.Variable) -> int:
    return (value.shape.num_elements() or 0) * tf.as_dtype(value.dtype).size
