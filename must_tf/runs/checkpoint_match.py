"""Compares a checkpoint with a model: the variables that it can restore, by module, before anything is read.

TensorFlow matches a checkpoint with a model from object to object, by the names of attributes. This follows the same
names in the object graph that the checkpoint stores.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import tensorflow as tf
import tf_keras
from tensorflow.core.protobuf import trackable_object_graph_pb2

from must_tf.common import tables
from must_tf.common.text import listed

GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
SHOWN = 3  # variables that the table names per module
# The names of a run's weights, from the root of its checkpoints: as they are trained, and averaged over the steps.
TRAINED, AVERAGED = "model", "average"

Path = tuple[str, ...]  # attribute names from the root of a checkpoint or model
Module: TypeAlias = tf.Module | tf.Variable


class ModuleMatch(NamedTuple):
    """The names of one module's variables. All are `missing` if the checkpoint lacks the module."""

    restored: tuple[str, ...]
    missing: tuple[str, ...]
    mismatched: tuple[str, ...]  # with both shapes

    @property
    def is_whole(self) -> bool:
        """True if the checkpoint can restore every variable."""
        return not self.missing and not self.mismatched


class CheckpointGraph:
    """The objects in a checkpoint. An object is its number in the graph; 0 is the root."""

    def __init__(self, prefix: str):
        reader = tf.train.load_checkpoint(prefix)
        graph = trackable_object_graph_pb2.TrackableObjectGraph()
        if reader.has_tensor(GRAPH):
            graph.ParseFromString(reader.get_tensor(GRAPH))
        self._children = [{child.local_name: child.node_id for child in node.children} for node in graph.nodes]
        self._keys = [{item.name: item.checkpoint_key for item in node.attributes} for node in graph.nodes]
        self._shapes = reader.get_variable_to_shape_map()

    @property
    def used(self) -> str:
        """The name of the weights that the run means: the averaged ones if it averaged, else the trained ones.

        This is the only place that decides it. Evaluation, export, labelling, the model's id and later runs that start
        from this one use these weights; only a resumed training goes on from the trained ones.
        """
        return TRAINED if self.find((AVERAGED,)) is None else AVERAGED

    def find(self, path: Sequence[str]) -> int | None:
        """Returns the object at `path` from the root, or None if there is none."""
        node: int | None = 0 if self._children else None
        for name in path:
            node = None if node is None else self.child(node, name)
        return node

    def child(self, node: int, name: str) -> int | None:
        """Returns the child of an object with this name, or None."""
        return self._children[node].get(name)

    def shape(self, node: int) -> list[int] | None:
        """Returns the shape of an object that is a variable, or None if it is not one."""
        return self._shapes.get(self._keys[node].get("VARIABLE_VALUE", ""))


def compare(module: Module, graph: CheckpointGraph, path: Sequence[str]) -> ModuleMatch:
    """Compares a module's variables with those of the object at `path` in a checkpoint."""
    shapes: dict[int, list[int] | None] = {}  # by the id of the module's objects
    node = graph.find(path)
    if node is not None:
        shapes = dict(_walk(module, graph, node))
    restored, missing, mismatched = [], [], []
    for variable in _variables(module):
        shape = shapes.get(id(variable))
        if shape is None:
            missing.append(variable.name)
        elif shape != variable.shape.as_list():
            mismatched.append(f"{variable.name} {shape} in the checkpoint, {variable.shape.as_list()} in the model")
        else:
            restored.append(variable.name)
    return ModuleMatch(tuple(restored), tuple(missing), tuple(mismatched))


def _variables(module: Module) -> list[tf.Variable]:
    return [module] if isinstance(module, tf.Variable) else list(module.variables)


def _walk(module: Module, graph: CheckpointGraph, node: int) -> Iterator[tuple[int, list[int] | None]]:
    """Yields, for all objects below a module, the object's id and the shape of its variable in the checkpoint."""
    view = tf.train.TrackableView(module)
    seen = set()
    pairs = [(module, node)]
    while pairs:
        here, there = pairs.pop()
        if id(here) in seen:
            continue
        seen.add(id(here))
        yield id(here), graph.shape(there)
        children = [(child, graph.child(there, name)) for name, child in view.children(here).items()]
        pairs += [(child, number) for child, number in children if number is not None]


def modules(model: tf_keras.Model) -> dict[Path, Module]:
    """Returns a student's modules by their path from the model."""
    parts: dict[Path, Module] = {
        ("trunk", "backbone"): model.trunk.backbone,
        ("trunk", "decoder"): model.trunk.decoder,
    }
    parts |= {("heads", name): head for name, head in model.heads.items()}
    return parts | {("log_variances", name): variable for name, variable in model.log_variances.items()}


def remark(weights: str) -> str:
    """Returns the end of a table's title that says which weights were read."""
    return ", averaged weights" if weights == AVERAGED else ""


def table(matches: Mapping[str, ModuleMatch], fresh: Sequence[str] = (), title: str = "") -> str:
    """Returns a table of counts per module, with some of the variables that do not fit below it.

    Args:
      matches: by module.
      fresh: modules that keep their random weights.
      title: the line above.
    """
    rows = [(name, len(match.restored), len(match.missing), len(match.mismatched)) for name, match in matches.items()]
    notes = [
        f"{name} {kind}: {listed(variables, SHOWN)}"
        for name, match in matches.items()
        for kind, variables in (("missing", match.missing), ("mismatched", match.mismatched))
        if variables
    ]
    if fresh:
        notes.append(f"random weights: {', '.join(fresh)}")
    return tables.table(("module", "restored", "missing", "mismatched"), rows, title=title, note="\n".join(notes))
