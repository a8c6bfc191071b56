"""The SavedModel: runs with only TensorFlow, takes images of any sizes, and gives the same values as must_tf."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from must_tf.data import geometry, record
from must_tf.data.input import Reader
from must_tf.evaluation.predictions import Restorer
from must_tf.model.student import enabled
from must_tf.runs import restore
from must_tf.serving import screening
from must_tf.spec import ImageInfo
from must_tf.tasks import discover
from tests.support.tiny import SIZES, Tiny

# The shapes that the README documents. 6 detections, 4 rooms and 8 surfaces are the tiny run's.
OUTPUTS = {
    "image/size": (2,),
    "image/status": (),
    "classification/probability": (4,),
    "detection/boxes": (6, 4),
    "detection/classes": (6,),
    "detection/scores": (6,),
    "detection/count": (),
    "segmentation/classes": ("h", "w"),
    "segmentation/confidence": ("h", "w"),
    "depth/metres": ("h", "w"),
    "normals/normals": ("h", "w", 3),
}
CALLS = ("image_bytes", "serving_default", "tf_example", "alone-0", "alone-1", "alone-2", "image_tensor", "tensor-one")
BAD = {1: b"", 2: b"not an image", 3: b"\xff\xd8\xff\xe0 a JPEG in name only"}  # rows of the batch with bad images
# Serves without this project: importing it fails. Saves the outputs of every call.
SERVE = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("must_tf", "tfrecords_tools", "official", "tf_keras", "orbit"):
            raise ImportError(name + " is not here")
sys.meta_path.insert(0, Blocked())
import numpy as np, tensorflow as tf
tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})  # each graph runs once or twice
export, inputs, out = sys.argv[1:]
arrays = np.load(inputs, allow_pickle=True)
signatures = tf.saved_model.load(export).signatures
results = {}
def call(name, signature, values):
    outputs = signatures[signature](**{"image_bytes" if signature == "serving_default" else signature: values})
    results.update({name + ":" + key: value.numpy() for key, value in outputs.items()})
images = list(arrays["images"])
for signature in ("image_bytes", "serving_default"):
    call(signature, signature, tf.constant(images))
call("tf_example", "tf_example", tf.constant(list(arrays["records"])))
for i, image in enumerate(images):
    call("alone-%d" % i, "image_bytes", tf.constant([image]))
square = tf.stack([tf.io.decode_png(images[0])] * 3)
call("image_tensor", "image_tensor", square)
call("tensor-one", "image_tensor", square[:1])
bad = [images[0], *arrays["bad"], images[1][:3000], images[1]]
call("bad", "image_bytes", tf.constant(bad))
call("only-bad", "image_bytes", tf.constant(bad[1:3]))
call("bad-records", "tf_example", tf.constant([b"no record", arrays["records"][0]]))
call("empty", "image_bytes", tf.zeros([0], tf.string))
call("empty-tensor", "image_tensor", tf.zeros([0, 32, 32, 3], tf.uint8))
np.savez(out, **results)
"""


class Served(NamedTuple):
    """The records that were served, and the outputs by call and name."""

    records: list[bytes]
    outputs: dict[str, dict[str, np.ndarray]]
    about: dict[str, Any]


def encoded(serialized: bytes) -> bytes:
    """A record's image file."""
    return tf.train.Example.FromString(serialized).features.feature["image/encoded"].bytes_list.value[0]


@pytest.fixture(scope="module")
def served(tiny: Tiny, tiny_export: str, tmp_path_factory: pytest.TempPathFactory) -> Served:
    """Serves three images of three sizes in another process."""
    folder = tmp_path_factory.mktemp("served")
    assert not list(Path(tiny_export).parent.glob("*.partial"))
    files = sorted(str(path) for path in Path(tiny.records).glob("*.tfrecord"))
    records = list(tf.data.TFRecordDataset(files).as_numpy_iterator())[: len(SIZES)]
    images = np.array([encoded(serialized) for serialized in records], object)
    bad = np.array(list(BAD.values()), object)
    np.savez(folder / "given.npz", images=images, records=np.array(records, object), bad=bad)
    script = [sys.executable, "-I", "-c", SERVE, tiny_export, str(folder / "given.npz")]
    client = {name: value for name, value in os.environ.items() if name != "TF_USE_LEGACY_KERAS"}
    done = subprocess.run([*script, str(folder / "out.npz")], capture_output=True, text=True, cwd=folder, env=client)
    assert done.returncode == 0, done.stderr
    outputs: dict[str, dict[str, np.ndarray]] = defaultdict(dict)
    with np.load(folder / "out.npz", allow_pickle=True) as results:
        for key in results:
            call, _, name = key.partition(":")
            outputs[call][name] = results[key]
    about = json.loads(Path(tiny_export, "must_tf.json").read_text())
    return Served(records, outputs, about)


def without_padding(outputs: dict[str, np.ndarray], row: int) -> dict[str, np.ndarray]:
    """One image's outputs in its own size, by name."""
    height, width = outputs["image/size"][row]
    own = {}
    for name, shape in OUTPUTS.items():
        value = outputs[name][row]
        own[name] = value[:height, :width] if "h" in shape else value
    return own


def test_every_output_has_its_documented_shape(served: Served) -> None:
    """Masks are 28 x 28 probabilities over each box, so they do not depend on the image's size."""
    for call in CALLS:
        outputs = served.outputs[call]
        sizes = outputs["image/size"]
        largest: dict[str | int, int] = {"h": sizes[:, 0].max(), "w": sizes[:, 1].max()}
        assert set(outputs) - set(OUTPUTS) == {"masks/probability"}, call
        for name, shape in OUTPUTS.items():
            assert outputs[name].shape == (len(sizes), *(largest.get(size, size) for size in shape)), (call, name)


def test_maps_have_the_original_size_and_are_zero_beyond(served: Served) -> None:
    """The sizes are those of the rendered scenes."""
    outputs = served.outputs["image_bytes"]
    np.testing.assert_array_equal(outputs["image/size"], SIZES)
    for row, (height, width) in enumerate(SIZES):
        assert not outputs["depth/metres"][row, height:].any()
        assert not outputs["depth/metres"][row, :, width:].any()
        assert (outputs["depth/metres"][row, :height, :width] > 0).all()


def test_values_are_in_their_ranges(served: Served) -> None:
    """Normalised boxes with their corners in order, probabilities, unit normals."""
    outputs = served.outputs["image_bytes"]
    assert outputs["detection/count"].min() > 0  # otherwise the test has nothing to check
    boxes = outputs["detection/boxes"]
    assert boxes.min() >= 0 and boxes.max() <= 1
    assert (boxes[..., 2:] >= boxes[..., :2]).all()
    np.testing.assert_allclose(outputs["classification/probability"].sum(-1), 1, atol=1e-5)
    for row in range(len(SIZES)):
        lengths = np.linalg.norm(without_padding(outputs, row)["normals/normals"], axis=-1)
        np.testing.assert_allclose(lengths, 1, atol=1e-3)


@pytest.mark.parametrize("call", ["serving_default", "tf_example"])
def test_signatures_agree(served: Served, call: str) -> None:
    """The same images through other signatures."""
    for name, value in served.outputs["image_bytes"].items():
        if name == "image/status":
            assert value.tolist() == served.outputs[call][name].tolist() == [b"ok"] * len(SIZES)
        else:
            np.testing.assert_allclose(served.outputs[call][name], value, atol=1e-4, err_msg=name)


def test_alone_as_in_a_mixed_batch(served: Served) -> None:
    """Neither padding, nor other images, nor a decoded tensor as input change an image's values."""
    mixed = served.outputs["image_bytes"]
    pairs = [(served.outputs[f"alone-{row}"], 0, row) for row in range(len(SIZES))]
    pairs += [(served.outputs["tensor-one"], 0, 0), *((served.outputs["image_tensor"], i, 0) for i in range(3))]
    for outputs, row, of_mixed in pairs:
        expected = without_padding(mixed, of_mixed)
        for name, value in without_padding(outputs, row).items():
            if name != "image/status":
                np.testing.assert_allclose(value, expected[name], atol=1e-3, err_msg=name)


def test_a_bad_image_costs_its_own_row(served: Served) -> None:
    """The first and the last image are as without the four between them, which have a reason and zeros."""
    outputs, good = served.outputs["bad"], served.outputs["image_bytes"]
    assert len(outputs["image/size"]) == len(BAD) + 3
    rows = {0: 0, len(BAD) + 2: 1}  # row -> that of the batch of good images
    for row, expected in rows.items():
        for name, value in without_padding(outputs, row).items():
            if name == "image/status":
                assert value == b"ok"
            else:
                np.testing.assert_allclose(value, without_padding(good, expected)[name], atol=1e-3, err_msg=name)
    for row in set(range(len(BAD) + 3)) - set(rows):
        assert outputs["image/status"][row] == screening.UNREADABLE.encode()
        assert not any(value[row].any() for name, value in outputs.items() if name != "image/status")
    assert outputs["depth/metres"].shape[1:] == (128, 144)  # padded to the images that are served


def test_a_bad_record_costs_its_own_row(served: Served) -> None:
    assert served.outputs["bad-records"]["image/status"].tolist() == [screening.UNREADABLE.encode(), b"ok"]


def test_a_batch_without_a_good_image(served: Served) -> None:
    """Maps then have no pixels."""
    outputs = served.outputs["only-bad"]
    assert outputs["normals/normals"].shape == (2, 0, 0, 3)
    assert outputs["detection/boxes"].shape == (2, 6, 4)


@pytest.mark.parametrize("call", ["empty", "empty-tensor"])
def test_a_batch_without_images_has_outputs_without_rows(served: Served, call: str) -> None:
    outputs = served.outputs[call]
    assert set(outputs) == set(served.outputs["image_bytes"])
    assert {len(value) for value in outputs.values()} == {0}
    assert outputs["detection/boxes"].shape == (0, 6, 4)


def test_served_predictions_are_the_predictions_of_must_tf(served: Served, tiny: Tiny) -> None:
    """After `keep`, they are the labels that evaluation and labelling make."""
    trained = restore.load(tiny.run)
    assert served.about["teacher_id"] == trained.id and served.about["step"] == 2
    configs = enabled(trained.config)
    reader = Reader(discover(), {}, trained.config.input_size)
    restorer = Restorer({name: discover()[name] for name in configs}, configs, trained.config.input_size)
    for row, serialized in enumerate(served.records):
        image = record.decode_image(encoded(serialized))
        view = reader.view(image, geometry.fit(tf.shape(image)[:2], 128), tf.constant(0, tf.int64))
        batch = tf.nest.map_structure(lambda x: x[None], view)
        predicted = trained.model(batch, training=False)["predictions"]
        first = tf.nest.map_structure(lambda x: x[0], predicted)
        expected = restorer.labels(first, view["image_info"].numpy(), "x")
        own = served.outputs[f"alone-{row}"]
        for task, labels in expected.items():
            parts: dict[str, np.ndarray] = {}
            for part in (*discover()[task].needs, task):  # masks are served without the outputs of detection
                parts |= {name.split("/")[1]: value[0] for name, value in own.items() if name.startswith(part + "/")}
            kept = discover()[task].keep(parts, ImageInfo("x", *SIZES[row]), configs[task])
            assert kept.keys() == labels.keys()
            for key, value in labels.items():
                assert_same(kept[key], value, f"{task}/{key}")


def assert_same(value: Any, expected: Any, name: str) -> None:
    """Checks that arrays are close. Masks may differ in pixels with a probability near 1/2, classes in one of 500."""
    if isinstance(expected, list):
        assert [mask.shape for mask in value] == [mask.shape for mask in expected], name
        assert all(np.mean(a != b) < 0.02 for a, b in zip(value, expected, strict=True)), name
    elif np.issubdtype(np.asarray(expected).dtype, np.integer):
        assert np.mean(value != expected) < 0.002, name
    else:
        # The area of a mask counts its pixels, which may differ.
        np.testing.assert_allclose(value, expected, rtol=0.02 if name.endswith("/area") else 0, atol=1e-3, err_msg=name)


def test_clients_get_the_names_of_the_classes(served: Served) -> None:
    """must_tf.json in the export has them."""
    assert served.about["input_size"] == 128
    assert served.about["classes"]["detection"] == ["ball", "box", "cylinder", "cone"]
