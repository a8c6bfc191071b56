"""What a training step holds in memory at least, counted from its graph; nothing is run.

What is kept for the backward pass is every tensor that an operation of the forward pass made and one of the backward
pass reads; variables and views of other tensors (reshapes) are no tensors of their own.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from must_tf.common import upstream

VIEWS = ("Reshape", "Identity", "Squeeze", "ExpandDims", "StopGradient", "PreventGradient")
ONLY_SIZES = ("Shape", "ShapeN", "Size", "Rank")  # they read no values
NOT_KEPT = ("ReadVariableOp", "Const", "Placeholder", "VarHandleOp")


class Memory(NamedTuple):
    """Bytes on one device. `unknown`: tensors whose size the graph does not say (cuDNN's), left out."""

    parameters: int
    gradients: int
    slots: int
    batch: int
    activations: int
    unknown: int

    @property
    def total(self) -> int:
        """All together."""
        return self.parameters + self.gradients + self.slots + self.batch + self.activations


def estimate(task: Any, optimizer: Any, spec: Any, rows: int) -> Memory:
    """What one step of training holds on each device.

    Args:
      task: a StudentTask; a model of it is built for the purpose.
      optimizer: a fresh one may be given slots by this.
      spec: of a batch, as `tf.data.Dataset.element_spec`.
      rows: images of the batch on one device.
    """
    model = task.build_model()
    one = tf.nest.map_structure(lambda x: tf.TensorSpec([rows, *x.shape[1:]], x.dtype), spec)
    activations, unknown = kept(_step(task, model), one)
    trainable = sum(map(_bytes, model.trainable_variables))
    inputs = sum(map(_bytes, tf.nest.flatten(one)))
    slots = sum(map(_bytes, upstream.create_slots(optimizer, model.trainable_variables)))
    return Memory(sum(map(_bytes, model.variables)), trainable, slots, inputs, activations, unknown)


def kept(step: Any, spec: Any) -> tuple[int, int]:
    """Bytes that are kept from the forward for the backward pass, and how many tensors are of unknown size.

    Args:
      step: (inputs, mark) -> anything; calls `mark()` between its forward and its backward pass.
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
    made = {t.name: t for t in read if t.op.name in forward and t.op.type not in NOT_KEPT}
    sizes = [_bytes(tensor) for tensor in made.values() if tensor.shape.is_fully_defined()]
    return sum(sizes), len(made) - len(sizes)


def _step(task: Any, model: Any) -> Any:
    def step(inputs: Any, mark: Any) -> Any:
        with tf.GradientTape() as tape:
            outputs = model(inputs, training=True)
            loss = task.build_losses(labels=inputs, model_outputs=outputs, aux_losses=model.losses)
        mark()
        return tape.gradient(loss, model.trainable_variables)

    return step


def _origin(tensor: Any) -> Any:
    """The tensor whose memory this one shows."""
    while tensor.op.type in VIEWS:
        tensor = tensor.op.inputs[0]
    return tensor


def _bytes(value: Any) -> int:
    return (value.shape.num_elements() or 0) * tf.as_dtype(value.dtype).size
