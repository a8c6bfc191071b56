"""YOLO's data.yaml and label files. Photos have 128 x 64 pixels, so shares of them are known by hand."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from must_tf.common.errors import UserError
from tests.support.converting import Converted, converted, must_records, noise
from tests.support.datasets.drawn import masks, origins, photos, rectangle, seen, write, written
from tfrecords_tools.sources.drawn.yolo import Yolo

YAML = "path: .\ntrain: images/train\nval: images/val\nnames: [cat, no, dog]\n"
CAT = "0 0.5 0.5 0.25 0.5\n"  # x 48..80, y 16..48
DOG = "2 0.125 0.25 0.25 0.5\n"  # x 0..32, y 0..32
CAT_BOX, DOG_BOX = ("cat", [48, 16, 80, 48]), ("dog", [0, 0, 32, 32])
# Corners 32,16 64,16 64,48 32,48 as shares, and a triangle over the left half.
SQUARE = "2 0.25 0.25 0.5 0.25 0.5 0.75 0.25 0.75\n"
TRIANGLE = "0 0 0 0.5 0 0 1\n"


def dataset(root: Path, labels: dict[str, str | None], yaml: str = YAML) -> str:
    """Writes train photos and their label files, None for no file; returns data.yaml."""
    photos(root / "images" / "train", *(f"{name}.jpg" for name in labels))
    for name, text in labels.items():
        if text is not None:
            write(root / "labels" / "train" / f"{name}.txt", text)
    return write(root / "data.yaml", yaml)


def run(root: Path, labels: dict[str, str | None], yaml: str = YAML, **options: object) -> Converted:
    """Converts such a dataset."""
    return converted(Yolo(dataset(root / "set", labels, yaml), **options), root / "out")  # type: ignore[arg-type]


def test_boxes_are_centres_and_sizes_in_shares_of_the_image(tmp_path: Path) -> None:
    result = run(tmp_path, {"a": CAT + DOG, "b": "", "c": None, "deep/d": DOG}, f"{YAML}kpt_shape: null\n")
    # b was looked at and shows nothing; nobody looked at c.
    assert seen(result) == {"a": [CAT_BOX, DOG_BOX], "b": [], "deep/d": [DOG_BOX]}
    assert set(result.records) == {"a", "b", "c", "deep/d"}
    assert result.outcome.manifest.classes == {"detection": ["cat", "no", "dog"]}
    assert (origins(result), result.counts()) == ({"detection": {"real:set": 3}}, {})
    assert result.notes() == {"detection: no label file for this image": 1}


@pytest.mark.parametrize("names", ["names: [cat]\nnames: [dog]", "names:\n  0: cat\n  1: dog\n  0: pig"])
def test_a_name_that_is_given_twice_is_refused(names: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the key '(names|0)' is there twice"):
        run(tmp_path, {"a": CAT}, f"train: images/train\n{names}\n")


def test_background_makes_missing_label_files_empty(tmp_path: Path) -> None:
    assert seen(run(tmp_path, {"a": CAT, "c": None}, background=True)) == {"a": [CAT_BOX], "c": []}


def test_polygons_are_masks_and_a_box_among_them_has_none(tmp_path: Path) -> None:
    result = run(tmp_path, {"a": SQUARE + CAT + TRIANGLE, "b": CAT, "c": ""})
    assert seen(result)["a"] == [("dog", [32, 16, 64, 48]), CAT_BOX, ("cat", [0, 0, 64, 64])]
    square, none, triangle = masks(result.records["a"])
    np.testing.assert_array_equal(square, rectangle(32, 16, 64, 48))
    assert not none.any()
    # By hand: half of 64 x 64 pixels, and it is the upper left half.
    assert abs(int(triangle.sum()) - 2048) <= 64 and triangle[5, 5] and not triangle[60, 60]
    # b has boxes only, so it is unlabelled for masks; c has no object, so it has no mask.
    assert [name for name, record in result.records.items() if "masks" in record.labels] == ["a", "c"]
    assert result.notes() == {"object: no mask, box only": 1}


@pytest.mark.parametrize("where", ["list", "dict", "several", "absolute", "roboflow", "windows", "moved", "bom"])
def test_a_data_yaml_names_classes_and_images_in_many_ways(where: str, tmp_path: Path) -> None:
    """All of them are the same dataset: cat in a, dog in b."""
    yaml = {
        "list": YAML.replace("images/train", "list.txt"),
        "dict": "train: images/train\nnames:\n  0: cat\n  2: dog\n",
        "several": YAML.replace("images/train", "[images/train, images/val]"),
        "absolute": YAML.replace("path: .", f"path: {tmp_path}/set"),
        "roboflow": "train: ../images/train\nval: ../valid/images\nnc: 3\nnames: ['cat', 'no', 'dog']\n",
        "windows": YAML.replace("images/train", "images\\train"),
        "moved": YAML.replace("path: .", "path: /elsewhere/datasets/set"),
        "bom": f"\ufeff{YAML}",
    }[where]
    write(tmp_path / "set" / "list.txt", "./images/train/a.jpg\r\n./images/train/b.jpg\r\n")
    (tmp_path / "set" / "images" / "val").mkdir(parents=True)
    result = run(tmp_path, {"a": CAT, "b": DOG}, yaml)
    assert list(seen(result).values()) == [[CAT_BOX], [DOG_BOX]]
    assert result.counts() == {}


def test_the_last_folder_of_images_is_replaced_and_without_one_labels_are_beside(tmp_path: Path) -> None:
    for folder, labels in (("images/x/images/train", "images/x/labels/train"), ("flat", "flat")):
        photos(tmp_path / folder, "a.png")
        write(tmp_path / labels / "a.txt", CAT)
        yaml = write(tmp_path / f"{folder.split('/')[0]}.yaml", f"train: {folder}\nnames: [cat]\n")
        assert seen(converted(Yolo(yaml), tmp_path / "out" / folder)) == {"a": [CAT_BOX]}


def test_coordinates_are_those_of_the_upright_photo(tmp_path: Path) -> None:
    """A photo of 64 x 128 that EXIF turns to 128 x 64, as trainers of this format see it."""
    yaml = dataset(tmp_path / "set", {"a": CAT})
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise(128, 64)).save(tmp_path / "set/images/train/a.jpg", exif=exif)
    result = converted(Yolo(yaml), tmp_path / "out")
    assert result.records["a"].image.shape == (64, 128, 3) and seen(result) == {"a": [CAT_BOX]}


# lines -> objects of the image, what is dropped, what is noted
BAD, OUT = "object: line is neither a box nor a polygon", "object: coordinates outside of 0..1"
LINES: dict[str, tuple[str, int, dict[str, int], dict[str, int]]] = {
    "the same line twice": (CAT + DOG + CAT, 2, {}, {"object: the same line twice, used once": 1}),
    "a class beyond the names": (CAT + "3 0.5 0.5 0.1 0.1\n", 1, {"object: its class is not in the list": 1}, {}),
    "a class with a fraction": (CAT + "0.5 0.5 0.5 0.1 0.1\n", 1, {"object: its class is not in the list": 1}, {}),
    "words": (CAT + "cat 0.5 0.5 0.1 0.1\n", 1, {BAD: 1}, {}),
    "not a number": (CAT + "0 nan 0.5 0.1 0.1\n", 1, {BAD: 1}, {}),
    "too few": (CAT + "0 0.5 0.5 0.1\n", 1, {BAD: 1}, {}),
    "one box in pixels": (CAT + "0 64 32 32 32\n", 1, {OUT: 1}, {}),
    "a confidence": (CAT + "0 0.5 0.5 0.25 0.25 0.9\n", 2, {}, {"object: confidence or track id not used": 1}),
    "no area": (CAT + "0 0.5 0.5 0 0.1\n", 1, {"object: box has no area": 1}, {}),
    "blank lines": (f"\n{CAT}\n  \n{DOG}", 2, {}, {}),
    "over the border": (CAT + "0 0.9 0.5 0.4 0.5\n", 2, {}, {"object: box cut to the image": 1}),
}


@pytest.mark.parametrize("name", LINES)
def test_a_line_that_is_not_an_object_is_counted(name: str, tmp_path: Path) -> None:
    text, count, dropped, notes = LINES[name]
    result = run(tmp_path, {"a": text})
    assert (len(seen(result)["a"]), result.counts(), result.notes()) == (count, dropped, notes)


def test_keypoints_are_counted_and_their_boxes_used(tmp_path: Path) -> None:
    """Two keypoints of x, y and visibility: ten values after the class would otherwise be a polygon."""
    text = f"{CAT.strip()} 0.5 0.5 2 0.6 0.6 1\n"
    result = run(tmp_path, {"a": text}, f"{YAML}kpt_shape: [2, 3]\n")
    assert (seen(result), result.notes()) == ({"a": [CAT_BOX]}, {"object: keypoints not used": 1})
    assert "masks" not in result.outcome.manifest.classes


def test_four_corners_alone_may_be_oriented_boxes(tmp_path: Path) -> None:
    yaml = dataset(tmp_path / "set", {"a": SQUARE + CAT})
    with pytest.raises(UserError, match="1 lines have four corners, .* --corners box .* --corners polygon"):
        Yolo(yaml).find()
    boxes = converted(Yolo(yaml, corners="box"), tmp_path / "boxes")
    assert seen(boxes) == {"a": [("dog", [32, 16, 64, 48]), CAT_BOX]}
    assert list(boxes.notes()) == ["object: oriented box, the upright box around it is used"]
    assert "masks" not in boxes.records["a"].labels
    polygons = converted(Yolo(yaml, corners="polygon"), tmp_path / "polygons")
    np.testing.assert_array_equal(masks(polygons.records["a"])[0], rectangle(32, 16, 64, 48))


def test_files_that_are_missing_are_counted(tmp_path: Path) -> None:
    dataset(tmp_path / "set", {"a": CAT})
    write(tmp_path / "set" / "labels" / "train" / "gone.txt", DOG)
    write(tmp_path / "set" / "labels" / "train" / "classes.txt", "cat\nno\ndog\n")
    assert converted(Yolo(f"{tmp_path}/set/data.yaml"), tmp_path / "a").counts() == {"image: file is missing": 1}
    write(tmp_path / "set" / "list.txt", "images/train/a.jpg\nimages/train/no.jpg\n")
    write(tmp_path / "set" / "data.yaml", YAML.replace("images/train", "list.txt"))
    result = converted(Yolo(f"{tmp_path}/set/data.yaml"), tmp_path / "b")
    assert (result.counts(), result.outcome.image_drop_rate) == ({"image: file is missing": 1}, 0.5)


OTHER_COUNT = "file: classes.txt has another number of names than data.yaml, not used"


@pytest.mark.parametrize("place", ["", "labels", "labels/train", "images/train"])
def test_a_list_of_classes_beside_data_yaml_must_agree_with_it(place: str, tmp_path: Path) -> None:
    """Labelling tools write it, with the meaning that the numbers had in them."""
    data = Yolo(dataset(tmp_path, {"a": CAT}))
    names = tmp_path / place / "classes.txt"
    write(names, "\ufeffCat\r\nno\r\ndog\r\n")  # the same names
    listing = data.find()
    assert OTHER_COUNT not in listing.account.notes.content and str(names) in listing.inputs
    write(names, "cat\nno\ndog\nbird\n")
    assert data.find().account.notes.content[OTHER_COUNT]["count"] == 1
    write(names, "cat\ndog\nno\n")
    with pytest.raises(UserError, match=r"classes.txt calls class 1 'dog', but .*data.yaml calls it 'no'. Correct"):
        data.find()


PIXELS, CORNERS = "0 64 32 32 32\n", "0 0.4 0.4 0.9 0.9\n0 0.3 0.2 0.8 0.9\n"
MISTAKES: dict[str, tuple[str, dict[str, str | None], str]] = {
    "pixels": (YAML, {"a": PIXELS}, "the coordinates of all 1 lines are outside of 0..1. Divide"),
    "corners instead of sizes": (YAML, {"a": CORNERS}, "2 of 2 boxes reach over their image's border"),
    "no label file": (YAML, {"a": None}, "none of the 1 images of train has a label file, like "),
    "no names": ("train: images/train\n", {"a": CAT}, "'names' must be a list of class names"),
    "names in tables": (YAML.replace("cat, no, dog", "0: cat, 1: dog"), {"a": CAT}, "must be a list of class names"),
    "a name twice": (YAML.replace("dog", "cat"), {"a": CAT}, "'names' has 'cat' more than once"),
    "another number of names": (f"{YAML}nc: 4\n", {"a": CAT}, "'nc' is 4, but 'names' has 3 names"),
    "keypoints": (f"{YAML}kpt_shape: [a, 3]\n", {"a": CAT}, "'kpt_shape' is ['a', '3'], not [number of keypoints"),
    "no split": (YAML.replace("train:", "trian:"), {"a": CAT}, "--split 'train': "),
    "no folder": (YAML.replace("images/train", "img/train"), {"a": CAT}, "'img/train' does not exist; tried "),
    "no data.yaml": ("- a\n- b\n", {"a": CAT}, "Give the data.yaml of a YOLO dataset"),
    "not YAML": ("names: [cat\n", {"a": CAT}, "is not YAML: "),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_contradiction_is_refused_before_the_first_image(name: str, tmp_path: Path) -> None:
    yaml, labels, message = MISTAKES[name]
    with pytest.raises(UserError, match=re.escape(message)):
        Yolo(dataset(tmp_path, labels, yaml)).find()


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    yaml = dataset(tmp_path / "set", {"a": SQUARE + TRIANGLE})
    given = ["convert", "yolo", "--data", yaml, "--out", f"{tmp_path}/out", "--tasks", "detection"]
    assert must_records(given, monkeypatch) == 0
    assert set(written(tmp_path / "out")["a"].labels) == {"detection"}
    assert must_records([*given[:4], "--split", "tran", "--out", f"{tmp_path}/b"], monkeypatch) == 2
    assert "Did you mean 'train'" in capsys.readouterr().err
