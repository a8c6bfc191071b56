"""Model Garden exports as teachers: a real one for classification, and hand-made ones with a detector's outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import yaml
from official.core import exp_factory
from official.vision import configs  # noqa: F401  # registers the experiments
from official.vision.serving import export_saved_model_lib

from must_tf.common.errors import UserError
from must_tf.tasks.masks.labels import paste
from tests.support.teaching import red_slope, save, write_adapter
from tests.support.tiny import image_bytes
from tfrecords_tools import teachers

SIZE = (64, 96)  # of the network's input
HEIGHT, WIDTH = 100, 300
RED = (20, 45, 60, 210)  # rows 20..45 and columns 60..210 are red; the detector finds them


def detector(
    folder: Path, keep_aspect_ratio: bool = True, says: tuple[int, int] = SIZE, normalised: bool = False
) -> str:
    """Writes a model like MG's Mask R-CNN export: it resizes to 64 x 96 and finds the red rectangle, as class 2.

    Boxes are in pixels of the resized image, or relative to the input; image_info tells the scale.
    """

    def answer(images: tf.Tensor) -> dict[str, tf.Tensor]:
        size = tf.cast(tf.shape(images)[1:3], tf.float32)
        scale = tf.constant(SIZE, tf.float32) / size
        scale = tf.reduce_min(scale) * tf.ones([2]) if keep_aspect_ratio else scale
        resized = tf.image.resize(tf.cast(images, tf.float32), tf.cast(tf.round(size * scale), tf.int32))
        red = (resized[..., 0] > 200) & (resized[..., 1] < 90)
        boxes = tf.map_fn(_around, red, fn_output_signature=tf.TensorSpec([4], tf.float32))
        if normalised:
            boxes = tf.clip_by_value(boxes / tf.tile(scale, [2]) / tf.tile(size, [2]), 0.0, 1.0)
        batch = tf.shape(images)[0]
        info = tf.stack([size, tf.constant(SIZE, tf.float32), scale, tf.zeros([2])])
        return {
            "detection_boxes": tf.stack([boxes, tf.zeros_like(boxes)], axis=1),
            "detection_scores": tf.repeat([[0.75, 0.0]], batch, axis=0),
            "detection_classes": tf.repeat([[2, 0]], batch, axis=0),
            "num_detections": tf.ones([batch], tf.int32),
            "detection_masks": tf.ones([batch, 2, 28, 28]) * tf.cast(tf.range(28) < 14, tf.float32),
            "image_info": tf.repeat(info[None], batch, axis=0),
        }

    save(folder / "saved_model", answer, [None, None, None, 3], tf.uint8)
    params = {"model": {"num_classes": 3, "input_size": [*says, 3]}}
    parser = {"train_data": {"parser": {"keep_aspect_ratio": keep_aspect_ratio}}}
    exported = {"export_config": {"output_normalized_coordinates": True}} if normalised else {}
    (folder / "params.yaml").write_text(yaml.safe_dump({"task": params | parser | exported, "trainer": {}}))
    return str(folder)


def _around(found: tf.Tensor) -> tf.Tensor:
    """Returns the box [4] around the True pixels of a mask [h, w]."""
    places = tf.cast(tf.where(found), tf.float32)
    return tf.concat([tf.reduce_min(places, 0), tf.reduce_max(places, 0) + 1.0], 0)


def photo() -> np.ndarray:
    """Returns a grey image with a red rectangle that is not in the middle."""
    image = np.full([HEIGHT, WIDTH, 3], 110, np.uint8)
    image[RED[0] : RED[1], RED[2] : RED[3]] = (255, 0, 0)
    return image


def named(folder: Path, names: list[str], **more: Any) -> str:
    """Writes an adapter file that names the classes of the export in `folder`/export."""
    return write_adapter(folder / "named.yaml", {"model": "export", "classes": {"detection": names}} | more)


@pytest.mark.parametrize(
    ("keep_aspect_ratio", "normalised"), [(True, False), (False, False), (True, True), (False, True)]
)
def test_boxes_and_masks_of_a_detector(tmp_path: Path, keep_aspect_ratio: bool, normalised: bool) -> None:
    detector(tmp_path / "export", keep_aspect_ratio, normalised=normalised)
    description = teachers.describe(named(tmp_path, ["cat", "dog"]), ["detection", "masks"])
    assert description.about.classes == {"detection": ["cat", "dog"], "masks": ["cat", "dog"]}
    assert description.about.facts["kind"] == "Model Garden export" and description.about.facts["input_size"] == [
        64,
        96,
    ]
    teacher = description.load()
    assert teacher.frame.how == ("fit" if keep_aspect_ratio else "stretch")  # like in the network's training
    found = teachers.label(teacher, [tf.constant(photo())], ["x"])[0]["masks"]
    expected = np.array([[RED[0] / HEIGHT, RED[2] / WIDTH, RED[1] / HEIGHT, RED[3] / WIDTH]])
    np.testing.assert_allclose(found["boxes"], expected, atol=1.6 / 32)  # the fitted image has 32 rows
    assert found["classes"].tolist() == [2] and found["scores"].tolist() == [0.75]
    (mask,) = paste(found, HEIGHT, WIDTH)
    rows, columns = np.nonzero(mask)
    assert abs(rows.min() - 20) < 6 and abs(rows.max() - 45) < 6
    assert abs(columns.min() - 60) < 6 and abs(columns.max() - (60 + 210) / 2) < 6  # the left half of the box


def test_an_export_of_another_size_than_its_params_say(tmp_path: Path) -> None:
    """An error, because boxes would be misplaced. With the size in the adapter file they are right."""
    detector(tmp_path / "export", says=(48, 48))
    teacher = teachers.describe(named(tmp_path, ["cat", "dog"]), ["detection"]).load()
    with pytest.raises(UserError, match=r"exported for input size \[64, 96\], not \[48, 48\].*input: {size: \[64, 96"):
        teachers.label(teacher, [tf.constant(photo())], ["x"])
    teacher = teachers.describe(named(tmp_path, ["cat", "dog"], input={"size": [64, 96]}), ["detection"]).load()
    found = teachers.label(teacher, [tf.constant(photo())], ["x"])[0]["detection"]
    np.testing.assert_allclose(found["boxes"], [[0.2, 0.2, 0.45, 0.7]], atol=0.05)


def test_normalised_boxes_without_params(tmp_path: Path) -> None:
    """Read as pixels, all boxes would lie in one corner."""
    detector(tmp_path / "export", normalised=True)
    (tmp_path / "export" / "params.yaml").unlink()
    adapter = named(tmp_path, ["cat", "dog"], input={"size": [64, 96]})
    teacher = teachers.describe(adapter, ["detection"]).load()
    with pytest.raises(
        UserError, match=r"'x': output 'detection_boxes' lies within one pixel.*coordinates: normalised"
    ):
        teachers.label(teacher, [tf.constant(photo())], ["x"])


def test_adapter_keys_that_an_export_does_not_use(tmp_path: Path) -> None:
    """An export has its own normalisation, so these keys would have no effect."""
    detector(tmp_path / "export")
    given = {"size": [64, 96], "mean": [0.5, 0.5, 0.5], "layout": "NCHW"}
    with pytest.raises(UserError, match=r"named.yaml: .* does not use input.layout, input.mean. Remove"):
        teachers.describe(named(tmp_path, ["cat", "dog"], input=given), ["detection"])
    with pytest.raises(UserError, match="does not use signature"):
        teachers.describe(named(tmp_path, ["cat", "dog"], signature="other"), ["detection"])


def test_the_id_is_the_same_for_any_of_its_tasks(tmp_path: Path) -> None:
    detector(tmp_path / "export")
    adapter = named(tmp_path, ["cat", "dog"])
    ids = {teachers.describe(adapter, tasks).about.id for tasks in (["detection"], ["detection", "masks"])}
    assert len(ids) == 1


def test_names_are_asked_for_and_counted(tmp_path: Path) -> None:
    export = detector(tmp_path / "export")
    with pytest.raises(UserError, match=r"`model: .*export` and `classes: {detection: names.txt}`, write 2 names"):
        teachers.describe(export, ["detection"])
    with pytest.raises(
        UserError, match=r"classes.detection has 3 names, but the model has 2 classes \(without the backgr"
    ):
        teachers.describe(named(tmp_path, ["a", "b", "c"]), ["detection"])
    with pytest.raises(UserError, match=r"cannot label depth. It can label detection, masks"):
        teachers.describe(export, ["depth"])


def test_no_params_and_no_nms(tmp_path: Path) -> None:
    detector(tmp_path / "export")
    (tmp_path / "export" / "params.yaml").unlink()
    with pytest.raises(UserError, match=r"no params.yaml.*input: {size: \[height, width\]}"):
        teachers.describe(named(tmp_path, ["cat", "dog"]), ["detection"])
    save(tmp_path / "raw", lambda images: {"decoded_boxes": images, "decoded_box_scores": images}, [None, 8, 8, 3])
    with pytest.raises(UserError, match=r"exported without NMS .*adapter file"):
        teachers.describe(str(tmp_path / "raw"), ["detection"])


def test_a_real_export_for_image_bytes_labels_what_it_serves(tmp_path: Path) -> None:
    """It crops 0.875 of the centre and resizes that to 64: of an image with 74 rows exactly 64 of its pixels."""
    params = exp_factory.get_exp_config("resnet_imagenet")
    params.task.model.num_classes, params.task.model.input_size = 3, [64, 64, 3]
    params.task.model.backbone.resnet.model_id, params.task.model.backbone.resnet.depth_multiplier = 10, 0.25
    export = str(tmp_path / "export")
    export_saved_model_lib.export_inference_graph("image_bytes", None, [64, 64], params, None, export)
    adapter = {"model": "export", "classes": {"classification": ["", "cat", "dog"]}}
    description = teachers.describe(write_adapter(tmp_path / "named.yaml", adapter), ["classification"])
    image = red_slope(74, 100)
    found = teachers.label(description.load(), [tf.constant(image)] * 2, ["x", "y"])[1]["classification"]
    served = tf.saved_model.load(export).signatures["serving_default"](inputs=tf.constant([image_bytes(image)]))
    cat, dog = served["probs"].numpy()[0, 1:]  # id 0 is not a class here
    np.testing.assert_allclose(found["probability"], [cat / (cat + dog), dog / (cat + dog)], atol=1e-5)
    assert description.about.facts["input_size"] == [64, 64]
