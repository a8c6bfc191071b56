"""Which variables of a model a checkpoint has, by module: restored, missing, or there with another shape.

TensorFlow matches a checkpoint with a model by the names of attributes, from object to object; so does this, on the
graph of objects that the checkpoint holds, before anything is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import tensorflow as tf
import tf_keras
from tensorflow.core.protobuf import trackable_object_graph_pb2

from must_tf.common.text import listed

GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
SHOWN = 3  # variables that are named per module in a table


class Match(NamedTuple):
    """Names of one module's variables by what a checkpoint has for them; all `missing` where it lacks the module."""

    restored: tuple[str, ...]
    missing: tuple[str, ...]
    mismatched: tuple[str, ...]  # with both shapes

    @property
    def is_whole(self) -> bool:
        """Whether every variable can be restored."""
        return not self.missing and not self.mismatched


class Graph:
    """The objects in a checkpoint and the variables below them."""

    def __init__(self, prefix: str):
        reader = tf.train.load_checkpoint(prefix)
        graph = trackable_object_graph_pb2.TrackableObjectGraph()
        if reader.has_tensor(GRAPH):
            graph.ParseFromString(reader.get_tensor(GRAPH))
        self._children = [{child.local_name: child.node_id for child in node.children} for node in graph.nodes]
        self._keys = [{one.name: one.checkpoint_key for one in node.attributes} for node in graph.nodes]
        self._shapes = reader.get_variable_to_shape_map()

    def find(self, path: Sequence[str]) -> int | None:
        """The object at `path` from the root, as a number; None where there is none."""
        node: int | None = 0 if self._children else None
        for name in path:
            node = None if node is None else self.child(node, name)
        return node

    def child(self, node: int, name: str) -> int | None:
        """The object that another one has under this name."""
        return self._children[node].get(name)

    def shape(self, node: int) -> list[int] | None:
        """The shape of the variable that this object is; None if it is none."""
        return self._shapes.get(self._keys[node].get("VARIABLE_VALUE", ""))


def compare(module: Any, graph: Graph, path: Sequence[str]) -> Match:
    """What the object at `path` of a checkpoint has for a module's variables."""
    found: dict[int, list[int] | None] = {}
    node = graph.find(path)
    if node is not None:
        found = dict(_walk(module, graph, node))
    restored, missing, mismatched = [], [], []
    for variable in _variables(module):
        shape = found.get(id(variable))
        if shape is None:
            missing.append(variable.name)
        elif shape != variable.shape.as_list():
            mismatched.append(f"{variable.name} {shape} there, {variable.shape.as_list()} here")
        else:
            restored.append(variable.name)
    return Match(tuple(restored), tuple(missing), tuple(mismatched))


def _variables(module: Any) -> list[tf.Variable]:
    return [module] if isinstance(module, tf.Variable) else list(module.variables)


def _walk(module: Any, graph: Graph, node: int) -> Iterator[tuple[int, list[int] | None]]:
    """(id of an object of the module, shape of the variable that stands for it in the checkpoint), for all below."""
    view = tf.train.TrackableView(module)
    seen, left = set(), [(module, node)]
    while left:
        here, there = left.pop()
        if id(here) in seen:
            continue
        seen.add(id(here))
        yield id(here), graph.shape(there)
        pairs = [(child, graph.child(there, name)) for name, child in view.children(here).items()]
        left += [(child, number) for child, number in pairs if number is not None]


def modules(model: tf_keras.Model) -> dict[tuple[str, ...], Any]:
    """A student's parts by their path from it."""
    parts: dict[tuple[str, ...], Any] = {
        ("trunk", "backbone"): model.trunk.backbone,
        ("trunk", "decoder"): model.trunk.decoder,
    }
    parts |= {("heads", name): head for name, head in model.heads.items()}
    return parts | {("log_variances", name): variable for name, variable in model.log_variances.items()}


def table(matches: dict[str, Match], fresh: Sequence[str] = ()) -> str:
    """A line per module with its counts, and some of the variables that do not fit; no line break at the end."""
    lines = [f"  {'module':<24}restored  missing  mismatched"]
    for name, match in matches.items():
        lines.append(f"  {name:<24}{len(match.restored):>8}{len(match.missing):>9}{len(match.mismatched):>12}")
        for word, names in (("missing", match.missing), ("mismatched", match.mismatched)):
            lines += [f"    {word}: {listed(names, SHOWN)}"] if names else []
    return "\n".join(lines + [f"  {name:<24}fresh" for name in fresh])
