"""Labels of unknown size belong to the pixels as stored: EXIF turns neither the image nor its labels."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from tests.support.converting import Converted, converted, dump
from tests.support.datasets.mg_records import boxes, names, record
from tests.support.image_files import JPEG_LEVELS, ORIENTATION, PHOTO, file, pillow
from tfrecords_tools.sources.coco.coco import Coco
from tfrecords_tools.sources.mg import Mg
from tfrecords_tools.sources.tfds import Tfds
from tfrecords_tools.sources.voc import Voc

HEIGHT, WIDTH = PHOTO.shape[:2]
BOX = (0.25, 0.5, 0.75, 1.0)  # y0, x0, y1, x1: it lies elsewhere in an image that is turned
IDS = np.arange(HEIGHT * WIDTH, dtype=np.uint8).reshape(HEIGHT, WIDTH) % 2
TURNED = (6, 3)  # clockwise, half a turn


def is_stored(result: Converted, data: bytes) -> bool:
    """Returns True if the record's image has the stored pixels; checks that its EXIF was removed."""
    (image_record,) = result.records.values()
    assert Image.open(io.BytesIO(image_record.stored)).getexif().get(ORIENTATION, 1) == 1
    return np.array_equal(image_record.image, pillow(data))


@pytest.mark.parametrize("orientation", TURNED)
def test_model_gardens_labels_are_on_the_stored_pixels(orientation: int, tmp_path: Path) -> None:
    data = file(PHOTO, "JPEG", orientation)
    record(
        tmp_path / "a.tfrecord",
        image__encoded=data,
        image__object__class__label=[1],
        image__segmentation__class__encoded=cv2.imencode(".png", IDS)[1].tobytes(),
        **boxes(BOX),
    )
    result = converted(Mg(str(tmp_path / "a.tfrecord"), (("", names(tmp_path, "a", "b")),)), tmp_path / "out")
    assert (is_stored(result, data), result.counts()) == (True, {})
    (image_record,) = result.records.values()
    np.testing.assert_allclose(image_record.labels["detection"]["boxes"], [BOX], atol=1e-6)
    np.testing.assert_array_equal(image_record.labels["segmentation"]["classes"], IDS)


@pytest.mark.parametrize("orientation", TURNED)
def test_model_gardens_images_without_a_place_in_their_labels_are_turned(orientation: int, tmp_path: Path) -> None:
    data = file(PHOTO, "JPEG", orientation)
    record(tmp_path / "a.tfrecord", image__encoded=data, image__class__label=0)
    result = converted(Mg(str(tmp_path / "a.tfrecord"), (("", names(tmp_path, "a", "b")),)), tmp_path / "out")
    (image_record,) = result.records.values()
    shown = np.rot90(pillow(data), -1 if orientation == 6 else 2)
    np.testing.assert_allclose(image_record.image.astype(int), shown, atol=JPEG_LEVELS)


class MustTurned(tfds.core.GeneratorBasedBuilder):
    """A photo that EXIF turns, in one split per orientation."""

    VERSION = tfds.core.Version("1.0.0")
    url_infos: dict[str, Any] = {}  # nothing is downloaded

    def _info(self) -> tfds.core.DatasetInfo:
        objects = {"bbox": tfds.features.BBoxFeature(), "label": tfds.features.ClassLabel(names=["car", "bus"])}
        features = {
            "image": tfds.features.Image(encoding_format="jpeg"),
            "label": tfds.features.ClassLabel(names=["cat", "dog"]),
            "objects": tfds.features.Sequence(objects),
            "pixels": tfds.features.LabeledImage(labels=["a", "b"], shape=(None, None, 1)),
        }
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {f"turned{orientation}": self._generate_examples(orientation) for orientation in TURNED}

    def _generate_examples(self, orientation: int) -> Any:
        yield (
            orientation,
            {
                "image": io.BytesIO(file(PHOTO, "JPEG", orientation)),
                "label": 0,
                "objects": [{"bbox": tfds.features.BBox(*BOX), "label": 0}],
                "pixels": IDS[..., None],
            },
        )


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder in which TFDS prepared the photos."""
    folder = str(tmp_path_factory.mktemp("turned"))
    MustTurned(data_dir=folder).download_and_prepare()
    return folder


PLACED = (("detection", "objects"), ("segmentation", "pixels"))


@pytest.mark.parametrize("orientation", TURNED)
def test_tfds_labels_are_on_the_stored_pixels(orientation: int, prepared: str, tmp_path: Path) -> None:
    data = file(PHOTO, "JPEG", orientation)
    result = converted(Tfds("must_turned", f"turned{orientation}", prepared, PLACED), tmp_path / "out")
    assert (is_stored(result, data), result.counts()) == (True, {})
    (image_record,) = result.records.values()
    np.testing.assert_allclose(image_record.labels["detection"]["boxes"], [BOX], atol=1e-6)
    np.testing.assert_array_equal(image_record.labels["segmentation"]["classes"], IDS)
    of_class = Tfds("must_turned", f"turned{orientation}", prepared, (("classification", "label"),))
    assert not is_stored(converted(of_class, tmp_path / "class"), data)


@pytest.mark.parametrize("objects", [0, 1])
def test_voc_without_a_size(objects: int, tmp_path: Path) -> None:
    data = file(PHOTO, "JPEG", 6)
    box = "<bndbox><xmin>33</xmin><ymin>11</ymin><xmax>64</xmax><ymax>30</ymax></bndbox>"
    written = f"<object><name>cat</name>{box}</object>" * objects
    files = {
        "ImageSets/Main/train.txt": "a",
        "Annotations/a.xml": f"<annotation><size><width>0</width><height>0</height></size>{written}</annotation>",
    }
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(content)
    (tmp_path / "JPEGImages").mkdir()
    (tmp_path / "JPEGImages" / "a.jpg").write_bytes(data)
    result = converted(Voc(str(tmp_path)), tmp_path / "out")
    assert is_stored(result, data) == bool(objects)
    (image_record,) = result.records.values()
    np.testing.assert_allclose(
        image_record.labels["detection"]["boxes"], [BOX] * objects or np.zeros([0, 4]), atol=1e-6
    )


def test_coco_without_a_size(tmp_path: Path) -> None:
    data = file(PHOTO, "JPEG", 6)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.jpg").write_bytes(data)
    thing = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [32, 10, 32, 20], "area": 640, "iscrowd": 0}
    images, categories = [{"id": 1, "file_name": "a.jpg"}], [{"id": 1, "name": "thing"}]
    path = dump(tmp_path / "a.json", {"images": images, "annotations": [thing], "categories": categories})
    result = converted(Coco(str(tmp_path / "images"), path), tmp_path / "out")
    assert is_stored(result, data)
    np.testing.assert_allclose(result.records["1"].labels["detection"]["boxes"], [BOX], atol=1e-6)
