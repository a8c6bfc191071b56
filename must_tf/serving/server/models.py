"""Loaded exports. A model's folder is watched: a newer version replaces the older one when it is loaded and warm.

Requests that the older version has accepted are still answered by it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.protobuf import saved_model_pb2

from must_tf.common.errors import UserError, nearest_path
from must_tf.serving import companions, layout, saved_model, screening
from must_tf.serving.server.batching import Batcher, Row, Sizes

SIGNATURE = "image_bytes"
LOG = logging.getLogger("must_tf.serve")


class Output(NamedTuple):
    """One output of a model. `shape` has no batch axis; sizes that depend on the image are None."""

    shape: tuple[int | None, ...]
    dtype: np.dtype

    @property
    def is_map(self) -> bool:
        """True if the first two axes are the image's."""
        return saved_model.is_map(tf.TensorShape(self.shape))


class Network(NamedTuple):
    """A loaded SavedModel: `predict` returns a row for each photo."""

    path: str
    about: Mapping[str, Any]  # must_tf.json
    outputs: Mapping[str, Output]
    predict: Callable[[Sequence[bytes]], list[Row]]
    signature_def: Mapping[str, Any]  # of the SavedModel, as TensorFlow Serving shows it


def load(path: str) -> Network:
    """Loads an export and predicts one photo, because the first prediction takes long.

    Raises:
      UserError: it cannot be loaded, or is not an export of this version.
    """
    about_path = os.path.join(path, saved_model.NAME)
    try:
        with tf.io.gfile.GFile(about_path) as file:
            about = json.loads(file.read())
        loaded = tf.saved_model.load(path)
        described = _signature_def(path)
    except (tf.errors.OpError, OSError, ValueError) as error:
        raise UserError(layout.unloadable(path, error)) from error
    signature = loaded.signatures.get(SIGNATURE)
    if signature is None or screening.STATUS not in signature.structured_outputs:
        raise UserError(f"{path} was written by an older version. Export the run again.")
    outputs = {
        name: Output(tuple(spec.shape[1:].as_list()), np.dtype(spec.dtype.as_numpy_dtype))
        for name, spec in signature.structured_outputs.items()
    }

    def predict(photos: Sequence[bytes]) -> list[Row]:
        # Called through `loaded`, because a signature alone does not keep its variables alive.
        batch = loaded.signatures[SIGNATURE](image_bytes=tf.constant(list(photos), tf.string))
        arrays = {name: _array(value) for name, value in batch.items()}
        return [cut(arrays, outputs, row) for row in range(len(photos))]

    predict([companions.sample()])
    return Network(path, about, outputs, predict, described)


def cut(arrays: Mapping[str, np.ndarray], outputs: Mapping[str, Output], row: int) -> Row:
    """Returns one photo's outputs, with maps of its own size.

    They are views: nothing is copied while the model could already work on the next batch. A batch is freed when the
    answers of all its photos are encoded.
    """
    height, width = arrays[saved_model.SIZE][row]
    return {
        name: value[row, :height, :width] if outputs[name].is_map else value[row, ...] for name, value in arrays.items()
    }


def _array(value: tf.Tensor) -> np.ndarray:
    """Returns an output of the model; numbers are not copied."""
    return value.numpy() if value.dtype == tf.string else np.asarray(memoryview(value))


def _signature_def(path: str) -> dict[str, Any]:
    """Returns the signatures that requests may name: that of fitted images is for labelling."""
    with tf.io.gfile.GFile(os.path.join(path, layout.SAVED_MODEL), "rb") as file:
        graph = saved_model_pb2.SavedModel.FromString(file.read()).meta_graphs[0]
    options = {"preserving_proto_field_name": True, "always_print_fields_with_no_presence": True}
    served = {name: one for name, one in graph.signature_def.items() if name != saved_model.FITTED}
    return {name: json_format.MessageToDict(one, **options) for name, one in served.items()}


class Version(NamedTuple):
    """A loaded version of a model, and the queue before it."""

    number: int
    network: Network
    batcher: Batcher


class Model:
    """A model by its folder. It serves its newest version.

    Attributes:
      name: in addresses.
      current: the version that gets new requests.
    """

    def __init__(self, name: str, root: str, sizes: Sizes, observe: Callable[[str, int], None]):
        """Loads the newest version. `observe` is called with the name and the size of every batch.

        Raises:
          UserError: there is none, or it cannot be loaded.
        """
        self.name, self._root, self._sizes = name, root, sizes
        self._observe = lambda images: observe(name, images)
        self._failed = 0  # the newest version that could not be loaded, which is reported once
        found = layout.versions(root)
        if not found:
            raise UserError(
                f"{root} is not an export: there is neither {layout.SAVED_MODEL} nor a folder like 1/ with one. "
                "Write one with must export."
            )
        self.current = self._loaded(max(found), found[max(found)])
        self._loader = ThreadPoolExecutor(1, "loader")

    def _loaded(self, number: int, path: str) -> Version:
        network = load(path)
        return Version(number, network, Batcher(network.predict, self._sizes, self._observe))

    async def refresh(self) -> bool:
        """Loads a newer version if there is one, and lets the older one finish. Returns True if it did."""
        found = await self._found()
        newest = max(found, default=0)
        if newest <= self.current.number:
            return False
        try:
            loop = asyncio.get_running_loop()
            loaded = await loop.run_in_executor(self._loader, self._loaded, newest, found[newest])
        except Exception as error:  # version 1 goes on; a half-copied folder may be whole at the next look
            if newest != self._failed:
                LOG.error("%s: version %d cannot be loaded, version %d stays: %s", *self._names(newest), error)
            self._failed = newest
            return False
        before, self.current = self.current, loaded
        LOG.warning("%s: version %d replaces version %d", self.name, newest, before.number)
        await before.batcher.close()
        return True

    async def _found(self) -> dict[int, str]:
        """Returns the versions in the model's folder; none if it cannot be read, which the next look may."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._loader, layout.versions, self._root)
        except Exception as error:
            LOG.error("%s: %s cannot be read, version %d stays: %s", self.name, self._root, self.current.number, error)
            return {}

    def _names(self, newest: int) -> tuple[str, int, int]:
        return self.name, newest, self.current.number


def named(paths: Sequence[str]) -> dict[str, str]:
    """Returns the folders of models by name, from exports, folders of a model's versions, and folders of those.

    Raises:
      UserError: a folder has no export, or two models have one name.
    """
    found: dict[str, str] = {}
    for path in paths:
        inner = [os.path.join(path, name.rstrip("/")) for name in _listed(path)]
        roots = [path] if layout.versions(path) else [root for root in inner if layout.versions(root)]
        if not roots and not tf.io.gfile.exists(path):
            raise UserError(
                f"{path} does not exist.{nearest_path(path)} Give an export, or write one with must export."
            )
        if not roots:
            raise UserError(f"{path} is not an export and contains none. Write one with must export.")
        for root in roots:
            name = os.path.basename(os.path.abspath(root))
            if name in found:
                raise UserError(
                    f"{found[name]} and {root} would both be the model {name!r}. Rename one of the folders."
                )
            found[name] = root
    return found


def _listed(path: str) -> list[str]:
    return sorted(tf.io.gfile.listdir(path)) if tf.io.gfile.isdir(path) else []
