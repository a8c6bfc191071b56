"""TFLite and ONNX files of the tiny student: the same predictions, their description, and what cannot be written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from must_tf.cli import export
from must_tf.cli.flags import ExportFlags
from must_tf.common.errors import UserError
from must_tf.runs import restore
from must_tf.runs.restore import Trained
from must_tf.serving import companions
from must_tf.serving.formats import network, onnx_file, photos, tflite, write
from tests.support.tiny import Tiny

SIDE = 128
NAMES = ["model_float32.tflite", "model_int8.tflite", "model.onnx"]


@pytest.fixture(scope="module")
def trained(tiny: Tiny) -> Trained:
    """Detection and depth of the tiny student, surer of its boxes than the SavedModel.

    After two steps all scores are nearly equal, so that the last bit would decide which boxes there are.
    """
    flags = ExportFlags(tiny.run, "", tasks="detection,depth")
    found = export._selected(restore.load(tiny.run, show=False), flags)
    kernels = [one for one in found.model.heads["detection"].variables if one.name.endswith("-scores/kernel:0")]
    assert len(kernels) == 2  # of the RPN and of the box head
    for kernel in kernels:
        kernel.assign(kernel * 30)
    return found


@pytest.fixture(scope="module")
def written(trained: Trained, tiny_export: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tiny export with files of other formats, and the lines of the card as card.md."""
    path = tmp_path_factory.mktemp("formats") / "1"
    shutil.copytree(tiny_export, path)
    card = write.write(str(path), trained, NAMES, "")
    (path / "card.md").write_text("\n".join(card))
    return path


@pytest.mark.parametrize("name", ["model_float32.tflite", "model.onnx"])
def test_the_outputs_are_those_of_the_model(written: Path, trained: Trained, name: str) -> None:
    """By TensorFlow's combined search. The photo is wide, so that boxes are clipped to less than the input."""
    content = (written / name).read_bytes()
    run = (onnx_file if name == "model.onnx" else tflite).runner(content)
    image, shape, _ = photos.fitted(companions.sample(1), SIDE)
    assert shape.tolist() == [[96, 128]]
    outputs = run(image, shape)
    assert trained.config.tasks.detection.nms == "batched"
    forward = tf.function(lambda one, part: trained.model({"image": one, "image_shape": part}, training=False))
    predictions = forward(tf.constant(image), tf.constant(shape))["predictions"]
    expected = {key: value.numpy() for key, value in network.own(predictions).items()}
    assert set(outputs) == {"depth/metres", *(f"detection/{key}" for key in ("boxes", "scores", "classes", "count"))}
    count = int(expected["detection/count"][0])
    assert count > 1 and outputs["detection/count"].tolist() == [count]
    for key in ("boxes", "scores", "classes"):
        found, wanted = (each[f"detection/{key}"][0, :count] for each in (outputs, expected))
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-2 if key == "boxes" else 1e-4)
    np.testing.assert_allclose(outputs["depth/metres"], expected["depth/metres"], rtol=1e-3)


def test_int8_has_convolutions_in_8_bits_and_boxes_in_float(written: Path) -> None:
    """In 8 bits, the corners of an input of 128 pixels would be multiples of about half a pixel."""
    interpreter = Interpreter(str(written / "model_int8.tflite"))
    details = {one["index"]: one for one in interpreter.get_tensor_details()}
    for operator in interpreter._get_ops_details():
        if operator["op_name"] == "CONV_2D":
            assert details[operator["outputs"][0]]["dtype"] == np.int8
        if operator["op_name"] in ("NON_MAX_SUPPRESSION_V4", "EXP"):
            assert details[operator["inputs"][0]]["dtype"] == np.float32
    assert (written / "model_int8.tflite").stat().st_size < (written / "model_float32.tflite").stat().st_size / 2


def test_a_gather_with_an_axis_from_the_end() -> None:
    """As Mask R-CNN chooses the mask of each object's class."""
    values = np.arange(24, dtype=np.float32).reshape([1, 2, 3, 4])
    classes = np.array([[3, 1]], np.int32)
    image = tf.TensorSpec([1, 2, 3, 4], tf.float32, network.IMAGE)
    shape = tf.TensorSpec([1, 2], tf.int32, network.SHAPE)

    @tf.function(autograph=False)
    def chosen(image: tf.Tensor, image_shape: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"mask": tf.gather(image, image_shape, axis=-1, batch_dims=2)}

    content = onnx_file.convert(network.Network(chosen, {network.IMAGE: image, network.SHAPE: shape}, {}))
    found = onnx_file.runner(content)(values, classes)["mask"]
    assert found.tolist() == [[[3.0, 7.0, 11.0], [13.0, 17.0, 21.0]]]


def test_formats_json_and_the_card(written: Path) -> None:
    content: dict[str, Any] = json.loads((written / "formats.json").read_text())
    assert list(content["files"]) == ["SavedModel", *NAMES]
    assert content["photos"]["count"] == 5 and "tfrecord" in content["photos"]["source"]
    for name in NAMES:
        row = content["files"][name]
        assert row["megabytes"] == pytest.approx((written / name).stat().st_size / 1e6)
        assert row["milliseconds"] > 0 and row["differences"]["depth/relative"] < 0.1
    assert content["files"]["model_float32.tflite"]["differences"]["depth/relative"] < 5e-3
    assert content["inputs"]["image"] == {"type": "uint8", "shape": [1, SIDE, SIDE, 3]}
    assert set(content["inputs"]) == {"image", "image_shape"}
    metrics = content["metrics"]
    assert metrics["images"] == 5
    for model in ("SavedModel", "file"):
        assert {"depth/abs_rel", "detection/AP"} <= set(metrics[model])
    assert metrics["SavedModel"]["depth/abs_rel"] == pytest.approx(metrics["file"]["depth/abs_rel"], rel=0.1)
    card = (written / "card.md").read_text()
    assert "| model_int8.tflite |" in card and "| depth/abs_rel |" in card
    assert "y0, x0, y1, x1 in pixels of the input" in card
    assert (written / "postprocess.py").exists()


def test_a_format_is_a_group_or_a_precision() -> None:
    assert write.parse("", "") == []
    assert write.parse("int8, tflite", "") == [
        f"model_{word}.tflite" for word in ("int8", "float32", "float16", "dynamic")
    ]
    with pytest.raises(UserError, match="'tflte' is not one of tflite, onnx, .*tflite"):
        write.parse("tflte", "")
    with pytest.raises(UserError, match="--calibration is for TFLite and ONNX"):
        write.parse("", "records/*.tfrecord")


def test_int8_needs_photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photos, "GENERATED", 1)
    gone = str(tmp_path / "*.tfrecord")
    with pytest.raises(UserError, match="int8 needs photos.*Give --calibration"):
        photos.collect("", gone, True)
    with pytest.raises(UserError, match="--calibration: no file matches"):
        photos.collect(gone, "", False)
    assert photos.collect("", gone, False).source == "generated scenes"


def test_a_converter_that_gives_up_is_named() -> None:
    def give_up() -> bytes:
        raise ValueError("\nop Foo is not supported\nand a long trace")

    with pytest.raises(
        UserError, match="^--formats: model.onnx cannot be made of this model: op Foo is not supported. "
    ):
        write._attempt("model.onnx", give_up)
