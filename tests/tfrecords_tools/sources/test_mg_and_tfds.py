"""Records in other formats: written by Model Garden's own code and by TFDS."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tensorflow as tf
from official.vision.data import create_coco_tf_record

from must_tf.common.errors import UserError
from must_tf.tasks.masks.labels import paste
from tests.support.converting import converted, dump, noise, save
from tests.support.datasets.mg_records import boxes, names, record
from tests.support.datasets.must_tiny import HEIGHT, PETS, WIDTH, MustTiny
from tests.support.tiny import image_bytes
from tfrecords_tools.sources import tfds as tfds_source
from tfrecords_tools.sources.published.mg import Mg
from tfrecords_tools.sources.tfds import Tfds

PIXEL = 1e-4  # float32 of a coordinate that is divided by the side and multiplied by it again
CATEGORIES = [{"id": 18, "name": "dog"}, {"id": 1, "name": "person"}]


def by_model_garden(folder: Path) -> str:
    """Writes a record with full-image masks using Model Garden's COCO converter; returns the pattern."""
    save(folder / "a.jpg", noise(HEIGHT, WIDTH))
    boxes: list[dict[str, Any]] = [
        {"category_id": 18, "bbox": [5, 6, 10, 8], "area": 80, "iscrowd": 0},
        {"category_id": 1, "bbox": [20, 2, 12, 20], "area": 99.5, "iscrowd": 0},
    ]
    for number, box in enumerate(boxes):
        x, y, w, h = box["bbox"]
        box |= {"id": number, "image_id": 7, "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]]}
    image = {"id": 7, "file_name": "a.jpg", "height": HEIGHT, "width": WIDTH}
    example, _ = create_coco_tf_record.create_tf_example(
        image, [str(folder)], bbox_annotations=boxes, id_to_name_map={1: "person", 18: "dog"}, include_masks=True
    )
    with tf.io.TFRecordWriter(str(folder / "coco-00000.tfrecord")) as writer:
        writer.write(example.SerializeToString())
    return str(folder / "coco-*.tfrecord")


def test_model_gardens_own_coco_record(tmp_path: Path) -> None:
    pattern = by_model_garden(tmp_path)
    names = dump(tmp_path / "instances.json", {"images": [], "annotations": [], "categories": CATEGORIES})
    result = converted(Mg(pattern, (("detection", names),)), tmp_path / "out")
    image_record = result.records["7"]
    assert set(image_record.labels) == {"detection", "masks"}
    labels = image_record.labels["masks"]
    boxes = labels["boxes"] * np.array([HEIGHT, WIDTH] * 2)
    np.testing.assert_allclose(boxes, [[6, 5, 14, 15], [2, 20, 22, 32]], atol=PIXEL)
    assert labels["classes"].tolist() == [2, 1]  # person is 1, dog 2: places in the order of the category ids
    np.testing.assert_allclose(labels["area"], [80, 99.5])
    masks = paste(labels, HEIGHT, WIDTH)
    assert [int(mask.sum()) for mask in masks] == [80, 240]
    assert masks[0, 6:14, 5:15].all() and masks[1, 2:22, 20:32].all()
    assert (result.counts(), result.notes()) == ({}, {})


JPEG = image_bytes(noise(HEIGHT, WIDTH), ".jpg")


@pytest.mark.parametrize(("label", "first", "wanted"), [(0, 0, 0), (2, 0, 2), (1, 1, 0), (3, 1, 2)])
def test_model_gardens_classification_counts_from_zero_or_one(
    label: int, first: int, wanted: int, tmp_path: Path
) -> None:
    record(tmp_path / "a.tfrecord", image__encoded=JPEG, image__class__label=label)
    source = Mg(str(tmp_path / "a.tfrecord"), (("", names(tmp_path, "a", "b", "c")),), first)
    image_record = converted(source, tmp_path / "out").records["a.tfrecord__0"]  # it has no id of its own
    assert image_record.labels["classification"]["probability"].tolist() == np.eye(3)[wanted].tolist()
    assert image_record.stored == JPEG
    assert source.find().classes == {"classification": ("a", "b", "c")}  # of the tasks that the records have


def test_model_gardens_segmentation(tmp_path: Path) -> None:
    ids = np.zeros([HEIGHT, WIDTH], np.uint8)
    ids[:, 10:20], ids[:, 20:] = 1, 255
    png = cv2.imencode(".png", ids)[1].tobytes()
    record(tmp_path / "a.tfrecord", image__encoded=JPEG, image__segmentation__class__encoded=png)
    source = Mg(str(tmp_path / "a.tfrecord"), (("segmentation", names(tmp_path, "road", "sky")),))
    classes = converted(source, tmp_path / "out").records["a.tfrecord__0"].labels["segmentation"]["classes"]
    np.testing.assert_array_equal(classes, ids)
    one = Mg(str(tmp_path / "a.tfrecord"), (("segmentation", names(tmp_path, "road")),))
    with pytest.raises(UserError, match=r"a\.tfrecord, record 0: value 1 on 300 pixels is not one of the 1 classes"):
        converted(one, tmp_path / "out2")


def test_model_gardens_loose_objects_have_one_outcome_each(tmp_path: Path) -> None:
    mask = np.zeros([HEIGHT, WIDTH], np.uint8)
    mask[:15, :20] = 1
    png = cv2.imencode(".png", mask)[1].tobytes()
    corners = [(-0.1, 0, 0.5, 0.5), (0.5, 0.5, 0.4, 0.6), (0.2, 0.2, 0.2, 0.4), (0, 0, 1, 1), (0, 0, 1, 1)]
    record(
        tmp_path / "a.tfrecord",
        image__encoded=JPEG,
        image__source_id=b"x",
        image__object__class__label=[1, 1, 1, 9, 1],
        image__object__mask=[png, png, png, png, b"no PNG"],
        image__object__is_crowd=[0, 0, 0, 0, 1],
        **boxes(*corners),
    )
    result = converted(Mg(str(tmp_path / "a.tfrecord"), (("", names(tmp_path, "a")),)), tmp_path / "out")
    labels = result.records["x"].labels["masks"]
    np.testing.assert_allclose(labels["boxes"], [[0.0, 0.0, 0.5, 0.5], [0.0, 0.0, 1.0, 1.0]], atol=1e-6)
    assert (labels["crops"][0].all(), labels["crops"][1].any()) == (True, False)
    assert labels["mask_scores"].tolist() == [1.0, -1.0]
    assert labels["area"].tolist() == [15 * 20, HEIGHT * WIDTH]
    assert (labels["classes"].tolist(), labels["is_crowd"].tolist()) == ([1, 1], [False, True])
    assert result.counts() == {
        "object: box has a negative side": 1,
        "object: box has no area": 1,
        "object: its class is not in the list": 1,
    }
    assert result.notes() == {"object: box cut to the image": 1, "object: mask cannot be read, box only": 1}


def test_model_garden_mistakes_are_reported_before_the_first_image(tmp_path: Path) -> None:
    path, named = str(tmp_path / "a.tfrecord"), (("", names(tmp_path, "a", "b")),)
    record(tmp_path / "a.tfrecord", image__encoded=JPEG, image__class__label=2)
    mistakes = (
        (Mg(str(tmp_path / "no*"), named), "does not match any file"),
        (Mg(path, (("masks", named[0][1]),)), "classification, detection, segmentation"),
        (Mg(path, (("detection", named[0][1]),)), "the first records have no image/object/class/label"),
        (Mg(named[0][1], named), "is not a complete, uncompressed TFRecord file"),
        (Mg(path, ()), "the records have none"),
    )
    for source, message in mistakes:
        with pytest.raises(UserError, match=message):
            source.find()
    with pytest.raises(UserError, match=r"label is \[2\], but one of 0 to 1 is expected. Check --first-class"):
        converted(Mg(path, named), tmp_path / "out")
    record(tmp_path / "a.tfrecord", encoded=JPEG)
    with pytest.raises(UserError, match="record 0: it has no image/encoded, but encoded"):
        Mg(path, named).find()
    record(tmp_path / "a.tfrecord", image__encoded=JPEG, image__class__label=0, image__classification__origin=b"real:x")
    with pytest.raises(UserError, match="must_tf's own records"):
        Mg(path, named).find()
    (tmp_path / "a.tfrecord").write_bytes((tmp_path / "a.tfrecord").read_bytes()[:-1])
    with pytest.raises(UserError, match="not a complete"):
        Mg(path, named).find()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder in which TFDS prepared the dataset."""
    folder = str(tmp_path_factory.mktemp("tensorflow_datasets"))
    MustTiny(data_dir=folder).download_and_prepare()
    return folder


MAP = (("image", "photo/jpeg"), ("classification", "label"), ("detection", "objects"), ("segmentation", "pixels"))


def test_tfds_features_become_labels(prepared: str, tmp_path: Path) -> None:
    three = (("segmentation", names(tmp_path, "a", "b", "c")),)
    source = Tfds("must_tiny", "train", prepared, (*MAP, ("depth", "depth")), three, 0.001)
    result = converted(source, tmp_path / "out")
    assert len(result.records) == 3
    seen = 0
    for image_record in result.records.values():
        number = next(n for n in range(3) if np.array_equal(image_record.image, noise(HEIGHT, WIDTH, n)))
        seen += number
        np.testing.assert_allclose(image_record.labels["depth"]["metres"], 1.5 + number / 1000, atol=1e-6)
        np.testing.assert_array_equal(image_record.labels["segmentation"]["classes"], PETS[..., 0])
        if number == 2:  # its label is withheld, its list of objects is empty
            assert "classification" not in image_record.labels
            assert len(image_record.labels["detection"]["boxes"]) == 0
            continue
        assert image_record.labels["classification"]["probability"].tolist() == np.eye(2)[number].tolist()
        wanted = [(0.1, 0.2, 0.5, 0.6), (0.5, 0.5, 1.0, 1.0)][: number + 1]
        np.testing.assert_allclose(image_record.labels["detection"]["boxes"], wanted, atol=1e-6)
        assert image_record.labels["detection"]["classes"].tolist() == [1, 2][: number + 1]
        assert image_record.labels["detection"]["is_crowd"].tolist() == [False, True][: number + 1]
    assert seen == 3
    classes = result.outcome.manifest.classes
    assert classes == {"classification": ["cat", "dog"], "detection": ["car", "bus"], "segmentation": ["a", "b", "c"]}
    assert result.outcome.manifest.origins["detection"] == {"real:tfds-must_tiny": 3}


def test_tfds_order_and_parts_of_splits_are_those_of_the_files(prepared: str) -> None:
    whole = Tfds("must_tiny", "train", prepared, MAP[:2]).find().items
    again = Tfds("must_tiny", "train[1:]", prepared, MAP[:2]).find().items
    assert [item.source_id for item in again] == [item.source_id for item in whole][1:]
    ids = [f"must_tiny-train.tfrecord-00000-of-00001__{number}" for number in range(3)]
    assert [item.source_id for item in whole] == ids


def test_tfds_files_of_another_format_are_refused(tmp_path: Path) -> None:
    MustTiny(data_dir=str(tmp_path), file_format="array_record").download_and_prepare()
    with pytest.raises(UserError, match="Prepare it as tfrecord"):
        Tfds("must_tiny", "train", str(tmp_path), MAP[:2]).find()


def test_tfds_mistakes_are_reported_before_the_first_image(prepared: str, tmp_path: Path) -> None:
    mistakes = (
        (Tfds("must_tny", "train", prepared, MAP), "--name must_tny"),
        (Tfds("must_tiny", "test", prepared, MAP[:2]), "Choose from train"),
        (Tfds("must_tiny", "train", prepared, (*MAP, ("depth", "dpeth"))), "Did you mean 'depth'"),
        (
            Tfds("must_tiny", "train", prepared, (("image", "photo/jpeg"), ("clasification", "label"))),
            "'classification'",
        ),
        (Tfds("must_tiny", "train", prepared, MAP[:1]), "which feature holds which label"),
        (Tfds("must_tiny", "train", prepared, MAP), "Give --classes segmentation=FILE"),
        (Tfds("must_tiny", "train", prepared, (MAP[0], ("detection", "label"))), "dicts with bbox and label"),
        (Tfds("must_tiny", "train", str(tmp_path / "no"), MAP), "is not a folder"),
    )
    for source, message in mistakes:
        with pytest.raises(UserError, match=message):
            source.find()
    two = (("segmentation", names(tmp_path, "a", "b")),)
    with pytest.raises(UserError, match=r"record 0: value 2 on 400 pixels is not one of the 2 classes"):
        converted(Tfds("must_tiny", "train", prepared, MAP, two), tmp_path / "out")


def test_tfds_boxes_follow_the_same_rules(tmp_path: Path) -> None:
    bbox = np.array([[0.5, 0.5, 1.5, 1.0], [0.6, 0.1, 0.5, 0.2], [0.1, 0.1, 0.1, 0.2]], np.float32)
    columns = {"bbox": bbox, "label": np.array([0, 1, 1])}
    account = tfds_source.Account()
    notes = tfds_source.ObjectNotes(account, "a")
    labels = tfds_source._objects(columns, "", 2, tfds_source.ImageInfo("a", HEIGHT, WIDTH), notes)
    np.testing.assert_allclose(labels["boxes"], [[0.5, 0.5, 1, 1]])
    assert {key: value["count"] for key, value in account.dropped.content.items()} == {
        "object: box has a negative side": 1,
        "object: box has no area": 1,
    }
    assert json.dumps(account.notes.content).count("cut to the image") == 1
