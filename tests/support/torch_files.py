"""Writes PyTorch files, in both formats and without PyTorch.

Sources: torch/serialization.py for the formats (`_legacy_save`, `_save`), torch/_utils.py and torch/_tensor.py for what
a tensor's pickle calls.
"""

from __future__ import annotations

import collections
import contextlib
import io
import pickle
import struct
import sys
import types
import zipfile
from collections.abc import Iterator
from typing import Any
from unittest import mock

import numpy as np

KINDS = {
    "float32": "FloatStorage",
    "float64": "DoubleStorage",
    "float16": "HalfStorage",
    "bfloat16": "BFloat16Storage",
    "int64": "LongStorage",
    "uint8": "ByteStorage",
    "bool": "BoolStorage",
}


class Tensor:
    """A tensor: `array` is a view of `storage`, a flat array of which several tensors may have a part."""

    def __init__(self, array: np.ndarray, storage: np.ndarray | None = None, offset: int = 0):
        self.storage = np.ascontiguousarray(array).reshape(-1) if storage is None else storage
        self.offset = offset
        self.size = array.shape
        base = np.ascontiguousarray(array).reshape(array.shape) if storage is None else array
        self.stride = tuple(step // array.itemsize for step in base.strides)


@contextlib.contextmanager
def fake_torch() -> Iterator[Any]:
    """Lets pickle find the names of PyTorch that a tensor's pickle has."""
    torch: Any = types.ModuleType("torch")
    utils: Any = types.ModuleType("torch._utils")
    for kind in KINDS.values():
        setattr(torch, kind, type(kind, (), {"__module__": "torch"}))
    exec("def _rebuild_tensor_v2(*a): pass\ndef _rebuild_parameter(*a): pass", utils.__dict__)
    for function in (utils._rebuild_tensor_v2, utils._rebuild_parameter):
        function.__module__ = "torch._utils"
    torch._utils = utils
    with mock.patch.dict(sys.modules, {"torch": torch, "torch._utils": utils}):
        yield torch


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO, torch: Any, old: bool):
        super().__init__(file, protocol=2)
        self.torch = torch
        self.old = old
        self.storages: dict[str, np.ndarray] = {}

    def persistent_id(self, obj: Any) -> Any:
        if not isinstance(obj, np.ndarray):
            return None
        key = str(next((key for key, known in self.storages.items() if known is obj), len(self.storages)))
        self.storages[key] = obj
        kind = getattr(self.torch, KINDS[obj.dtype.name])
        return ("storage", kind, key, "cpu", obj.size, *((None,) if self.old else ()))

    def reducer_override(self, obj: Any) -> Any:
        if not isinstance(obj, Tensor):
            return NotImplemented
        hooks: Any = collections.OrderedDict()
        return self.torch._utils._rebuild_tensor_v2, (obj.storage, obj.offset, obj.size, obj.stride, False, hooks)


def pickled(values: Any, old: bool = False) -> tuple[bytes, dict[str, np.ndarray]]:
    """Returns the pickle of nested values with tensors, and their storages."""
    file = io.BytesIO()
    with fake_torch() as torch:
        pickler = _Pickler(file, torch, old)
        pickler.dump(values)
    return file.getvalue(), pickler.storages


def tensors(arrays: dict[str, np.ndarray]) -> Any:
    """Returns a state dict, with the note that a module leaves on it."""
    state: Any = collections.OrderedDict((name, Tensor(array)) for name, array in arrays.items())
    state._metadata = {"": {"version": 1}}
    return state


def old_format(values: Any, content: bytes | None = None) -> bytes:
    """Returns a file in the format of PyTorch before 1.6; `content` replaces the pickle."""
    main, storages = pickled(values, old=True)
    head = [pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    parts = [*head, content or main, pickle.dumps(list(storages), 2)]
    for storage in storages.values():
        parts += [struct.pack("<q", storage.size), storage.tobytes()]
    return b"".join(parts)


def zip_format(values: Any, content: bytes | None = None) -> bytes:
    """Returns a file in the format of PyTorch since 1.6; `content` replaces the pickle."""
    main, storages = pickled(values)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("weights/data.pkl", content or main)
        archive.writestr("weights/byteorder", "little")
        for key, storage in storages.items():
            archive.writestr(f"weights/data/{key}", storage.tobytes())
        archive.writestr("weights/version", "3\n")
    return file.getvalue()


FORMATS = {"old": old_format, "zip": zip_format}
