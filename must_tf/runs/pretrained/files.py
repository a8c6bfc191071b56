"""Reads a weight file to arrays by name, whatever library wrote it.

The names of Keras become "layer.variable", as PyTorch's are: "stem_conv.kernel", "bn1.running_mean". Keras 3 stores the
variables of a layer by number: "stem_conv.0"; and early versions of it number the layers as well: "conv2d_3.0".
"""

from __future__ import annotations

import io
import struct
import zipfile
from typing import Any

import numpy as np
import tensorflow as tf

from must_tf.common.errors import UserError
from must_tf.runs.pretrained import torch_pickle
from must_tf.runs.pretrained.torch_pickle import Arrays

SUFFIXES = (".h5", ".hdf5", ".keras", ".pth", ".pt", ".bin", ".safetensors")
HDF5 = b"\x89HDF\r\n\x1a\n"  # the first bytes of such a file
KERAS_WEIGHTS = "model.weights.h5"  # in the zip archive that Keras writes
OPTIMIZER = "optimizer"  # part of the path of its variables in Keras' files


def is_weight_file(path: str) -> bool:
    """Returns True if the path ends like a weight file's."""
    return path.lower().endswith(SUFFIXES)


def read(path: str) -> Arrays:
    """Returns the arrays of a weight file by name.

    Raises:
      UserError: there is no such file, it is damaged, or it holds more than arrays.
    """
    if not tf.io.gfile.exists(path) or tf.io.gfile.isdir(path):
        raise UserError(f"{path}: no such file. Check the path.")
    with tf.io.gfile.GFile(path, "rb") as file:
        content = file.read()
    if content.startswith(torch_pickle.ZIP):
        content = _keras_weights(content) or content
    if content.startswith(HDF5):
        return _read_hdf5(content, path)
    if content.startswith((torch_pickle.ZIP, torch_pickle.PICKLE)):
        return torch_pickle.read(content, path)
    if _is_safetensors(content):
        return _read_safetensors(content, path)
    raise UserError(
        f"{path} is not a weight file: it does not begin like one of Keras (HDF5), PyTorch or safetensors. It may be "
        "the page of a failed download: download it again."
    )


def _keras_weights(content: bytes) -> bytes:
    """Returns the weights in a .keras file; empty if the zip archive is another or damaged."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return archive.read(KERAS_WEIGHTS) if KERAS_WEIGHTS in archive.namelist() else b""
    except zipfile.BadZipFile:
        return b""


def _read_hdf5(content: bytes, path: str) -> Arrays:
    import h5py  # takes time to import, and few runs need it

    arrays: Arrays = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and OPTIMIZER not in name:
            arrays[_dotted(name, item)] = np.asarray(item)

    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            file.visititems(visit)
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise UserError(f"{path} is damaged: {error}. Download it again.") from error
    return arrays


def _dotted(name: str, dataset: Any) -> str:
    """Returns "layer.variable" for a dataset of Keras.

    Earlier versions name it ".../stem_conv/kernel:0". Keras 3 names it ".../conv2d/vars/0", and most versions of it
    note the layer's name beside it. Keras 3 calls a depthwise kernel "kernel", earlier versions "depthwise_kernel".
    """
    *groups, variable = name.split("/")
    if groups[-1:] == ["vars"]:
        layer = dataset.parent.attrs.get("name", groups[-2] if len(groups) > 1 else "")
    else:
        layer = groups[-1] if groups else ""
    layer = layer.decode() if isinstance(layer, bytes) else str(layer)
    return f"{layer}.{variable.split(':')[0].removeprefix('depthwise_')}"


def _is_safetensors(content: bytes) -> bool:
    """Returns True if the content begins with the length of a JSON header, and the header."""
    if len(content) < 10 or content[8:9] != b"{":
        return False
    return struct.unpack("<Q", content[:8])[0] <= len(content) - 8


def _read_safetensors(content: bytes, path: str) -> Arrays:
    try:
        import safetensors
        from safetensors import numpy as safetensors_numpy
    except ImportError as error:
        raise UserError(f"{path} needs the package safetensors: pip install 'must-tf[pretrained]'") from error
    try:
        return dict(safetensors_numpy.load(content))
    except (safetensors.SafetensorError, KeyError, ValueError) as error:  # KeyError: a type that NumPy lacks
        raise UserError(
            f"{path} cannot be read ({error}). Download it again; if it has bfloat16, save it as float32."
        ) from error
