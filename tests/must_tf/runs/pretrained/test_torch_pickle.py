"""PyTorch's files are read without PyTorch, and a file that is a program is refused before it runs."""

from __future__ import annotations

import collections
import io
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from must_tf.common.errors import UserError
from must_tf.runs.pretrained import torch_pickle
from tests.support.torch_files import FORMATS, Tensor, old_format, tensors, zip_format

of_both_formats = pytest.mark.parametrize("form", FORMATS)


@of_both_formats
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int64", "uint8", "bool"])
def test_a_state_dict(form: str, dtype: str) -> None:
    """The numbers are those that were written, in their type; also that of a scalar."""
    arrays = {"conv.weight": np.arange(24).reshape(2, 3, 4).astype(dtype), "steps": np.array(5).astype(dtype)}
    read = torch_pickle.read(FORMATS[form](tensors(arrays)), "file")
    assert list(read) == ["conv.weight", "steps"]
    for name, array in arrays.items():
        assert read[name].dtype == array.dtype
        np.testing.assert_array_equal(read[name], array)


@of_both_formats
def test_bfloat16(form: str) -> None:
    """NumPy has no such type of its own."""
    array = np.array([0.5, -3.0]).astype(tf.bfloat16.as_numpy_dtype)
    read = torch_pickle.read(FORMATS[form](tensors({"a": array})), "file")["a"]
    np.testing.assert_array_equal(read.astype(np.float32), [0.5, -3.0])


@of_both_formats
def test_tensors_that_share_a_storage(form: str) -> None:
    """One is transposed, the other begins in the middle."""
    storage = np.arange(12, dtype=np.float32)
    turned, tail = storage[:6].reshape(2, 3).T, storage[8:]
    values = {"turned": Tensor(turned, storage), "tail": Tensor(tail, storage, offset=8)}
    read = torch_pickle.read(FORMATS[form](values), "file")
    np.testing.assert_array_equal(read["turned"], [[0, 3], [1, 4], [2, 5]])
    np.testing.assert_array_equal(read["tail"], [8, 9, 10, 11])


@of_both_formats
def test_a_training_checkpoint(form: str) -> None:
    """Names of nested dicts are joined. What is not a tensor is left out, tensors in lists too."""
    array = np.ones(2, np.float32)
    values = {"epoch": 3, "model": tensors({"a.b": array}), "groups": [{"lr": 0.1, "momentum": Tensor(array * 2)}]}
    assert list(torch_pickle.read(FORMATS[form](values), "file")) == ["model.a.b"]


class Command:
    """Creates a file when it is unpickled, as an attack would."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", [0, 2, 4])
@of_both_formats
def test_a_program_is_refused_and_not_run(form: str, protocol: int, tmp_path: Path) -> None:
    """Python's own reader runs it. Ours names what the file asked for."""
    content = pickle.dumps({"a": [Command(tmp_path / "ran")]}, protocol)
    with pytest.raises(UserError, match=r"evil.pth: the file asks for posix.mkdir, .*nothing in it was run"):
        torch_pickle.read(FORMATS[form]({}, content), "evil.pth")
    assert not (tmp_path / "ran").exists()
    pickle.loads(content)
    assert (tmp_path / "ran").exists()


# Pickles by hand: c = the name of a global, ( = mark, t = tuple of what follows the mark, R = call, b = set attributes.
@pytest.mark.parametrize(
    "program",
    [
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"c__builtin__\neval\n(S'1'\ntR.",
        b"ctorch._utils\nos.system\n(S'true'\ntR.",  # a way through an allowed module
        b"\x80\x04\x8c\x0ctorch._utils\x8c\x1e_rebuild_tensor_v2.__globals__\x93.",
        b"(S'true'\nios\nsystem\n.",  # i = call a global, in one step
        b"ccollections\nOrderedDict.__init__\n(tR.",
        b"ctorch\nload\n(S'x'\ntR.",
    ],
    ids=["eval", "eval of Python 2", "dotted", "globals", "inst", "method", "torch.load"],
)
@of_both_formats
def test_other_ways_to_a_function(form: str, program: bytes) -> None:
    with pytest.raises(UserError, match="the file asks for"):
        torch_pickle.read(FORMATS[form]({}, program), "evil.pth")


@pytest.mark.parametrize(
    "name", ["torch._utils\n_rebuild_tensor_v2", "collections\nOrderedDict", "torch\nFloatStorage"]
)
@pytest.mark.parametrize("state", [b"(dS'x'\nI1\ns", b"(N(dS'_function'\nI1\nst", b"(N(dS'__call__'\nI1\nst"])
def test_nothing_is_set_on_the_stand_ins(name: str, state: bytes) -> None:
    """Otherwise one file could change how the next one is read."""
    program = b"c" + name.encode() + b"\n" + state + b"b."
    with pytest.raises(UserError, match="damaged"):
        torch_pickle.read(zip_format({}, program), "evil.pth")
    array = np.ones(3, np.float32)
    np.testing.assert_array_equal(torch_pickle.read(zip_format(tensors({"a": array})), "file")["a"], array)


def beyond(size: tuple[int, ...], stride: tuple[int, ...], offset: int) -> Any:
    """A tensor that claims another part of its storage of 4 numbers than it has."""
    tensor = Tensor(np.zeros(4, np.float32))
    tensor.size, tensor.stride, tensor.offset = size, stride, offset
    return collections.OrderedDict(a=tensor)


@of_both_formats
@pytest.mark.parametrize(
    ("size", "stride", "offset"),
    [((5,), (1,), 0), ((2,), (1,), 3), ((2,), (4,), 0), ((2,), (-1,), 1), ((1 << 40,), (0,), 0), ((2,), (1, 1), 0)],
    ids=["long", "late", "wide", "backwards", "huge", "ragged"],
)
def test_no_tensor_reaches_beyond_its_storage(
    form: str, size: tuple[int, ...], stride: tuple[int, ...], offset: int
) -> None:
    """Python would read other memory there, or run out of it."""
    with pytest.raises(UserError, match="damaged"):
        torch_pickle.read(FORMATS[form](beyond(size, stride, offset)), "file")


@of_both_formats
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_file_that_was_cut_off(form: str, share: float) -> None:
    whole = FORMATS[form](tensors({"a": np.ones(5000, np.float32)}))
    with pytest.raises(UserError, match="half.pth is not a PyTorch file with tensors, or it is damaged"):
        torch_pickle.read(whole[: int(len(whole) * share)], "half.pth")


def test_a_pickle_of_something_else() -> None:
    with pytest.raises(UserError, match="does not begin like a PyTorch file"):
        torch_pickle.read(pickle.dumps({"a": 1}, 2), "file")


def test_the_order_of_bytes() -> None:
    """Files of big-endian machines would be read as other numbers."""
    file = old_format(tensors({"a": np.ones(1, np.float32)}))
    head = pickle.dumps({"little_endian": True}, 2)
    with pytest.raises(UserError, match="big-endian"):
        torch_pickle.read(file.replace(head, pickle.dumps({"little_endian": False}, 2)), "file")
    assert io.BytesIO(file).read().count(head) == 1
