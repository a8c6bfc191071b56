"""`record.read_labels` as one graph, for commands that read every record: eager, most of the time would be Python's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from must_tf import tasks
from must_tf.data import record
from must_tf.data.record import Labelled


class Reader:
    """Reads the labels of these tasks. Built once a process, in a second or two."""

    def __init__(self, configs: Mapping[str, Any]):
        self._configs, self._specs = dict(configs), tasks.discover()
        self._graph = tf.function(self._tensors, input_signature=[tf.TensorSpec([], tf.string)])

    def _tensors(self, serialized: tf.Tensor) -> dict[str, Any]:
        return record.label_tensors(serialized, self._specs, self._configs)

    def read(self, serialized: bytes, example: tf.train.Example, origin: str) -> dict[str, Labelled]:
        """The labels of a record by task, as NumPy in the original frame.

        Args:
          serialized: the record.
          example: the same, parsed.
          origin: how the origin begins of those that are asked for.
        """
        origins = record.origins_of(example).items()
        asked = [name for name, one in origins if name in self._configs and one.startswith(origin)]
        if not asked:
            return {}
        found = self._graph(tf.constant(serialized))
        return record.labelled(example, {name: found[name] for name in asked})


_shared: dict[str, Reader] = {}


def shared(configs: Mapping[str, Any]) -> Reader:
    """A reader of these tasks; the process's last one, where it is for the same settings."""
    key = repr({name: config.as_dict() for name, config in configs.items()})
    if key not in _shared:
        _shared.clear()
        _shared[key] = Reader(configs)
    return _shared[key]
