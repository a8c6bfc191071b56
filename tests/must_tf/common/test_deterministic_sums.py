"""What TensorFlow makes of the sums of a train step, seen in the graph that is run."""

from __future__ import annotations

from collections import Counter

import tensorflow as tf
from tensorflow.python.eager import context

from benchmarks.rows import step_sides
from must_tf.common import deterministic_sums

SIZES = step_sides.Sizes(model_id=10, side=128, batch=1, proposals=8, masks=4, classes=20)


def operations(metadata: tf.compat.v1.RunMetadata) -> Counter[str]:
    """How many there are of each, in all the functions that ran."""
    graphs = [graph for function in metadata.function_graphs for graph in function.partition_graphs]
    nodes = [node for graph in graphs for part in (graph, *graph.library.function) for node in _nodes(part)]
    return Counter(node.op for node in nodes)


def _nodes(part: tf.compat.v1.GraphDef) -> list[tf.compat.v1.NodeDef]:
    return list(part.node if hasattr(part, "node") else part.node_def)


def test_no_gradient_is_added_up_in_the_order_of_arrival() -> None:
    """Six heads send gradients into one pyramid; a temporary variable would take whichever comes first."""
    deterministic_sums.in_order()
    step = step_sides.build(step_sides.STUDENT, SIZES).train
    context.enable_run_metadata()
    try:
        step()
        found = operations(context.export_run_metadata())
    finally:
        context.disable_run_metadata()
    assert found["AddN"] > 50
    assert not found["TemporaryVariable"] and not found["AccumulateNV2"]
