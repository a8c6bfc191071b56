"""Reads the tensors of a PyTorch file without PyTorch, and without running anything that the file asks for.

A pickle is a program: it names functions, which Python's own reader imports and calls. This reader knows a few names
that tensors need and gives each a harmless stand-in. Any other name is refused before anything is called. The stand-ins
have no attributes that the program could change.

PyTorch writes two formats. The newer one is a zip archive with the pickle `data.pkl` and one file per storage, which is
the memory of one or several tensors. In the older one several pickles follow each other, and then the storages.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from must_tf.common.errors import UserError

Arrays = dict[str, np.ndarray]

ZIP, PICKLE = b"PK\x03\x04", b"\x80"  # the first bytes of the two formats
MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of the older format
PROTOCOL = 1001  # its second
REMEDY = "Save the weights alone with torch.save(model.state_dict(), ...), or as .safetensors"

BFLOAT16 = tf.bfloat16.as_numpy_dtype
STORAGES: dict[str, Any] = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": BFLOAT16,
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
# All that a broken or hostile pickle makes Python's reader raise.
BROKEN = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    NotImplementedError,
    RecursionError,
    TypeError,
    ValueError,
)


class _Storage(NamedTuple):
    key: str
    kind: str  # of STORAGES
    length: int  # numbers


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


class _Dict(dict):
    """Stands for OrderedDict. Whatever the file wants to set on it is dropped."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        del state


class _Call:
    """Stands for a function of PyTorch. Nothing can be set on it."""

    __slots__ = ("_function",)
    _function: Callable[..., Any]

    def __init__(self, function: Callable[..., Any]):
        object.__setattr__(self, "_function", function)

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(name)


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *unused: Any) -> _Tensor:
    del unused  # whether it has a gradient, and hooks
    return _Tensor(_Storage(*storage), int(offset), tuple(map(int, size)), tuple(map(int, stride)))


def _parameter(data: Any, *unused: Any) -> Any:
    del unused
    return data


_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _Call(_Dict),
    ("torch._utils", "_rebuild_tensor"): _Call(_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): _Call(_tensor),
    ("torch._utils", "_rebuild_parameter"): _Call(_parameter),
    **{("torch", name): name for name in STORAGES},
}


class _Reader(pickle.Unpickler):
    """Builds dicts, lists, numbers, texts and `_Tensor`, and nothing else.

    Attributes:
      kinds: the kind of each storage by its key.
    """

    def __init__(self, file: io.BytesIO, path: str):
        super().__init__(file)
        self._path = path
        self.kinds: dict[str, str] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Returns the stand-in for a name. Raises UserError if it is not one that tensors need."""
        if (module, name) not in _ALLOWED:
            raise UserError(
                f"{self._path}: the file asks for {module}.{name}, which is not part of tensors, so it was not read "
                f"and nothing in it was run. {REMEDY}."
            )
        return _ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        """Returns the storage that a tensor refers to."""
        word, kind, key, _, length = pid[:5]
        if word != "storage" or kind not in STORAGES or any(pid[5:]):  # the last is a view, of very old files
            raise pickle.UnpicklingError(f"a storage of an unknown kind: {kind}")
        self.kinds[str(key)] = kind
        return _Storage(str(key), kind, int(length))


def read(content: bytes, path: str) -> Arrays:
    """Returns the tensors of a file by their names, of nested dicts joined by dots.

    Args:
      content: of the file.
      path: for messages.

    Raises:
      UserError: the file is damaged, or asks for something that is not a tensor.
    """
    try:
        values, storages = _read_zip(content, path) if content.startswith(ZIP) else _read_old(content, path)
        return dict(_tensors(values, storages))
    except BROKEN as error:
        raise UserError(
            f"{path} is not a PyTorch file with tensors, or it is damaged ({error}). Download it again. {REMEDY}."
        ) from error


def _read_zip(content: bytes, path: str) -> tuple[Any, Mapping[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()
        pickles = [name for name in names if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise pickle.UnpicklingError("a zip archive without data.pkl")
        folder = pickles[0].removesuffix("data.pkl")
        if f"{folder}byteorder" in names and archive.read(f"{folder}byteorder") != b"little":
            raise pickle.UnpicklingError("written on a big-endian machine")
        values = _Reader(io.BytesIO(archive.read(pickles[0])), path).load()
        prefix = f"{folder}data/"
        storages = {name.removeprefix(prefix): archive.read(name) for name in names if name.startswith(prefix)}
    return values, storages


def _read_old(content: bytes, path: str) -> tuple[Any, Mapping[str, bytes]]:
    file = io.BytesIO(content)
    for expected in (MAGIC, PROTOCOL):
        if _Reader(file, path).load() != expected:
            raise pickle.UnpicklingError("it does not begin like a PyTorch file")
    if not _Reader(file, path).load()["little_endian"]:
        raise pickle.UnpicklingError("written on a big-endian machine")
    reader = _Reader(file, path)
    values = reader.load()
    storages = {}
    for key in map(str, _Reader(file, path).load()):
        length = int.from_bytes(file.read(8), "little")
        storages[key] = file.read(length * np.dtype(STORAGES[reader.kinds[key]]).itemsize)
    return values, storages


def _named(values: Any, prefix: str = "") -> Sequence[tuple[str, _Tensor]]:
    """Returns the tensors in nested dicts by their joined names. Other values, such as the epoch, are left out."""
    if isinstance(values, _Tensor):
        return [(prefix.removesuffix("."), values)]
    if not isinstance(values, dict):
        return []
    return [pair for key, value in values.items() for pair in _named(value, f"{prefix}{key}.")]


def _tensors(values: Any, storages: Mapping[str, bytes]) -> Sequence[tuple[str, np.ndarray]]:
    return [(name, _array(tensor, storages)) for name, tensor in _named(values)]


def _array(tensor: _Tensor, storages: Mapping[str, bytes]) -> np.ndarray:
    """Returns a tensor's numbers.

    Raises:
      ValueError: it reaches beyond its storage, or is larger than that.
    """
    flat = np.frombuffer(storages[tensor.storage.key], STORAGES[tensor.storage.kind])
    size, stride = tensor.size, tensor.stride
    if len(size) != len(stride) or min((*size, *stride, tensor.offset), default=0) < 0:
        raise ValueError(f"a tensor of shape {size} with strides {stride}")
    count = int(np.prod(size, dtype=np.float64))
    last = tensor.offset + sum((side - 1) * step for side, step in zip(size, stride, strict=True))
    if count > flat.size or (count and last >= flat.size):
        raise ValueError(f"a tensor of shape {size} in a storage of {flat.size} numbers")
    strides = tuple(step * flat.itemsize for step in stride)
    return np.lib.stride_tricks.as_strided(flat[tensor.offset :], size, strides).copy()
