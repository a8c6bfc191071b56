"""How much arithmetic a graph is, and how fast this machine's matrix products are: what no step can be faster than."""

from __future__ import annotations

import math
import time

import numpy as np
import tensorflow as tf

SIDE, PRODUCTS = 2048, 7  # of the matrices; large enough that arithmetic is all that counts


def count(graph: tf.Graph) -> float:
    """Floating point operations of all convolutions and matrix products, a multiplication and an addition as two.

    Those inside of loops and conditions are left out (non-maximum suppression has none), and so is all else: a floor.
    """
    return float(sum(_of(operation) for operation in graph.get_operations()))


def _of(operation: tf.Operation) -> int:
    kind = operation.type
    if kind == "Conv2D":
        return 2 * _size(operation.outputs[0]) * _taps(operation.inputs[1])
    if kind == "Conv2DBackpropInput":
        return 2 * _size(operation.inputs[2]) * _taps(operation.inputs[1])
    if kind == "Conv2DBackpropFilter":
        return 2 * _size(operation.inputs[2]) * _taps(operation.outputs[0])
    if kind in ("MatMul", "BatchMatMulV2"):
        of_first = operation.inputs[0].shape
        transposed = operation.get_attr("transpose_a" if kind == "MatMul" else "adj_x")
        return 2 * _size(operation.outputs[0]) * int(of_first[-2 if transposed else -1])
    return 0


def _size(tensor: tf.Tensor) -> int:
    return math.prod(int(side) for side in tensor.shape)


def _taps(kernel: tf.Tensor) -> int:
    """Multiplications for one number of an output; kernel [h, w, in, out]."""
    return _size(kernel) // int(kernel.shape[-1])


def matrix_rate() -> float:
    """Floating point operations per second of float32 matrix products here, the median of several."""
    rng = np.random.default_rng(0)
    left, right = (tf.constant(rng.standard_normal((SIDE, SIDE), np.float32)) for _ in range(2))
    tf.linalg.matmul(left, right)
    taken = []
    for _ in range(PRODUCTS):
        start = time.perf_counter()
        tf.linalg.matmul(left, right).numpy()
        taken.append(time.perf_counter() - start)
    return 2 * SIDE**3 / float(np.median(taken))
