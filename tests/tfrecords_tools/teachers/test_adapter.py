"""SavedModels label by an adapter file: hand-made models, whose labels are known in the original image's frame."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from must_tf.common.errors import UserError
from must_tf.data import manifest, record
from must_tf.spec import Labels
from must_tf.tasks import discover
from must_tf.tasks.masks.labels import paste
from tests.support.teaching import midas, red_slope, save, unlabelled, write_adapter
from tests.support.tiny import ROOT, write_set
from tfrecords_tools import teachers
from tfrecords_tools.label.arguments import parse_request
from tfrecords_tools.label.run import label_records
from tfrecords_tools.teachers.detections import DetectedObjects
from tfrecords_tools.teachers.frames import InputFrame
from tfrecords_tools.teachers.names import ClassNames
from tfrecords_tools.teachers.outputs import DepthMap
from tfrecords_tools.teachers.recipe import InputFormat, id_text

MIDAS = ROOT / "experiments" / "adapters" / "midas.yaml"
SIZES = ((90, 160), (200, 60), (31, 33), (256, 256))  # height, width
# The labelled image has 100 x 300 pixels. Fitted into 64 x 96 it becomes 32 x 96, stretched 64 x 96.
HEIGHT, WIDTH = 100, 300
SHOWN = {"fit": (32, 96), "stretch": (64, 96)}


def labelled(adapter: str, image: np.ndarray, *tasks: str) -> dict[str, Labels]:
    """Labels one image."""
    teacher = teachers.describe(adapter, tasks).load()
    return teachers.label(teacher, [tf.constant(image)], ["one"])[0]


def adapted(
    folder: Path, resize: str, outputs: dict[str, Any], classes: dict[str, Any] | None = None, **inputs: Any
) -> str:
    """Writes an adapter for the model in `folder`/model with input size 64 x 96."""
    content = {"model": "model", "input": {"size": [64, 96], "resize": resize} | inputs, "outputs": outputs}
    return write_adapter(folder / "adapter.yaml", content | ({"classes": classes} if classes else {}))


def test_the_documented_midas_adapter_labels_relative_depth(tmp_path: Path) -> None:
    """Redder is nearer, in each image's own frame, whatever its size."""
    midas(tmp_path / "midas_v21_small")
    adapter = shutil.copy(MIDAS, tmp_path / "midas.yaml")
    images = [red_slope(*size) for size in SIZES]
    source = write_set(tmp_path / "in", [[unlabelled(i, one) for i, one in enumerate(images)]], ())
    request = parse_request(source, [f"depth={adapter}"])
    label_records(request, str(tmp_path / "out"), ["test"])
    records = list(tf.data.TFRecordDataset(tf.io.gfile.glob(str(tmp_path / "out/*.tfrecord"))).as_numpy_iterator())
    for one, image in zip(records, images, strict=True):
        found = record.read_labels(one, discover(), {"depth": discover()["depth"].Config()})["depth"]
        assert found.origin == request.teachers[0].about.origin
        assert found.labels["metres"].max() == 0 and found.labels["inverse_depth"].shape == image.shape[:2]
        # 700 / 255 per grey level, with an unknown shift.
        nearness = found.labels["inverse_depth"] - found.labels["inverse_depth"].mean()
        redness = image[..., 0] - image[..., 0].mean()
        np.testing.assert_allclose(nearness, redness * 700 / 255, atol=2.5 * 700 / 255)
    assert manifest.read(str(tmp_path / "out")).limits == {"depth": {"relative": 4}}


def test_facts_for_the_manifest(tmp_path: Path) -> None:
    midas(tmp_path / "midas_v21_small")
    description = teachers.describe(str(shutil.copy(MIDAS, tmp_path / "midas.yaml")), ["depth"])
    assert pickle.loads(pickle.dumps(description)) == description  # workers load their own copy
    assert description.about.facts == {
        "kind": "adapter",
        "step": None,
        "input_size": [256, 256],
        "floors": {},
        "units": {"depth": "inverse depth, no unit"},
        "trained_on": {},
        "licence": "MIT, Intel ISL",
        "notes": [],
    }


def test_the_id_is_of_weights_and_meaning_not_of_the_path(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    midas(tmp_path / "a" / "midas_v21_small")
    first = teachers.describe(str(shutil.copy(MIDAS, tmp_path / "a" / "midas.yaml")), ["depth"]).about.id
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    moved = str(shutil.move(tmp_path / "b" / "midas.yaml", tmp_path / "b" / "other.yaml"))
    assert teachers.describe(moved, ["depth"]).about.id == first
    Path(moved).write_text(Path(moved).read_text() + "# a comment\n")
    assert teachers.describe(moved, ["depth"]).about.id == first
    Path(moved).write_text(Path(moved).read_text().replace("0.485", "0.5"))
    assert teachers.describe(moved, ["depth"]).about.id != first
    shutil.rmtree(tmp_path / "b" / "midas_v21_small")
    midas(tmp_path / "b" / "midas_v21_small", weight=2.0)
    shutil.copy(MIDAS, tmp_path / "b" / "midas.yaml")
    assert teachers.describe(str(tmp_path / "b" / "midas.yaml"), ["depth"]).about.id != first


def test_the_text_of_an_id_does_not_change() -> None:
    """Ids are stored with the labels: the text that is hashed keeps the class names that it once had."""
    meaning = (
        "serving_default",
        InputFrame(2, 3, "stretch"),
        InputFormat("image", batch=4),
        [("depth", DepthMap("z", "metres")), ("detection", DetectedObjects("b", "s", "c"))],
        [("detection", ClassNames(("cat",)))],
    )
    assert id_text(meaning) == (
        "('serving_default', Frame(height=2, width=3, how='stretch', antialias=True, fill=(124, 116, 104)), "
        "Entry(name='image', encoding='tensor', dtype='uint8', batch=4, channels_first=False, range=(0.0, 255.0), "
        "mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)), [('depth', DepthMap(name='z', key='metres')), "
        "('detection', Objects(boxes='b', scores='s', classes='c', number='', normalised=False, x_first=False, "
        "first_class=1, masks=''))], [('detection', Names(names=('cat',)))])"
    )


def test_new_settings_are_part_of_the_id() -> None:
    """A field that was added later stands in the text if it differs from its default."""
    assert id_text(InputFrame(2, 3, place="centre")).endswith("fill=(124, 116, 104), place='centre')")
    assert id_text(DetectedObjects("b", "s", "c", most=9)).endswith("masks='', most=9)")
    assert id_text(InputFormat("image", blue_first=True)).endswith("std=(1.0, 1.0, 1.0), blue_first=True)")


@pytest.mark.parametrize(("resize", "place"), [("fit", "top_left"), ("stretch", "top_left"), ("fit", "centre")])
def test_a_depth_gradient_comes_back_where_it_was_painted(tmp_path: Path, resize: str, place: str) -> None:
    """Cells of 4 x 4 pixels that hold their own position: 10 + row + 100 * column of the input, in metres."""

    def answer(image: tf.Tensor) -> dict[str, tf.Tensor]:
        row, column = np.mgrid[2.0:64:4, 2.0:96:4].astype(np.float32)
        return {"z": tf.tile(tf.constant(10 + row + 100 * column)[None, ..., None], [tf.shape(image)[0], 1, 1, 1])}

    save(tmp_path / "model", answer, [None, None, None, 3])
    adapter = adapted(tmp_path, resize, {"depth": {"output": "z", "means": "metres"}}, place=place)
    metres = labelled(adapter, red_slope(HEIGHT, WIDTH), "depth")["depth"]["metres"]
    above = 16 if place == "centre" else 0  # of 64 rows, the image has the 32 in the middle
    rows = above + (np.arange(HEIGHT) + 0.5) / HEIGHT * SHOWN[resize][0]
    columns = (np.arange(WIDTH) + 0.5) / WIDTH * SHOWN[resize][1]
    expected = 10 + rows[:, None] + 100 * columns[None, :]
    inside = (slice(10, 90), slice(10, 290))  # beyond the centres of the outermost cells, their values are constant
    np.testing.assert_allclose(metres[inside], expected[inside], rtol=1e-4)


@pytest.mark.parametrize("resize", ["fit", "stretch"])
def test_boxes_and_masks_come_back_in_the_images_frame(tmp_path: Path, resize: str) -> None:
    """Boxes [x0, y0, x1, y1] relative to the input, background 0, and a class without a name."""
    x0_y0_x1_y1 = [[0.5, 0.125, 1.0, 0.25], [0.0, 0.0, 0.25, 0.5], [0.1, 0.1, 0.2, 0.2], [np.nan] * 4]
    upper_left = np.zeros([4, 28, 28], np.float32)
    upper_left[:, :14, :21] = 1.0

    def answer(image: tf.Tensor) -> dict[str, tf.Tensor]:
        batch = tf.shape(image)[0]
        one = {
            "boxes": np.array(x0_y0_x1_y1, np.float32),
            "scores": np.array([0.9, 0.8, 0.7, np.nan], np.float32),
            "ids": np.array([3, 1, 2, 9], np.int32),
            "masks": upper_left,
            "number": np.array(3, np.int32),
        }
        return {name: tf.repeat(tf.constant(value)[None], batch, axis=0) for name, value in one.items()}

    save(tmp_path / "model", answer, [None, None, None, 3], tf.uint8)
    section = {"boxes": "boxes", "scores": "scores", "classes": "ids", "count": "number", "masks": "masks"}
    (tmp_path / "names.txt").write_text("cat\n\ndog\n")
    adapter = adapted(
        tmp_path,
        resize,
        {"detection": section | {"coordinates": "normalised", "order": "xyxy"}},
        {"detection": "names.txt"},
    )
    about = teachers.describe(adapter, ["detection", "masks"]).about
    assert about.classes == {"detection": ["cat", "dog"], "masks": ["cat", "dog"]}
    assert about.facts["floors"] == {"detection": 0.05, "masks": 0.05}
    found = labelled(adapter, red_slope(HEIGHT, WIDTH), "detection", "masks")["masks"]
    # Fitted, the image is the upper half of the input: 0.125 of the input is 0.25 of the image.
    down = 64 / SHOWN[resize][0]
    expected = np.array([[0.125 * down, 0.5, 0.25 * down, 1.0], [0.0, 0.0, 0.5 * down, 0.25]])
    np.testing.assert_allclose(found["boxes"], expected, atol=1e-6)
    np.testing.assert_allclose(found["scores"], [0.9, 0.8], atol=1e-6)
    assert found["classes"].tolist() == [2, 1]  # dog is the second name; the class without one is dropped
    masks = paste(found, HEIGHT, WIDTH)
    for mask, (y0, x0, y1, x1) in zip(masks, expected, strict=True):
        rows, columns = np.nonzero(mask)
        # The upper half and the left three quarters of each box.
        bounds = [rows.min() / HEIGHT, columns.min() / WIDTH, (rows.max() + 1) / HEIGHT, (columns.max() + 1) / WIDTH]
        np.testing.assert_allclose(bounds, [y0, x0, (y0 + y1) / 2, x0 + 0.75 * (x1 - x0)], atol=0.02)


def test_segmentation_without_its_background(tmp_path: Path) -> None:
    """NCHW logits: id 0 for green, 1 for blue, 2 for red. The class "" becomes ignore."""
    image = np.zeros([HEIGHT, WIDTH, 3], np.uint8)
    image[:30, :, 1], image[30:, :200, 2], image[30:, 200:, 0] = 255, 255, 255

    def answer(pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        logits = tf.gather(pixels, [1, 2, 0], axis=-1) / 10.0
        return {"logits": tf.transpose(logits, [0, 3, 1, 2])}

    save(tmp_path / "model", answer, [4, 64, 96, 3])  # half a batch at once
    section = {"output": "logits", "means": "logits", "layout": "NCHW"}
    adapter = adapted(tmp_path, "fit", {"segmentation": section}, {"segmentation": ["", "sea", "fire"]})
    found = labelled(adapter, image, "segmentation")["segmentation"]
    expected = np.full([HEIGHT, WIDTH], 255)
    expected[30:, :200], expected[30:, 200:] = 0, 1
    assert np.mean(found["classes"] != expected) < 0.03  # a pixel of the input covers 3 of the image
    assert found["classes"].shape == (HEIGHT, WIDTH) and found["confidence"][:25].max() == 0
    assert found["confidence"][60, 100] > 0.99


def test_normals_with_other_axes_and_a_distribution_with_gaps(tmp_path: Path) -> None:
    """y up and z towards the viewer become y down and z forward. The class without a name gives its share away."""

    def answer(pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        batch = tf.shape(pixels)[0]
        normal = tf.constant([0.0, 1.2, 1.6])[:, None, None] * tf.ones([batch, 3, 8, 12])
        return {"n": normal, "p": tf.repeat([[0.2, 0.6, 0.2]], batch, axis=0)}

    save(tmp_path / "model", answer, [None, 64, 96, 3])
    outputs = {"normals": {"output": "n", "axes": [1, -1, -1], "layout": "NCHW"}, "classification": {"output": "p"}}
    adapter = adapted(tmp_path, "fit", outputs, {"classification": ["", "cat", "dog"]})
    found = labelled(adapter, red_slope(HEIGHT, WIDTH), "normals", "classification")
    np.testing.assert_allclose(found["normals"]["normals"], np.full([HEIGHT, WIDTH, 3], [0, -0.6, -0.8]), atol=1e-6)
    np.testing.assert_allclose(found["classification"]["probability"], [0.75, 0.25], atol=1e-6)


def test_boxes_in_a_letterbox(tmp_path: Path) -> None:
    """Fitted into the middle, the image has rows 16 to 48 of the input. The best two of three boxes are kept."""
    boxes = np.array([[16, 0, 32, 48], [24, 48, 48, 96], [16, 0, 48, 96]], np.float32)  # y0, x0, y1, x1

    def answer(image: tf.Tensor) -> dict[str, tf.Tensor]:
        # Red is the padding's: 50 above the image, and 200 in it.
        right = tf.cast((image[:, 15, 0, 0] == 50.0) & (image[:, 16, 0, 0] == 200.0), tf.float32)
        one = {"b": boxes, "s": np.array([0.5, 0.8, 0.6], np.float32), "c": np.array([0, 1, 0], np.int32)}
        found = {name: tf.repeat(tf.constant(value)[None], tf.shape(image)[0], axis=0) for name, value in one.items()}
        return found | {"s": found["s"] * right[:, None]}

    save(tmp_path / "model", answer, [None, None, None, 3])
    section = {"boxes": "b", "scores": "s", "classes": "c", "first_class": 0, "least_score": 0.55, "most": 1}
    letterbox = {"place": "centre", "padding": [50, 114, 114]}
    photo = np.full([HEIGHT, WIDTH, 3], 200, np.uint8)
    adapter = adapted(tmp_path, "fit", {"detection": section}, {"detection": ["cat", "dog"]}, **letterbox)
    found = labelled(adapter, photo, "detection")["detection"]
    np.testing.assert_allclose(found["boxes"], [[0.25, 0.5, 1.0, 1.0]], atol=1e-6)
    assert found["classes"].tolist() == [2]
    adapter = adapted(tmp_path, "fit", {"detection": section | {"most": 0}}, {"detection": ["cat", "dog"]}, **letterbox)
    assert labelled(adapter, photo, "detection")["detection"]["scores"].tolist() == [np.float32(0.8), np.float32(0.6)]


@pytest.mark.parametrize("place", ["top_left", "centre"])
def test_class_ids_come_back_as_they_are(tmp_path: Path, place: str) -> None:
    """The model returns 0 for dark and 1 for bright pixels, 255 for the padding, and no confidence."""
    photo = np.zeros([HEIGHT, WIDTH, 3], np.uint8)
    photo[25:75, 100:150] = 240

    def answer(image: tf.Tensor) -> dict[str, tf.Tensor]:
        ids = tf.where(image[..., 0] > 200, 1, 0)
        return {"ids": tf.cast(tf.where(image[..., 0] == 114.0, 255, ids), tf.int64)}

    save(tmp_path / "model", answer, [None, None, None, 3])
    classes = {"segmentation": ["dark", "bright"]}
    section = {"segmentation": {"output": "ids", "means": "classes"}}
    adapter = adapted(tmp_path, "fit", section, classes, place=place, padding=114)
    teacher = teachers.describe(adapter, ["segmentation"]).load()
    found = teachers.label(teacher, [tf.constant(photo)], ["one"])[0]["segmentation"]
    assert np.mean(found["classes"] != (photo[..., 0] > 0)) < 0.01  # a pixel of the input covers 3 of the image
    assert (found["confidence"] == 1).all()
    seen = teachers.view(tf.constant(photo), teacher.frame)
    rows = teacher.forward(teachers.stacked([seen.pixels]), teachers.stacked([seen.info]))
    half = teacher.labels({"ids": rows["ids"][0]}, seen.info, "one", 2)["segmentation"]["classes"]
    assert half.shape == (-(-HEIGHT // 2), -(-WIDTH // 2))
    assert np.mean(half != (photo[::2, ::2, 0] > 0)) < 0.02
    photo = photo[
        :-1
    ]  # the middle of the last row's 2 x 2 pixels is on its lower border, beyond which there is padding
    seen = teachers.view(tf.constant(photo), teacher.frame)
    rows = teacher.forward(teachers.stacked([seen.pixels]), teachers.stacked([seen.info]))
    half = teacher.labels({"ids": rows["ids"][0]}, seen.info, "one", 2)["segmentation"]["classes"]
    assert (half[-1] == 0).all()
    ids = {"ids": np.zeros([64, 96], np.int64)}
    assert teacher.notes(ids) == ["segmentation: output 'ids' has no confidence: its classes count as certain"]
    with pytest.raises(UserError, match="'ids' contains 2 instead of a whole number from 0 to 1"):
        teacher.labels({"ids": ids["ids"] + 2}, np.array([64, 96, 64, 96], np.int32), "x")


def test_a_centre_crop(tmp_path: Path) -> None:
    """Half of the shorter side of a 60 x 100 photo: rows 15 to 45 and columns 35 to 65, all of them bright."""
    photo = np.zeros([60, 100, 3], np.uint8)
    photo[15:45, 35:65] = 255

    def answer(image: tf.Tensor) -> dict[str, tf.Tensor]:
        bright = tf.reduce_mean(image, axis=[1, 2, 3])
        return {"p": tf.stack([bright, 1 - bright], axis=-1)}

    save(tmp_path / "model", answer, [None, None, None, 3])
    inputs: dict[str, Any] = {"size": [30, 30], "range": [0, 1], "crop": 0.5}
    classes = {"classification": ["bright", "dark"]}
    adapter = adapted(tmp_path, "centre", {"classification": {"output": "p"}}, classes, **inputs)
    assert labelled(adapter, photo, "classification")["classification"]["probability"].tolist() == [1.0, 0.0]
    outputs: dict[str, Any] = {"depth": {"output": "p"}}
    with pytest.raises(UserError, match="input.resize=centre shows only a part of the image, .* depth"):
        teachers.describe(adapted(tmp_path, "centre", outputs, **inputs), ["depth"])
