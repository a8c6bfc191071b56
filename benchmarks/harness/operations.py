"""The arithmetic of a graph, and this machine's rate of matrix products: together, a floor for the time of a step."""

from __future__ import annotations

import math
import time

import numpy as np
import tensorflow as tf

# Matrices of this size are limited by arithmetic, not by memory. The rate is the median of several products.
SIDE, PRODUCTS = 2048, 7


def count(graph: tf.Graph) -> float:
    """Counts the floating point operations of all convolutions and matrix products; a multiply-add counts as two.

    Operations inside loops and conditions are left out (non-maximum suppression has none), and so is everything else.
    The count is therefore a floor.
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
    """Returns the multiplications per output number of a kernel [h, w, in, out]."""
    return _size(kernel) // int(kernel.shape[-1])


def matrix_rate() -> float:
    """Measures the floating point operations per second of float32 matrix products here: the median of several."""
    rng = np.random.default_rng(0)
    left, right = (tf.constant(rng.standard_normal((SIDE, SIDE), np.float32)) for _ in range(2))
    tf.linalg.matmul(left, right)
    taken = []
    for _ in range(PRODUCTS):
        start = time.perf_counter()
        tf.linalg.matmul(left, right).numpy()
        taken.append(time.perf_counter() - start)
    return 2 * SIDE**3 / float(np.median(taken))
