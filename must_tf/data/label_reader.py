"""`record.read_labels` by graphs, for what reads every record: eager, most of the time would be Python's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from must_tf.data import record
from must_tf.data.record import Labelled
from must_tf.spec import TaskSpec


class LabelReader:
    """Reads the labels of these tasks; the first record with each combination of them takes a fraction of a second."""

    def __init__(self, specs: Mapping[str, TaskSpec], configs: Mapping[str, Any]):
        self._specs, self._configs = dict(specs), dict(configs)
        self._graphs: dict[tuple[str, ...], Callable[..., Any]] = {}

    def read(self, serialized: bytes, example: tf.train.Example, origin: str = "") -> dict[str, Labelled]:
        """The labels of a record by task, as NumPy in the original frame.

        Args:
          serialized: the record.
          example: the same, parsed.
          origin: how the origin begins of those that are asked for.
        """
        origins = record.origins_of(example)
        asked = tuple(name for name in self._configs if name in origins and origins[name].startswith(origin))
        if not asked:
            return {}
        info = record.info_of(example)
        found = self._graph(asked)(tf.constant(serialized), tf.constant([info.height, info.width]))
        return record.labelled(example, found)

    def _graph(self, names: tuple[str, ...]) -> Callable[..., Any]:
        """Of these tasks alone: what nobody looked for is not read, whatever a record of another tool says there."""
        if names not in self._graphs:
            configs = {name: self._configs[name] for name in names}
            traced = tf.function(
                lambda serialized, size: record.label_tensors(serialized, size, self._specs, configs), autograph=False
            )
            self._graphs[names] = traced.get_concrete_function(
                tf.TensorSpec([], tf.string), tf.TensorSpec([2], tf.int32)
            )
        return self._graphs[names]


_shared: dict[str, LabelReader] = {}


def shared(specs: Mapping[str, TaskSpec], configs: Mapping[str, Any]) -> LabelReader:
    """A reader of these tasks; the process's last one, where it is for the same settings."""
    key = repr({name: config.as_dict() for name, config in configs.items()})
    if key not in _shared:
        _shared.clear()
        _shared[key] = LabelReader(specs, configs)
    return _shared[key]
