"""The network of TFLite and ONNX files, and the operations that only some models have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from must_tf.cli import export
from must_tf.cli.flags import ExportFlags
from must_tf.model.student import StudentConfig
from must_tf.runs import restore
from must_tf.serving import companions
from must_tf.serving.formats import network, onnx_file, photos, tflite
from must_tf.serving.formats.network import Network
from must_tf.tasks.detection import portable
from must_tf.tasks.detection.portable import Search
from tests.support.tiny import Tiny

SIDE = 32


def test_boxes_are_those_of_the_combined_search(tiny: Tiny) -> None:
    """For a wide photo, so that boxes are clipped to less than the input.

    After two steps all scores are nearly equal, so that the last bit would decide which boxes there are. Larger kernels
    make the student surer.
    """
    trained = export._selected(restore.load(tiny.run, show=False), ExportFlags(tiny.run, "", tasks="detection"))
    kernels = [one for one in trained.model.heads["detection"].variables if one.name.endswith("-scores/kernel:0")]
    assert len(kernels) == 2  # of the RPN and of the box head
    for kernel in kernels:
        kernel.assign(kernel * 30)
    image, shape, _ = photos.fitted(companions.sample(1), trained.config.input_size)
    found = network.frozen(trained)
    assert set(found.signature) == {network.IMAGE, network.SHAPE}
    outputs = {name: value.numpy() for name, value in found.function(tf.constant(image), tf.constant(shape)).items()}
    assert trained.config.tasks.detection.nms == "batched"
    forward = tf.function(lambda one, part: trained.model({"image": one, "image_shape": part}, training=False))
    predictions = forward(tf.constant(image), tf.constant(shape))["predictions"]["detection"]
    count = int(predictions["count"][0])
    assert count > 1
    for key, value in predictions.items():
        wanted = value.numpy()[0] if key == "count" else value.numpy()[0, :count]
        given = outputs[f"detection/{key}"][0] if key == "count" else outputs[f"detection/{key}"][0, :count]
        np.testing.assert_allclose(given, wanted, rtol=1e-4, atol=1e-3, err_msg=key)


@pytest.fixture(scope="module")
def searching() -> Network:
    """A convolution whose output is read as 16 boxes with scores for 3 classes, and the search for objects."""
    kernel = np.random.default_rng(3).normal(0, 0.1, [8, 8, 3, 7]).astype(np.float32)
    image = tf.TensorSpec([1, SIDE, SIDE, 3], tf.uint8, network.IMAGE)

    def search(image: tf.Tensor) -> dict[str, Any]:
        values = tf.nn.conv2d(tf.cast(image, tf.float32) / 64.0, tf.constant(kernel), 8, "VALID")  # [1, 4, 4, 7]
        rows = tf.reshape(values, [1, 16, 7])
        sides = tf.reshape(tf.exp(tf.clip_by_value(rows[..., 2:4], -1.0, 1.0)), [1, 16, 1, 2]) * 8.0
        middle = tf.reshape(tf.sigmoid(rows[..., :2]), [1, 16, 1, 2]) * SIDE
        boxes = tf.clip_by_value(tf.concat([middle - sides, middle + sides], -1), 0.0, SIDE)
        return portable.detections(boxes, tf.sigmoid(rows[..., 4:]), Search(20, 0.5, 0.05, SIDE))

    return Network(tf.function(search, autograph=False), {network.IMAGE: image}, {})


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return photos.fitted(companions.sample(1, (SIDE, SIDE)), SIDE)[0]


@pytest.fixture(scope="module")
def int8(searching: Network, image: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The TFLite file of that network in 8 bits."""
    folder = str(tmp_path_factory.mktemp("searching"))
    tflite.save(searching, folder)
    return tflite.convert(folder, "int8", [network.IMAGE], [(image, np.zeros([1, 2], np.float32))])


def test_onnx_finds_the_same_objects(searching: Network, image: np.ndarray) -> None:
    wanted = searching.function(tf.constant(image))
    assert 1 < int(wanted["num_detections"][0]) < 20
    for name, value in onnx_file.runner(onnx_file.convert(searching))(image, np.zeros([1, 2])).items():
        np.testing.assert_allclose(value, wanted[name], atol=1e-3, err_msg=name)


def test_int8_has_convolutions_in_8_bits_and_boxes_in_float(int8: bytes, tmp_path: Path) -> None:
    """In 8 bits, the corners of an input of 640 pixels would be multiples of 2.5 pixels."""
    (tmp_path / "int8.tflite").write_bytes(int8)
    interpreter = Interpreter(str(tmp_path / "int8.tflite"))
    details = {one["index"]: one for one in interpreter.get_tensor_details()}
    operators = {one["op_name"]: one for one in interpreter._get_ops_details()}
    assert details[operators["CONV_2D"]["outputs"][0]]["dtype"] == np.int8
    assert details[operators["NON_MAX_SUPPRESSION_V4"]["inputs"][0]]["dtype"] == np.float32
    assert details[operators["EXP"]["inputs"][0]]["dtype"] == np.float32


def test_int8_finds_nearly_the_same_objects(searching: Network, int8: bytes, image: np.ndarray) -> None:
    """The best one, which nothing else can suppress."""
    wanted = searching.function(tf.constant(image))
    found = tflite.runner(int8)(image, np.zeros([1, 2]))
    np.testing.assert_allclose(found["detection_scores"][0, 0], wanted["detection_scores"][0, 0], atol=0.03)
    np.testing.assert_allclose(found["detection_boxes"][0, 0], wanted["detection_boxes"][0, 0], atol=1.0)


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


def test_objects_below_the_threshold_are_left_out(tmp_path: Path) -> None:
    """By operations that TFLite and ONNX have. The scores are pixels of the image."""

    @tf.function(autograph=False)
    def found(image: tf.Tensor) -> dict[str, tf.Tensor]:
        scores = tf.cast(image[:, 0, :, 0], tf.float32) / 100.0  # [1, 4]
        boxes = tf.tile(scores[..., None], [1, 1, 4])
        outputs = {"boxes": boxes, "scores": scores, "classes": tf.ones([1, 4], tf.int32), "count": tf.constant([4])}
        return network.above({f"detection/{name}": value for name, value in outputs.items()}, 0.5)

    image = np.zeros([1, 4, 4, 3], np.uint8)
    image[0, 0, :, 0] = [90, 60, 30, 10]
    one = network.Network(found, {network.IMAGE: tf.TensorSpec([1, 4, 4, 3], tf.uint8, network.IMAGE)}, {})
    tflite.save(one, str(tmp_path))
    light = tflite.runner(tflite.convert(str(tmp_path), "float32", [network.IMAGE], []))
    for run in (light, onnx_file.runner(onnx_file.convert(one))):
        outputs = run(image, np.zeros([1, 2], np.float32))
        assert outputs["detection/count"].tolist() == [2]
        assert outputs["detection/classes"].tolist() == [[1, 1, 0, 0]]
        np.testing.assert_allclose(outputs["detection/scores"], [[0.9, 0.6, 0, 0]], rtol=1e-6)
        assert outputs["detection/boxes"][0, :, 3].tolist() == outputs["detection/scores"][0].tolist()


def test_what_a_task_passes_on_is_saved_once() -> None:
    """masks has detection's outputs, too."""
    config = StudentConfig()
    config.tasks.detection.enabled = config.tasks.masks.enabled = True
    predictions = {"detection": {"boxes": 1, "scores": 2}, "masks": {"boxes": 1, "scores": 2, "probability": 3}}
    own: Any = network.own(predictions)
    assert own == {"detection/boxes": 1, "detection/scores": 2, "masks/probability": 3}
    assert network.by_task(own, config) == predictions
