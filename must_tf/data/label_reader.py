"""`record.read_labels` with traced graphs, for code that reads every record: eagerly, Python would take most of the
time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import tensorflow as tf

from must_tf.data import opening, record
from must_tf.data.record import Labelled
from must_tf.spec import ImageInfo, TaskSpec

LARGE = 4_000_000  # pixels; the maps of one task take up to 12 bytes a pixel, those of all tasks 28


class LabelReader:
    """Reads the labels of some tasks.

    Each combination of tasks has its own graph. Tracing it takes a fraction of a second, at the first record that has
    this combination.
    """

    def __init__(self, specs: Mapping[str, TaskSpec], configs: Mapping[str, Any]):
        self._specs, self._configs = dict(specs), dict(configs)
        self._graphs: dict[tuple[str, ...], Callable[..., Any]] = {}

    def read(
        self, serialized: bytes, example: tf.train.Example, origin: str = "", as_stored: bool = False
    ) -> dict[str, Labelled]:
        """Returns a record's labels by task, as NumPy in the original frame.

        Args:
          serialized: the record.
          example: the same record, parsed.
          origin: read only labels whose origin starts with this.
          as_stored: do not enlarge maps of half the size: they fit `map_info`.

        Raises:
          BadRecord: see `opening.require`.
        """
        origins = record.origins_of(example)
        names = tuple(name for name in self._configs if name in origins and origins[name].startswith(origin))
        if not names:
            return {}
        opening.require(example, self._specs, {name: self._configs[name] for name in names})
        infos = [self.map_info(example, name) if as_stored else record.info_of(example) for name in names]
        sizes = tf.constant([[info.height, info.width] for info in infos])
        tensors = self._graph(names)(tf.constant(serialized), sizes)
        return record.to_labelled(example, tensors)

    def map_info(self, example: tf.train.Example, task: str) -> ImageInfo:
        """Returns the id of an image, and the size of a task's labels if they are read as stored.

        It is half of the image's size, rounded up, if all maps of the task have that. Maps of large images are always
        enlarged.
        """
        info, feature = record.info_of(example), example.features.feature
        keys = [key for key in self._specs[task].features(self._configs[task]) if key.endswith("/encoded")]
        files = [value for key in keys if key in feature for value in feature[key].bytes_list.value if value]
        half = opening.half(info.height), opening.half(info.width)
        if info.height * info.width > LARGE or {opening.png_size(file) for file in files} != {half}:
            return info
        return info._replace(height=half[0], width=half[1])

    def read_in_turn(
        self, serialized: bytes, example: tf.train.Example, origin: str = "", as_stored: bool = False
    ) -> Iterator[tuple[str, Labelled]]:
        """Yields each task and its labels, as `read`. Those of a large image are read one task after the other."""
        info = record.info_of(example)
        if info.height * info.width <= LARGE:
            yield from self.read(serialized, example, origin, as_stored).items()
            return
        origins = record.origins_of(example)
        wanted = {name: config for name, config in self._configs.items() if origins.get(name, "").startswith(origin)}
        yield from record.labels_in_turn(serialized, self._specs, wanted)

    def _graph(self, names: tuple[str, ...]) -> Callable[..., Any]:
        """Returns the graph that reads exactly these tasks.

        Keys of a task without an origin are never read: a record written by another tool may hold anything there.
        """
        if names not in self._graphs:
            configs = {name: self._configs[name] for name in names}
            traced = tf.function(
                lambda serialized, size: record.label_tensors(serialized, size, self._specs, configs), autograph=False
            )
            self._graphs[names] = traced.get_concrete_function(
                tf.TensorSpec([], tf.string), tf.TensorSpec([len(names), 2], tf.int32)
            )
        return self._graphs[names]


_shared: dict[str, LabelReader] = {}


def shared(specs: Mapping[str, TaskSpec], configs: Mapping[str, Any]) -> LabelReader:
    """Returns a reader for these tasks. The process keeps its last one and reuses it if the configs are the same."""
    key = repr({name: config.as_dict() for name, config in configs.items()})
    if key not in _shared:
        _shared.clear()
        _shared[key] = LabelReader(specs, configs)
    return _shared[key]
