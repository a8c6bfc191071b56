"""TFLite and ONNX files label as a SavedModel with the same numbers would; their answers are known."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from must_tf.common.errors import UserError
from tests.support.teaching import FLOAT, INT64, OnnxNode, OnnxValue, red_slope, write_adapter, write_onnx
from tfrecords_tools import teachers
from tfrecords_tools.teachers import tflite_file

HEIGHT, WIDTH = 32, 48
# Of a photo whose colours do not look the same in any other order.
COLOURS = np.random.default_rng(3).integers(30, 226, [HEIGHT, WIDTH, 3]).astype(np.uint8)


def described(folder: Path, tasks: list[str], content: dict[str, Any]) -> Any:
    """Returns the loaded teacher of an adapter file with this content."""
    return teachers.describe(write_adapter(folder / "a.yaml", content), tasks).load()


def label(teacher: Any, image: np.ndarray) -> dict[str, Any]:
    return teachers.label(teacher, [tf.constant(image)], ["x"])[0]


@pytest.fixture(scope="module")
def tflite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with model.tflite: [B, h, w, 3] in 0..1 -> 1 + red metres."""
    folder = tmp_path_factory.mktemp("tflite")
    spec = tf.TensorSpec([None, None, None, 3], tf.float32)
    answer = tf.function(lambda image: 1.0 + image[..., 0]).get_concrete_function(spec)
    (folder / "model.tflite").write_bytes(tf.lite.TFLiteConverter.from_concrete_functions([answer]).convert())
    return folder


def identity(folder: Path) -> None:
    """Writes model.onnx, which returns its input [B, 3, h, w]."""
    sides = [0, 3, HEIGHT, WIDTH]
    inputs, outputs = [OnnxValue("image", FLOAT, sides)], [OnnxValue("n", FLOAT, sides)]
    write_onnx(folder / "model.onnx", [OnnxNode("Identity", ["image"], "n")], inputs, outputs)


def test_a_tflite_file_of_any_size(tflite: Path) -> None:
    """Several threads at once, each with its own image."""
    content = {"model": "model.tflite", "input": {"size": [HEIGHT, WIDTH], "range": [0, 1]}}
    teacher = described(tflite, ["depth"], content | {"outputs": {"depth": {"means": "metres"}}})
    images = [red_slope(HEIGHT, WIDTH), COLOURS, 255 - COLOURS]
    with ThreadPoolExecutor(3) as threads:
        for image, found in zip(images, threads.map(lambda one: label(teacher, one), images), strict=True):
            np.testing.assert_allclose(found["depth"]["metres"], 1 + image[..., 0] / 255, atol=1e-5)


def test_a_tflite_file_without_an_adapter(tflite: Path) -> None:
    """The message lists the inputs and outputs, which an adapter must name."""
    with pytest.raises(
        UserError, match=r"model.tflite: the model takes .*float32 \[-1, -1, -1, 3\] and returns .*adapter"
    ):
        teachers.describe(str(tflite / "model.tflite"), ["depth"])
    with pytest.raises(UserError, match=r"a.yaml: the model takes .* and returns .*under `outputs`"):
        teachers.describe(write_adapter(tflite / "a.yaml", {"model": "model.tflite"}), ["depth"])


def test_quantised_numbers() -> None:
    """Of TFLite's definition: the number is scale * (value - zero point)."""
    detail = {"quantization": (0.5, 10), "dtype": np.int8}
    np.testing.assert_array_equal(tflite_file._numbers(np.array([10, 12, -4], np.int8), detail), [0.0, 1.0, -7.0])
    quantised = tflite_file._quantised(np.array([0.0, 1.0, -7.0, 900.0], np.float32), detail)
    assert quantised.dtype == np.int8 and quantised.tolist() == [10, 12, -4, 127]
    pixels = np.array([0, 255], np.uint8)
    np.testing.assert_array_equal(tflite_file._quantised(pixels, {"quantization": (1.0, 3), "dtype": np.uint8}), pixels)


def test_blue_comes_first(tmp_path: Path) -> None:
    """Mean and standard deviation count in the network's order: blue, green, red."""
    identity(tmp_path)
    mean, std = np.array([10.0, 20.0, 30.0]), np.array([1.0, 2.0, 4.0])
    inputs = {"layout": "NCHW", "channels": "BGR", "mean": mean.tolist(), "std": std.tolist()}
    content = {"model": "model.onnx", "input": inputs, "outputs": {"normals": {"layout": "NCHW"}}}
    found = label(described(tmp_path, ["normals"], content), COLOURS)["normals"]["normals"]
    expected = (COLOURS[..., ::-1] - mean) / std
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected, axis=-1, keepdims=True), atol=1e-5)


@pytest.mark.parametrize(("size_of", "expected"), [("input", (32, 48)), ("shown", (32, 16)), ("image", (64, 32))])
def test_a_second_input_takes_the_size(tmp_path: Path, size_of: str, expected: tuple[int, int]) -> None:
    """The model returns the box 0, 0, width, height of the size that it was given. The photo has 64 x 32 pixels."""
    nodes = [
        OnnxNode("Cast", ["size"], "s", {"to": FLOAT}),
        OnnxNode("Sub", ["s", "s"], "zero"),
        OnnxNode("Concat", ["zero", "s"], "flat", {"axis": 1}),
        OnnxNode("Unsqueeze", ["flat"], "boxes", {"axes": [1]}),
        OnnxNode("ReduceMean", ["image"], "mean", {"axes": [1, 2, 3], "keepdims": 0}),
        OnnxNode("Unsqueeze", ["mean"], "scores", {"axes": [1]}),
        OnnxNode("Cast", ["scores"], "ids", {"to": INT64}),
    ]
    inputs = [OnnxValue("image", FLOAT, [0, 3, HEIGHT, WIDTH]), OnnxValue("size", INT64, [0, 2])]
    outputs = [
        OnnxValue("boxes", FLOAT, [0, 1, 4]),
        OnnxValue("scores", FLOAT, [0, 1]),
        OnnxValue("ids", INT64, [0, 1]),
    ]
    write_onnx(tmp_path / "model.onnx", nodes, inputs, outputs)
    section = {"name": "image", "size_name": "size", "size_of": size_of, "size_order": "wh", "layout": "NCHW"}
    detection = {"boxes": "boxes", "scores": "scores", "classes": "ids", "first_class": 0, "order": "xyxy"}
    content = {"model": "model.onnx", "input": section | {"range": [0, 1], "padding": 230}}
    content |= {"outputs": {"detection": detection}, "classes": {"detection": ["thing"]}}
    found = label(described(tmp_path, ["detection"], content), np.full([64, 32, 3], 230, np.uint8))["detection"]
    # Boxes are in pixels of the input, in which the photo has 32 x 16 pixels; beyond it they are cut off.
    assert found["boxes"].tolist() == [[0.0, 0.0, min(1.0, expected[0] / 32), min(1.0, expected[1] / 16)]]
    detection["coordinates"] = "image"
    found = label(described(tmp_path, ["detection"], content), np.full([64, 32, 3], 230, np.uint8))["detection"]
    assert found["boxes"].tolist() == [[0.0, 0.0, min(1.0, expected[0] / 64), min(1.0, expected[1] / 32)]]


def test_a_file_that_is_damaged_or_cannot_be_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = {"outputs": {"depth": {}}, "input": {"size": [HEIGHT, WIDTH]}}
    for name in ("model.onnx", "model.tflite"):
        (tmp_path / name).write_bytes(b"no model")
        with pytest.raises(UserError, match=f"{name}: the .* file cannot be loaded"):
            described(tmp_path, ["depth"], content | {"model": name})
    identity(tmp_path)
    teacher = described(tmp_path, ["depth"], content | {"model": "model.onnx", "input": {"layout": "NCHW"}})
    with pytest.raises(UserError, match="'n' has shape .3, 32, 48. for one image instead of .h, w."):
        label(teacher, COLOURS)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"ONNX files need onnxruntime. Run pip install 'must-tf\[onnx\]'"):
        described(tmp_path, ["depth"], content | {"model": "model.onnx"})


def test_weights_beside_an_onnx_file_are_read_and_part_of_the_id(tmp_path: Path) -> None:
    """PyTorch writes them there."""
    content = {"model": "model.onnx", "outputs": {"depth": {"means": "metres"}}}
    content["input"] = {"layout": "NCHW", "range": [0, 0]}  # every pixel is 0
    nodes = [OnnxNode("ReduceMean", ["image"], "mean", {"axes": [1]}), OnnxNode("Add", ["mean", "w"], "n")]
    value, ids = OnnxValue("image", FLOAT, [0, 3, HEIGHT, WIDTH]), set()
    for metres in (2.0, 3.0):
        write_onnx(tmp_path / "model.onnx", nodes, [value], [value._replace(name="n", shape=[0, 1, HEIGHT, WIDTH])],
                   ("w", metres))  # fmt: skip
        ids.add(teachers.describe(write_adapter(tmp_path / "a.yaml", content), ["depth"]).about.id)
        np.testing.assert_allclose(label(described(tmp_path, ["depth"], content), COLOURS)["depth"]["metres"], metres)
    assert len(ids) == 2


def test_the_id_is_of_the_files_bytes(tmp_path: Path) -> None:
    identity(tmp_path)
    content = {"model": "model.onnx", "input": {"layout": "NCHW"}, "outputs": {"normals": {"layout": "NCHW"}}}
    adapter = write_adapter(tmp_path / "a.yaml", content | {"licence": "CC0"})
    about = teachers.describe(adapter, ["normals"]).about
    assert about.facts["licence"] == "CC0"
    assert teachers.describe(write_adapter(tmp_path / "a.yaml", content), ["normals"]).about.id == about.id
    nodes = [OnnxNode("Neg", ["image"], "n")]
    value = OnnxValue("image", FLOAT, [0, 3, HEIGHT, WIDTH])
    write_onnx(tmp_path / "model.onnx", nodes, [value], [value._replace(name="n")])
    assert teachers.describe(adapter, ["normals"]).about.id != about.id
