"""Folders of images: one per class, without labels, and with depth, normals and class maps beside them."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from must_tf.common.errors import UserError
from tests.support.converting import Converted, converted, noise, save
from tests.support.datasets.rgbd_folder import HEIGHT, WIDTH, class_map, colours, depth, normals, photos, rooms
from tfrecords_tools.sources.classes import SPELLINGS, ClassFolders
from tfrecords_tools.sources.images import UnlabelledImages
from tfrecords_tools.sources.rgbd import Rgbd

# A component is stored in 255 steps over -1..1: half a step, and as much again for the length that is made 1.
NORMAL = 2 / 255


def test_a_class_is_its_folder(tmp_path: Path) -> None:
    photos(tmp_path / "flowers", "tulip/b.png", "tulip/a.JPG", "daisy/a.png", "Rose/x.jpg", "tulip/.hidden.jpg")
    (tmp_path / "flowers" / "tulip" / "notes.txt").write_text("not an image")
    result = converted(ClassFolders(str(tmp_path / "flowers")), tmp_path / "out")
    assert result.outcome.manifest.classes == {"classification": ["Rose", "daisy", "tulip"]}
    assert result.outcome.manifest.objects == {"classification": {"Rose": 1, "daisy": 1, "tulip": 2}}
    found = {key: record.labels["classification"]["probability"].tolist() for key, record in result.records.items()}
    assert found == {"Rose/x": [1, 0, 0], "daisy/a": [0, 1, 0], "tulip/a": [0, 0, 1], "tulip/b": [0, 0, 1]}
    assert {record.origins["classification"] for record in result.records.values()} == {"real:flowers"}


def test_an_empty_class_keeps_its_id_and_is_noted(tmp_path: Path) -> None:
    photos(tmp_path / "train", "a/1.png", "c/1.png")
    (tmp_path / "train" / "b").mkdir()
    result = converted(ClassFolders(str(tmp_path / "train")), tmp_path / "out")
    assert result.records["c/1"].labels["classification"]["probability"].tolist() == [0, 0, 1]
    assert result.notes() == {"classification: class without an image": 1}
    # "train" says little: the folder above names the data set.
    assert result.records["c/1"].origins["classification"] == f"real:{tmp_path.name}-train"


def test_two_spellings_of_a_class_are_one(tmp_path: Path) -> None:
    """File systems of some computers decompose accents, and names may end with a blank."""
    composed = unicodedata.normalize("NFC", "café")
    photos(tmp_path / "set", f"{composed}/a.png", f"{unicodedata.normalize('NFD', composed)}/b.png", "tea /c.png")
    result = converted(ClassFolders(str(tmp_path / "set")), tmp_path / "out")
    assert result.outcome.manifest.objects == {"classification": {composed: 2, "tea": 1}}
    assert result.notes() == {SPELLINGS: 1}


def test_folders_beside_maps_and_photos_are_noted(tmp_path: Path) -> None:
    root = rooms(tmp_path / "rooms")
    photos(root, "rgb/more/x.png", "depth/more/x.png")
    notes = Rgbd(str(root)).find().account.notes.content
    found = {reason: entry["count"] for reason, entry in notes.items() if "folder" in reason}
    assert found == {f"{task}: a folder inside a folder of files, not read": 1 for task in ("image", "depth")}


def test_a_root_one_level_too_high_is_refused(tmp_path: Path) -> None:
    photos(tmp_path / "set", "train/a/1.png", "train/b/1.png")
    with pytest.raises(UserError, match="set/train"):
        ClassFolders(str(tmp_path / "set")).find()


def test_unlabelled_images_are_found_at_any_depth(tmp_path: Path) -> None:
    photos(tmp_path / "photos", "a.jpg", "one/a.png", "one/two/b.JPEG", "one/a.jpg", ".hidden.png")
    result = converted(UnlabelledImages(str(tmp_path / "photos")), tmp_path / "out")
    # Of one/a.jpg and one/a.png the second in the order of names keeps its suffix.
    assert set(result.records) == {"a", "one/a", "one/a.png", "one/two/b"}
    assert all(record.labels == {} and record.origins == {} for record in result.records.values())
    assert (result.outcome.manifest.origins, result.outcome.manifest.classes) == ({}, {})
    np.testing.assert_array_equal(result.records["one/a.png"].image, noise(HEIGHT, WIDTH, 1))


def test_unlabelled_images_by_a_pattern_of_their_names(tmp_path: Path) -> None:
    photos(tmp_path / "photos", "a/cat_1.jpg", "b/cat_2.png", "b/dog_1.png")
    result = converted(UnlabelledImages(str(tmp_path / "photos"), "cat_*"), tmp_path / "out")
    assert set(result.records) == {"a/cat_1", "b/cat_2"}
    with pytest.raises(UserError, match=r"no image whose name matches 'cow_\*' below"):
        UnlabelledImages(str(tmp_path / "photos"), "cow_*").find()


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Converted:
    """The training photos of the rooms."""
    root = tmp_path_factory.mktemp("data")
    return converted(Rgbd(str(rooms(root / "rooms")), "train_*"), root / "out")


def test_match_selects_photos(result: Converted) -> None:
    assert set(result.records) == {"train_0", "train_1"}
    assert set(result.records["train_0"].labels) == {"depth", "normals", "segmentation"}
    assert set(result.records["train_1"].labels) == {"depth"}
    assert result.outcome.manifest.origins["depth"] == {"real:rooms": 2}
    assert result.notes() == {"normals: no file for this image": 1, "segmentation: no file for this image": 1}


def test_depth_is_in_metres(result: Converted) -> None:
    metres = result.records["train_0"].labels["depth"]["metres"]
    # Millimetres are stored as they are up to 65,535 of them.
    np.testing.assert_allclose(metres, depth() / 1000.0, rtol=1e-6)
    assert (metres[0, 0], metres.dtype) == (0, np.float32)


def test_normals_are_unit_vectors_in_the_same_frame(result: Converted) -> None:
    stored_normals = result.records["train_0"].labels["normals"]["normals"]
    np.testing.assert_allclose(stored_normals, normals(), atol=NORMAL)
    np.testing.assert_allclose(np.linalg.norm(stored_normals, axis=-1).ravel()[1:], 1, atol=1e-6)
    assert stored_normals[0, 0].tolist() == [0, 0, 0]


def test_ids_are_those_of_the_file(result: Converted) -> None:
    labels = result.records["train_0"].labels["segmentation"]
    np.testing.assert_array_equal(labels["classes"], class_map())
    assert (labels["confidence"] == 1).all()
    assert result.outcome.manifest.classes == {"segmentation": ["floor", "wall", "chair"]}


def test_an_id_that_no_class_has_ends_with_the_file_and_the_value(tmp_path: Path) -> None:
    ids = class_map()
    ids[2, 3:7], ids[5, 5] = 77, 3
    save(rooms(tmp_path / "rooms") / "label" / "train_0.png", ids)
    with pytest.raises(UserError, match=r"label/train_0\.png: value 3, 77 on 5 pixels is not one of the 3 classes"):
        converted(Rgbd(str(tmp_path / "rooms")), tmp_path / "out")


def test_a_palette_png_has_ids_not_colours(tmp_path: Path) -> None:
    image = Image.fromarray(class_map(), "L").convert("P")
    image.putpalette([channel for value in range(256) for channel in (255 - value, 7, value)])
    image.save(rooms(tmp_path / "rooms") / "label" / "train_0.png")
    record = converted(Rgbd(str(tmp_path / "rooms"), "train_0"), tmp_path / "out").records["train_0"]
    np.testing.assert_array_equal(record.labels["segmentation"]["classes"], class_map())


def _in_colours(root: Path) -> None:
    save(root / "depth" / "train_0.png", colours(normals()))


def _another_size(root: Path) -> None:
    save(root / "normal" / "train_0.png", colours(normals())[:-2])


def _cut_off(root: Path) -> None:
    path = root / "label" / "train_0.png"
    path.write_bytes(path.read_bytes()[:30])


def _lies_on_its_side(root: Path) -> None:
    """A photo that EXIF turns into the frame of its labels."""
    tags = Image.Exif()
    tags[0x0112] = 6  # turn clockwise
    save(root / "rgb" / "train_0.jpg", np.rot90(noise(HEIGHT, WIDTH)), exif=tags)


# What is wrong with the first photo's files -> the labels it still has, what is counted.
SPOILED = {
    "depth in colours": (_in_colours, {"normals", "segmentation"}, {"depth: pixels of another format": 1}),
    "normals of another size": (
        _another_size,
        {"depth", "segmentation"},
        {"normals: size differs from its image's": 1},
    ),
    "label cut off": (_cut_off, {"depth", "normals"}, {"segmentation: file cannot be decoded": 1}),
    "photo on its side": (_lies_on_its_side, {"depth", "normals", "segmentation"}, {}),
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_damaged_label_is_the_only_one_lost(name: str, tmp_path: Path) -> None:
    spoil, tasks, counts = SPOILED[name]
    spoil(rooms(tmp_path / "rooms"))
    result = converted(Rgbd(str(tmp_path / "rooms"), "train_0"), tmp_path / "out")
    assert set(result.records["train_0"].labels) == tasks
    assert result.counts() == counts


def test_labels_without_names_are_not_guessed(tmp_path: Path) -> None:
    (rooms(tmp_path / "rooms") / "classes.txt").unlink()
    result = converted(Rgbd(str(tmp_path / "rooms")), tmp_path / "out")
    assert "segmentation" not in result.records["train_0"].labels
    assert "segmentation: label/ ignored, classes.txt does not name its ids" in result.notes()


def test_a_folder_of_rgbd_without_photos_says_where_they_may_be(tmp_path: Path) -> None:
    photos(tmp_path / "upper", "RGB/a.png", "Depth/a.png")
    message = r"no folder 'rgb' with photos. Did you mean 'RGB'\? There are Depth, RGB: rename the one with the photos."
    with pytest.raises(UserError, match=message):
        Rgbd(str(tmp_path / "upper")).find()
    photos(tmp_path / "deep", "rgb/day/a.png", "depth/day/a.png")
    message = "rgb has no photo. Photos in folders of it, like 'day', are not read: move them up. Give a --root"
    with pytest.raises(UserError, match=message):
        Rgbd(str(tmp_path / "deep")).find()
