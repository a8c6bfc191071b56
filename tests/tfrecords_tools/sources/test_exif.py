"""Labels of unknown size belong to the pixels as stored or as EXIF turns them: as the format, or their reach, tells."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from tests.support.converting import Converted, converted, dump, save
from tests.support.datasets.mg_records import boxes, names, record
from tests.support.image_files import JPEG_LEVELS, ORIENTATION, PHOTO, file, pillow
from tfrecords_tools.sources import Source, pixels
from tfrecords_tools.sources.coco.coco import Coco
from tfrecords_tools.sources.drawn.cvat import Cvat
from tfrecords_tools.sources.drawn.label_studio import LabelStudio
from tfrecords_tools.sources.drawn.labelme import Labelme
from tfrecords_tools.sources.drawn.open_images import OpenImages
from tfrecords_tools.sources.drawn.via import Via
from tfrecords_tools.sources.images import UnlabelledImages
from tfrecords_tools.sources.published.mg import Mg
from tfrecords_tools.sources.rgbd import Rgbd
from tfrecords_tools.sources.tfds import Tfds
from tfrecords_tools.sources.voc import Voc
from tfrecords_tools.writing.counts import Account

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


STORED, SHOWN = (HEIGHT, WIDTH), (WIDTH, HEIGHT)  # 40 x 64, and turned by a quarter
REACHES: dict[str, tuple[pixels.Unsized, int, tuple[int, int], str]] = {
    "usually stored": (pixels.Unsized(pixels.STORED, (30, 30)), 6, STORED, pixels.DOUBT.format("stored")),
    "usually shown": (pixels.Unsized(pixels.SHOWN, (30, 30)), 6, SHOWN, pixels.DOUBT.format("shown")),
    "fits only what is shown": (pixels.Unsized(pixels.STORED, (60, 30)), 6, SHOWN, pixels.PROVEN.format("shown")),
    "fits only what is stored": (pixels.Unsized(pixels.SHOWN, (30, 60)), 6, STORED, pixels.PROVEN.format("stored")),
    "fits neither": (pixels.Unsized(pixels.STORED, (99, 99)), 6, STORED, pixels.DOUBT.format("stored")),
    "a pixel beyond": (pixels.Unsized(pixels.SHOWN, (WIDTH + 1, HEIGHT + 1)), 6, SHOWN, pixels.PROVEN.format("shown")),
    "half a turn": (pixels.Unsized(pixels.SHOWN, (30, 60)), 3, STORED, pixels.DOUBT.format("shown")),
    "not turned": (pixels.Unsized(pixels.SHOWN, (30, 60)), 1, STORED, ""),
}


@pytest.mark.parametrize("name", REACHES)
def test_labels_without_a_size_are_where_they_fit(name: str) -> None:
    frame, orientation, size, note = REACHES[name]
    account = Account()
    found = pixels.upright(file(PHOTO, "JPEG", orientation), frame, "a.jpg", account)
    assert ((found.height, found.width), [*account.notes.content]) == (size, [note] if note else [])
    is_turned = "shown" in note
    decoded = np.asarray(Image.open(io.BytesIO(found.encoded)).convert("RGB")).astype(int)
    quarter = {6: -1, 3: 2, 1: 0}[orientation]
    wanted = np.rot90(pillow(file(PHOTO, "JPEG")), quarter if is_turned else 0)
    np.testing.assert_allclose(decoded, wanted, atol=JPEG_LEVELS)


def test_one_format_may_mean_other_pixels_than_another(tmp_path: Path) -> None:
    """A box of 20 x 10 at the corner of a photo that EXIF turns: fits both frames."""
    (tmp_path / "img").mkdir()
    (tmp_path / "img/a.jpg").write_bytes(file(PHOTO, "JPEG", 6))
    rect = {"name": "rect", "x": 0, "y": 0, "width": 20, "height": 10}
    regions = [{"shape_attributes": rect, "region_attributes": {"kind": "cat"}}]
    via = Via(f"{tmp_path}/img", dump(tmp_path / "via.json", {"a": {"filename": "a.jpg", "regions": regions}}))
    coco = {
        "images": [{"id": 1, "file_name": "a.jpg"}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 20, 10], "area": 200, "iscrowd": 0}],
    }
    kinds: dict[str, tuple[Source, tuple[int, int], dict[str, int]]] = {
        "via": (via, SHOWN, {pixels.DOUBT.format("shown"): 1}),
        "coco": (
            Coco(f"{tmp_path}/img", dump(tmp_path / "coco.json", coco)),
            STORED,
            {pixels.DOUBT.format("stored"): 1},
        ),
        "open images": (_open_images(tmp_path), STORED, {}),
    }
    for name, (source, (height, width), notes) in kinds.items():
        result = converted(source, tmp_path / "out" / name)
        (image_record,) = result.records.values()
        assert image_record.image.shape[:2] == (height, width), name
        box = [[0, 0, 10 / height, 20 / width]]
        np.testing.assert_allclose(image_record.labels["detection"]["boxes"], box, atol=1e-6, err_msg=name)
        assert {reason: count for reason, count in result.notes().items() if "EXIF" in reason} == notes, name


def _sized(folder: Path, size: tuple[int, int]) -> dict[str, Source]:
    """A box of 20 x 10 at the corner of a photo, in files of every format that tell the photo's height and width."""
    height, width = size
    image = {"id": 1, "file_name": "a.jpg", "height": height, "width": width}
    coco = {
        "images": [image],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 20, 10], "area": 200, "iscrowd": 0}],
    }
    box = '<box label="cat" xtl="0" ytl="0" xbr="20" ybr="10"/>'
    (folder / "cvat.xml").write_text(
        f'<annotations><image id="0" name="a.jpg" width="{width}" height="{height}">{box}</image></annotations>'
    )
    shape = {"label": "cat", "points": [[0, 0], [20, 10]], "shape_type": "rectangle"}
    dump(
        folder / "labelme/a.json",
        {"shapes": [shape], "imagePath": "a.jpg", "imageHeight": height, "imageWidth": width},
    )
    value = {"x": 0, "y": 0, "width": 2000 / width, "height": 1000 / height, "rectanglelabels": ["cat"]}
    drawn = {"type": "rectanglelabels", "original_width": width, "original_height": height, "value": value}
    task = {"id": 1, "data": {"image": "a.jpg"}, "annotations": [{"id": 1, "result": [drawn]}]}
    corners = "<xmin>1</xmin><ymin>1</ymin><xmax>20</xmax><ymax>10</ymax>"
    thing = f"<object><name>cat</name><bndbox>{corners}</bndbox></object>"
    sides = f"<size><width>{width}</width><height>{height}</height></size>"
    (folder / "a.xml").write_text(f"<annotation>{sides}{thing}</annotation>")
    (folder / "voc/JPEGImages").mkdir(parents=True)
    (folder / "a.xml").rename(folder / "voc/JPEGImages/a.xml")
    (folder / "voc/JPEGImages/a.jpg").write_bytes((folder / "img/a.jpg").read_bytes())
    return {
        "cvat": Cvat(f"{folder}/img", f"{folder}/cvat.xml"),
        "labelme": Labelme(f"{folder}/labelme", f"{folder}/img"),
        "label studio": LabelStudio(f"{folder}/img", dump(folder / "ls.json", [task])),
        "coco": Coco(f"{folder}/img", dump(folder / "coco.json", coco)),
        "voc": Voc(f"{folder}/voc"),
    }


SQUARE = PHOTO[:, :HEIGHT]


@pytest.mark.parametrize(("orientation", "photo"), [(3, PHOTO), (2, PHOTO), (6, SQUARE)])
def test_a_size_that_both_have_does_not_tell_the_pixels(orientation: int, photo: np.ndarray, tmp_path: Path) -> None:
    """Half a turn, a mirror image, and a quarter turn of a square: the labels would be on the other side."""
    (tmp_path / "img").mkdir()
    data = file(photo, "JPEG", orientation)
    (tmp_path / "img/a.jpg").write_bytes(data)
    stored = pillow(data)
    turned = {3: np.rot90(stored, 2), 2: stored[:, ::-1], 6: np.rot90(stored, -1)}[orientation]
    for name, source in _sized(tmp_path, photo.shape[:2]).items():
        usual = "shown" if name in ("cvat", "labelme", "label studio") else "stored"
        result = converted(source, tmp_path / "out" / name)
        (image_record,) = result.records.values()
        wanted = turned if usual == "shown" else stored
        np.testing.assert_allclose(image_record.image.astype(int), wanted, atol=JPEG_LEVELS, err_msg=name)
        box = [[0, 0, 10 / photo.shape[0], 20 / photo.shape[1]]]
        np.testing.assert_allclose(image_record.labels["detection"]["boxes"], box, atol=1e-6, err_msg=name)
        assert result.notes().get(pixels.DOUBT.format(usual)) == 1, name


@pytest.mark.parametrize("size", [STORED, SHOWN])
def test_a_size_that_one_of_them_has_tells_the_pixels(size: tuple[int, int], tmp_path: Path) -> None:
    (tmp_path / "img").mkdir()
    (tmp_path / "img/a.jpg").write_bytes(file(PHOTO, "JPEG", 6))
    for name, source in _sized(tmp_path, size).items():
        result = converted(source, tmp_path / "out" / name)
        (image_record,) = result.records.values()
        assert image_record.image.shape[:2] == size, name
        assert not any("EXIF" in reason for reason in result.notes()), name


def test_maps_of_a_photo_that_is_turned_by_half_are_on_the_stored_pixels(tmp_path: Path) -> None:
    save(tmp_path / "depth/a.png", np.full((HEIGHT, WIDTH), 1000, np.uint16))
    (tmp_path / "rgb").mkdir()
    data = file(PHOTO, "JPEG", 3)
    (tmp_path / "rgb/a.jpg").write_bytes(data)
    result = converted(Rgbd(str(tmp_path)), tmp_path / "out")
    assert is_stored(result, data)
    assert result.notes() == {pixels.DOUBT.format("stored"): 1}


def _open_images(folder: Path) -> OpenImages:
    """The same box as shares of the stored pixels."""
    (folder / "classes.csv").write_text("/m/1,cat\n")
    header = "ImageID,LabelName,XMin,XMax,YMin,YMax\n"
    (folder / "boxes.csv").write_text(f"{header}a,/m/1,0,{20 / WIDTH},0,{10 / HEIGHT}\n")
    return OpenImages(f"{folder}/img", f"{folder}/boxes.csv", f"{folder}/classes.csv")


@pytest.mark.parametrize("value", ['="6"', ">6</tiff:Orientation", "='8'"])
def test_what_only_xmp_turns_is_left_and_noted(value: str, tmp_path: Path) -> None:
    """No decoder of the records or of an exported model reads XMP."""
    data = file(PHOTO, "JPEG")
    packet = b"http://ns.adobe.com/xap/1.0/\0" + f"<rdf:Description tiff:Orientation{value}>".encode()
    (tmp_path / "a.jpg").write_bytes(data[:2] + b"\xff\xe1" + (len(packet) + 2).to_bytes(2, "big") + packet + data[2:])
    turned, head = file(PHOTO, "JPEG", 6), b"\xff\xe1" + (len(packet) + 2).to_bytes(2, "big") + packet
    (tmp_path / "b.jpg").write_bytes(turned)
    (tmp_path / "c.jpg").write_bytes(turned[:2] + head + turned[2:])  # cameras write both
    result = converted(UnlabelledImages(str(tmp_path)), tmp_path / "out")
    assert [result.records[key].image.shape[:2] for key in "abc"] == [STORED, SHOWN, SHOWN]
    np.testing.assert_array_equal(result.records["a"].image, pillow(data))
    assert result.outcome.manifest.notes[pixels.XMP_ONLY] == {"count": 1, "examples": [f"{tmp_path}/a.jpg"]}
