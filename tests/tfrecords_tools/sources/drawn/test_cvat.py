"""CVAT's XML for images. Photos have 128 x 64 pixels."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from must_tf.common.errors import UserError
from tests.support.converting import Converted, converted, must_records
from tests.support.datasets.drawn import masks, origins, photos, rectangle, seen, write, written
from tfrecords_tools.sources import files
from tfrecords_tools.sources.drawn.cvat import Cvat
from tfrecords_tools.sources.drawn.image_paths import CONTESTED, MISSING

BOX = '<box label="cat" occluded="0" xtl="48.0" ytl="16.0" xbr="80.0" ybr="48.0" z_order="0"></box>'
CAT = ("cat", [48, 16, 80, 48])
SQUARE = '<polygon label="dog" points="32.0,16.0;64.0,16.0;64.0,48.0;32.0,48.0" z_order="0"></polygon>'
LABELS = ("dog", "cat", "sunny")


def xml(path: Path, *images: str, labels: tuple[str, ...] = LABELS, types: str = "any") -> str:
    """Writes an export of images, each the content of one <image>; they are called a.jpg, b.jpg, ..."""
    listed = "".join(f"<label><name>{name}</name><type>{types}</type><attributes/></label>" for name in labels)
    shown = "".join(
        f'<image id="{n}" name="{chr(97 + n)}.jpg" width="128" height="64">{inside}</image>'
        for n, inside in enumerate(images)
    )
    meta = f"<meta><task><id>1</id><labels>{listed}</labels></task></meta>"
    return write(
        path, f'<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version>{meta}{shown}</annotations>'
    )


def run(root: Path, *images: str, **options: str) -> Converted:
    """Converts such an export; photos a.jpg and b.jpg exist."""
    photos(root / "images", "a.jpg", "b.jpg")
    return converted(Cvat(f"{root}/images", xml(root / "set.xml", *images), **options), root / "out")


def test_boxes_polygons_and_tags(tmp_path: Path) -> None:
    result = run(tmp_path, f'{BOX}{SQUARE}<tag label="sunny"/>', "")
    # Classes have the XML's order; the tag's label is no object. b shows nothing.
    assert seen(result) == {"a": [CAT, ("dog", [32, 16, 64, 48])], "b": []}
    assert result.outcome.manifest.classes == {
        "detection": ["dog", "cat"],
        "masks": ["dog", "cat"],
        "classification": ["sunny"],
    }
    assert origins(result)["classification"] == {"real:set": 1}
    none, square = masks(result.records["a"])
    assert not none.any() and (square == rectangle(32, 16, 64, 48)).all()
    assert result.counts() == {}


def test_a_mask_has_runs_by_rows_that_begin_with_zeros(tmp_path: Path) -> None:
    """By hand: rows 0110 and 1110 of a mask of 4 x 2 at x 10, y 20."""
    result = run(tmp_path, '<mask label="dog" rle="1, 2, 1, 3, 1" left="10" top="20" width="4" height="2"/>')
    wanted = rectangle(11, 20, 13, 21) | rectangle(10, 21, 13, 22)
    np.testing.assert_array_equal(masks(result.records["a"])[0], wanted)
    assert seen(result) == {"a": [("dog", [10, 20, 13, 22])]}


def test_a_rotated_box_becomes_the_upright_one_around_it(tmp_path: Path) -> None:
    """A box of 32 x 16 about (64, 32), by a quarter turn 16 x 32; by 45 degrees 48 / sqrt(2) on both sides."""
    box = '<box label="cat" xtl="48" ytl="24" xbr="80" ybr="40" rotation="{}"/>'
    result = run(tmp_path, box.format("90.0"), box.format("45.0"))
    half = 24 / np.sqrt(2)
    boxes = {key: np.array(value[0][1]) for key, value in seen(result).items()}
    np.testing.assert_allclose(boxes["a"], [56, 16, 72, 48], atol=1e-3)
    np.testing.assert_allclose(boxes["b"], [64 - half, 32 - half, 64 + half, 32 + half], atol=1e-3)
    assert result.notes() == {"object: rotated box, the upright box around it is used": 2}


def test_an_ellipse_turns_about_its_centre(tmp_path: Path) -> None:
    result = run(tmp_path, '<ellipse label="dog" cx="64" cy="32" rx="24" ry="8" rotation="90.0"/>')
    assert np.abs(np.array(seen(result)["a"][0][1]) - [56, 8, 72, 56]).max() < 0.1


def test_shapes_of_a_group_are_one_object(tmp_path: Path) -> None:
    group = SQUARE.replace("<polygon", '<polygon group_id="2"')
    right = group.replace("32.0,", "96.0,").replace("64.0,", "112.0,")
    result = run(tmp_path, group + SQUARE + right)
    assert seen(result) == {"a": [("dog", [32, 16, 112, 48]), ("dog", [32, 16, 64, 48])]}


NOTES = {
    "points": ('<points label="cat" points="1,2;3,4"/>', {"object: points, not used": 1}),
    "polyline": ('<polyline label="cat" points="1,2;3,4"/>', {"object: polyline, not used": 1}),
    "skeleton": ('<skeleton label="cat"><points label="nose"/></skeleton>', {"object: skeleton, not used": 1}),
    "cuboid": ('<cuboid label="cat" xtl1="1"/>', {"object: cuboid, not used": 1}),
    "attributes": (
        '<box label="cat" xtl="1" ytl="1" xbr="9" ybr="9"><attribute name="parked">true</attribute></box>',
        {"object: attributes not used": 1},
    ),
    "occluded": (
        '<box label="cat" xtl="1" ytl="1" xbr="9" ybr="9" occluded="1"/>',
        {"object: occluded, used like others": 1},
    ),
    "an undeclared class": (
        '<box label="fox" xtl="1" ytl="1" xbr="9" ybr="9"/>',
        {"detection: the XML does not declare this class, it is added": 1},
    ),
    "two tags": ('<tag label="sunny"/><tag label="rainy"/>', {"classification: several tags, none is used": 1}),
}
SHARES = '<box label="cat" xtl="0.1" ytl="0.1" xbr="0.6" ybr="0.9"/><box label="cat" xtl="0" ytl="0" xbr="1" ybr="1"/>'
DROPS = {
    "two corners": '<polygon label="dog" points="1,2;3,4"/>',
    "three numbers": '<polygon label="dog" points="1,2,3;40,5,6;7,30,9;1,2,3"/>',
    "words": '<box label="dog" xtl="a" ytl="1" xbr="2" ybr="2"/>',
    "no corner": '<box label="dog" xtl="1" ytl="1" xbr="2"/>',
    "runs of another size": '<mask label="dog" rle="1, 2" left="10" top="20" width="4" height="2"/>',
    "a mask outside": '<mask label="dog" rle="0, 8" left="126" top="20" width="4" height="2"/>',
}


def test_what_the_file_says_beside_its_images_is_counted(tmp_path: Path) -> None:
    """Photos for training and validation must not become one dataset without a word."""
    path = tmp_path / "set.xml"
    photos(tmp_path / "images", "a.jpg", "b.jpg")
    text = Path(xml(path, BOX, "")).read_text()
    text = text.replace('id="0"', 'id="0" subset="Train"').replace('id="1"', 'id="1" subset="Validation"')
    write(path, text.replace("</annotations>", "<reviews><review/></reviews></annotations>"))
    result = converted(Cvat(f"{tmp_path}/images", str(path)), tmp_path / "out")
    assert result.notes() == {
        "file: <reviews> is not used": 1,
        "file: images of several subsets are converted together": 1,
    }


@pytest.mark.parametrize("name", NOTES)
def test_what_is_not_used_is_counted_once_per_kind(name: str, tmp_path: Path) -> None:
    shape, notes = NOTES[name]
    result = run(tmp_path, BOX + shape, "")
    assert (result.notes(), result.counts(), seen(result)["a"][0]) == (notes, {}, CAT)


@pytest.mark.parametrize("name", DROPS)
def test_a_shape_that_cannot_be_read_is_dropped(name: str, tmp_path: Path) -> None:
    result = run(tmp_path, BOX + DROPS[name], "")
    assert (result.counts(), seen(result)["a"]) == ({"object: shape cannot be read": 1}, [CAT])


def test_a_box_in_shares_of_the_image_is_none_in_pixels(tmp_path: Path) -> None:
    """The first pixel is one."""
    result = run(tmp_path, SHARES)
    assert seen(result) == {"a": [("cat", [0, 0, 1, 1])]}
    assert result.counts() == {"object: box in 0..1, not in pixels": 1}


def test_missing_and_additional_images_are_counted(tmp_path: Path) -> None:
    photos(tmp_path / "images", "a.jpg", "z.jpg")
    result = converted(Cvat(f"{tmp_path}/images", xml(tmp_path / "set.xml", BOX, BOX)), tmp_path / "out")
    assert (result.counts(), result.outcome.image_drop_rate) == ({"image: file is missing": 1}, 0.5)
    assert result.notes() == {"image: not named in the annotations, left out": 1}


@pytest.mark.parametrize(("encoding", "is_guessed"), [("utf-8-sig", False), ("utf-16", False), ("cp1252", True)])
def test_text_is_read_in_any_encoding(encoding: str, is_guessed: bool, tmp_path: Path) -> None:
    photos(tmp_path / "images", "tom & jerry.jpg")
    content = f"""<?xml version="1.0" encoding="{encoding.removesuffix("-sig")}"?>
        <annotations><image name="tom & jerry.jpg" width="128" height="64">{BOX.replace("cat", "thé")}</image>
        </annotations>""".replace("cp1252", "utf-8")
    path = write(tmp_path / "set.xml", content, encoding)
    result = converted(Cvat(f"{tmp_path}/images", path), tmp_path / "out")
    assert (seen(result), result.counts()) == ({"tom & jerry": [("thé", CAT[1])]}, {})
    assert result.notes() == ({files.GUESSED: 1} if is_guessed else {})


def test_other_files_are_refused(tmp_path: Path) -> None:
    photos(tmp_path / "images", "x.jpg")
    mistakes = {
        "<annotations><track id='0' label='cat'></track></annotations>": "is 'CVAT for video'",
        "<annotation><folder>VOC</folder></annotation>": "has no <image>",
        "<annotations>": "is not valid XML",
        "<?xml version='1.0' encoding='x-unknown'?><annotations/>": "has no <image>",
        "<label><name>cat</name></label>": "has no <image>",
        "<annotations><image name='a.jpg' width='wide' height='inf'/></annotations>": "none of the 1 annotated images",
        "<annotations><image name='a.jpg' width='1' height='1'/></annotations>": "none of the 1 annotated images",
    }
    for text, message in mistakes.items():
        path = write(tmp_path / "set.xml", text)
        with pytest.raises(UserError, match=re.escape(message)):
            Cvat(f"{tmp_path}/images", path).find()


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos(tmp_path / "images", "a.jpg")
    path = xml(tmp_path / "annotations.xml", BOX)
    given = ["--images", f"{tmp_path}/images", "--annotations", path, "--out", f"{tmp_path}/out"]
    assert must_records(["convert", "cvat", *given], monkeypatch) == 0
    assert written(tmp_path / "out")["a"].origins == {"detection": f"real:{tmp_path.name}"}


def images_of(*names: tuple[str, str]) -> str:
    """An XML with an image of each (subset, name), whose box begins at x = 0, 1, ..."""
    box = '<box label="cat" xtl="{0}" ytl="0" xbr="20" ybr="10"/>'
    image = '<image id="{0}" name="{2}" subset="{1}" width="128" height="64">' + box + "</image>"
    return f"<annotations>{''.join(image.format(at, *one) for at, one in enumerate(names))}</annotations>"


def test_images_of_one_name_are_those_of_their_subset(tmp_path: Path) -> None:
    """A project is exported with a folder for each subset, and the XML does not name it. `gone` has no image."""
    photos(tmp_path / "img", "Train/1.png", "Validation/1.png", "2.png")
    names = ("gone", "1.png"), ("Train", "1.png"), ("Validation", "1.png"), ("Train", "2.png")
    path = write(tmp_path / "a.xml", images_of(*names))
    result = converted(Cvat(str(tmp_path / "img"), path), tmp_path / "out")
    assert {key: boxes[0][1][0] for key, boxes in seen(result).items()} == {"Train/1": 1, "Validation/1": 2, "2": 3}
    assert result.counts() == {MISSING: 1}


def test_annotations_of_two_folders_are_not_those_of_one_image(tmp_path: Path) -> None:
    photos(tmp_path / "img", "1.png", "2.png")
    path = write(tmp_path / "a.xml", images_of(("", "b/1.png"), ("", "a/1.png"), ("", "c/2.png")))
    result = converted(Cvat(str(tmp_path / "img"), path), tmp_path / "out")
    assert (list(seen(result)), result.counts()) == (["2"], {CONTESTED: 2})
