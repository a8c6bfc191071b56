"""PASCAL VOC in its published layout; boxes and masks by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from must_tf.common.errors import UserError
from must_tf.tasks.masks.labels import paste
from tests.support.converting import Converted, converted, noise, save
from tests.support.datasets.voc import HEIGHT, WIDTH, annotation, thing, write
from tfrecords_tools.sources.voc import Voc

PIXEL = 1e-4  # float32 of a coordinate that is divided by the side and multiplied by it again
PART = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"


def palette(path: Path, ids: np.ndarray) -> None:
    """Writes a PNG of indices with VOC-like colours, which are unrelated to the indices."""
    image = Image.fromarray(ids.astype(np.uint8), "L").convert("P")
    image.putpalette([channel for value in range(256) for channel in ((value * 64) % 256, (value * 32) % 256, 224)])
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def instances() -> np.ndarray:
    """Object 1 over rows 5..14, columns 10..29, object 2 over rows 20..34, columns 35..54, void around them."""
    ids = np.zeros([HEIGHT, WIDTH], np.uint8)
    for number, (y0, x0, y1, x1) in enumerate(((5, 10, 15, 30), (20, 35, 35, 55)), 1):
        ids[y0 - 1 : y1 + 1, x0 - 1 : x1 + 1] = 255
        ids[y0:y1, x0:x1] = number
        ids[y0 : y0 + 3, x0 + 4 : x0 + 7] = 0  # a notch, so that no mask is its box
    return ids


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Converted:
    """Photos with maps, with boxes only, without objects, without annotation, and a missing one."""
    root = tmp_path_factory.mktemp("voc")
    hard = "<truncated>1</truncated><difficult>1</difficult>" + PART
    xmls = {
        "2007_000027": annotation(thing("dog", (11, 6, 30, 15)), thing("person", (36, 21, 55, 35), hard)),
        "2007_000032": annotation(thing("tvmonitor", (1, 1, WIDTH, HEIGHT)), thing("cat", ("45.70", 3, 46, 3))),
        "2007_000033": annotation(),
        "2007_000039": annotation(),
    }
    folder = Path(write(root, xmls, "".join(f"{name}  1\n" for name in [*xmls, "2007_000061"])))
    (folder / "Annotations" / "2007_000039.xml").unlink()
    palette(folder / "SegmentationObject" / "2007_000027.png", instances())
    ids = instances().astype(int)
    classes = np.select([ids == 1, ids == 2], [12, 15], ids)  # dog, person; 0 and 255 as they are
    palette(folder / "SegmentationClass" / "2007_000027.png", classes)
    return converted(Voc(str(folder)), root / "out")


def test_boxes_are_pixels_counted_from_one_with_both_ends(result: Converted) -> None:
    labels = result.records["2007_000032"].labels["detection"]
    pixels = labels["boxes"] * np.array([HEIGHT, WIDTH] * 2)
    # The whole image is 1..WIDTH; a box of one row and one and a bit columns.
    np.testing.assert_allclose(pixels, np.array([[0, 0, HEIGHT, WIDTH], [2, 44.7, 3, 46]]), atol=PIXEL)
    assert labels["classes"].tolist() == [20, 8]
    assert labels["is_crowd"].tolist() == [False, False]
    assert result.outcome.manifest.classes["detection"][0] == "aeroplane"
    assert len(result.outcome.manifest.classes["detection"]) == 20


def test_the_xml_tells_which_of_two_photos_of_a_name_is_meant(tmp_path: Path) -> None:
    """The other one is left out and counted, and so are folders in the folders, and objects of two boxes."""
    xml = annotation(thing("dog", (11, 6, 30, 15)), thing("cat", (1, 1, 9, 9), "<name>dog</name>"))
    folder = Path(write(tmp_path, {"a": xml.replace("<size>", "<filename>a.PNG</filename><size>"), "b": annotation()}))
    other = save(folder / "JPEGImages" / "a.png", noise(HEIGHT, WIDTH, 7))
    save(folder / "JPEGImages" / "b.png", noise(HEIGHT, WIDTH, 8))
    save(folder / "JPEGImages" / "more" / "c.png", noise(HEIGHT, WIDTH, 9))
    result = converted(Voc(str(folder)), tmp_path / "out")
    assert result.records["a"].stored == Path(other).read_bytes()
    assert result.records["b"].stored == (folder / "JPEGImages" / "b.jpg").read_bytes()
    assert result.records["a"].labels["detection"]["classes"].tolist() == [12]
    assert result.outcome.image_drop_rate == 0.5
    assert result.counts() == {
        "image: another file of this name has another ending": 2,
        "object: an element is there several times": 1,
    }
    assert result.notes()["image: a folder inside a folder of files, not read"] == 1


def test_difficult_objects_are_crowds_and_truncated_ones_are_not(result: Converted) -> None:
    labels = result.records["2007_000027"].labels["detection"]
    assert labels["classes"].tolist() == [12, 15]  # parts are no objects
    assert labels["is_crowd"].tolist() == [False, True]
    assert result.notes()["object: difficult, stored as crowd"] == 1


def test_masks_are_those_of_the_object_with_their_number(result: Converted) -> None:
    labels = result.records["2007_000027"].labels["masks"]
    masks = paste(labels, HEIGHT, WIDTH)
    for number, mask in enumerate(masks, 1):
        np.testing.assert_array_equal(mask, instances() == number)
    assert labels["area"].tolist() == [191, 291]
    assert "masks" not in result.records["2007_000032"].labels  # nobody drew them


def test_segmentation_has_a_background_and_void_is_ignored(result: Converted) -> None:
    classes = result.records["2007_000027"].labels["segmentation"]["classes"]
    assert [classes[0, 0], classes[5, 10], classes[20, 35], classes[4, 9], classes[35, 34]] == [0, 12, 15, 255, 255]
    names = result.outcome.manifest.classes["segmentation"]
    assert (len(names), names[0], names[12], names[15]) == (21, "background", "dog", "person")


def test_an_empty_annotation_is_a_label_and_a_missing_one_is_not(result: Converted) -> None:
    assert result.records["2007_000033"].labels["detection"]["boxes"].shape == (0, 4)
    assert result.records["2007_000033"].origins == {"detection": "real:VOC2012"}
    assert result.records["2007_000039"].origins == {}
    assert result.counts() == {"image: file is missing": 1}
    assert result.notes()["detection: no file for this image"] == 1


# An object's XML -> what it is dropped for, or the box y0, x0, y1, x1 and what is noted.
LOOSE: dict[str, tuple[str, str, tuple[float, ...], str]] = {
    "over the border": (thing("cow", (-3, 11, 20, 99)), "", (10, 0, 40, 20), "object: box cut to the image"),
    "counted from zero": (thing("cow", (0, 0, 20, 10)), "", (0, 0, 10, 20), "object: box cut to the image"),
    "reversed": (thing("cow", (20, 5, 10, 9)), "object: box has a negative side", (), ""),
    "no width": (thing("cow", (20, 5, 19, 9)), "object: box has no area", (), ""),
    "outside": (thing("cow", (61, 5, 70, 9)), "object: box is outside of the image", (), ""),
    "no number": (thing("cow", ("left", 5, 70, 9)), "object: box is not four numbers", (), ""),
    "not finite": (thing("cow", ("nan", 5, 70, 9)), "object: box is not four numbers", (), ""),
    "no box": ("<object><name>cow</name></object>", "object: box is not four numbers", (), ""),
    "another class": (thing("Cow", (1, 5, 7, 9)), "", (4, 0, 9, 7), "detection: classes are those in the XML files"),
    "no difficult": (thing("cow", (11, 6, 20, 15), ""), "", (5, 10, 15, 20), ""),
    "blanks": (thing(" cow ", (" 11 ", 6, 20, 15)), "", (5, 10, 15, 20), ""),
}


@pytest.mark.parametrize("name", LOOSE)
def test_a_loose_object_has_one_outcome(name: str, tmp_path: Path) -> None:
    xml, reason, box, note = LOOSE[name]
    # Some tools write a size of 0.
    result = converted(Voc(write(tmp_path, {"a": annotation(xml, size=(0, 0))})), tmp_path / "out")
    assert result.counts() == ({reason: 1} if reason else {})
    assert result.notes() == ({note: 1} if note else {})
    pixels = result.records["a"].labels["detection"]["boxes"] * np.array([HEIGHT, WIDTH] * 2)
    np.testing.assert_allclose(pixels, [box] if box else np.zeros([0, 4]), atol=PIXEL)


def test_a_mask_at_another_position_is_not_used(tmp_path: Path) -> None:
    root = Path(write(tmp_path, {"a": annotation(thing("dog", (36, 21, 55, 35)))}))
    palette(root / "SegmentationObject" / "a.png", instances())  # 1 is the other object
    result = converted(Voc(str(root)), tmp_path / "out")
    assert result.notes() == {"object: no mask of its number at its place, box only": 1}
    assert set(result.records["a"].labels) & {"detection", "masks"} == {"detection"}  # no object of it has a mask


def _broken_xml(root: Path) -> None:
    (root / "Annotations" / "a.xml").write_text("<annotation><object>")


def _broken_map(root: Path) -> None:
    (root / "SegmentationClass").mkdir()
    (root / "SegmentationClass" / "a.png").write_bytes(b"\x89PNG")


def _colours(root: Path) -> None:
    save(root / "SegmentationClass" / "a.png", noise(HEIGHT, WIDTH))


def _another_size(root: Path) -> None:
    palette(root / "SegmentationObject" / "a.png", instances()[1:])


SPOILED = {
    "XML cut off": (_broken_xml, set(), {"detection: file cannot be read": 1}),
    "map cut off": (_broken_map, {"detection"}, {"segmentation: file cannot be decoded": 1}),
    "map of colours": (_colours, {"detection"}, {"segmentation: pixels of another format": 1}),
    "masks of another size": (_another_size, {"detection"}, {"masks: size differs from its image's": 1}),
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_damaged_file_loses_only_its_label(name: str, tmp_path: Path) -> None:
    spoil, tasks, counts = SPOILED[name]
    root = write(tmp_path, {"a": annotation(thing("dog", (11, 6, 30, 15)))})
    spoil(Path(root))
    result = converted(Voc(root), tmp_path / "out")
    assert (set(result.records["a"].labels), result.counts()) == (tasks, counts)


def test_an_unknown_value_is_an_error(tmp_path: Path) -> None:
    root = write(tmp_path, {"a": annotation()})
    palette(Path(root) / "SegmentationClass" / "a.png", np.full([HEIGHT, WIDTH], 21))
    with pytest.raises(UserError, match=r"SegmentationClass/a\.png: value 21 on 2400 pixels is not one of the 21"):
        converted(Voc(root), tmp_path / "out")


def test_an_image_of_no_size_is_that_of_its_file(tmp_path: Path) -> None:
    xml = annotation(thing("dog", (11, 6, 30, 15))).replace(f"<width>{WIDTH}<", "<width>1e400<")
    result = converted(Voc(write(tmp_path, {"a": xml})), tmp_path / "out")
    assert len(result.records["a"].labels["detection"]["boxes"]) == 1 and result.counts() == {}


def test_what_an_xml_says_and_is_not_used_is_counted_by_its_name(tmp_path: Path) -> None:
    inside = "<pose>Left</pose><actions><jumping>1</jumping></actions><truncated>0</truncated>" + PART
    xml = annotation(
        thing("dog", (11, 6, 30, 15), inside).replace(
            "<bndbox><xmin>", '<bndbox by="Eve"><zmin>3</zmin><xmin unit="px">'
        )
    )
    xml = xml.replace("<size>", '<size unit="px"><scale>2</scale>')
    more = '<annotation verified="yes"><filename>C:\\b.jpg</filename><weather>rain</weather><night>0</night>'
    result = converted(Voc(write(tmp_path, {"a": xml.replace("<annotation>", more)})), tmp_path / "out")
    np.testing.assert_allclose(result.records["a"].labels["detection"]["boxes"][0] * HEIGHT, [5, 20 / 3, 15, 20], 1e-5)
    assert result.notes() == {
        **{f"object: <{tag}> is set and not used": 1 for tag in ("actions", "part", "pose", "zmin")},
        **{f"object: {key} is set and not used": 1 for key in ("by of <bndbox>", "unit of <xmin>")},
        **{f"image: {key} is set and not used": 1 for key in ("<weather>", "<scale>", "unit of <size>")},
        "image: its XML names another file": 1,
        "image: verified is set and not used": 1,
    }


def test_other_names_may_be_given(tmp_path: Path) -> None:
    root = write(tmp_path, {"a": annotation(thing("bolt", (11, 6, 30, 15)))})
    (tmp_path / "names.txt").write_text("nut\nbolt\n")
    result = converted(Voc(root, classes=str(tmp_path / "names.txt")), tmp_path / "out")
    assert result.records["a"].labels["detection"]["classes"].tolist() == [2]


def test_other_names_in_the_same_file_are_other_inputs(tmp_path: Path) -> None:
    root, names = write(tmp_path / "root", {"a": annotation(thing("cat", (1, 2, 3, 4)))}), tmp_path / "names.txt"
    names.write_text("cat\ndog\n")
    source = Voc(root, classes=str(names))
    assert str(names) in source.find().inputs
    converted(source, tmp_path / "out")
    names.write_text("dog\ncat\n")
    with pytest.raises(UserError, match="inputs have changed"):
        converted(source, tmp_path / "out")


def test_mistakes_are_reported_before_the_first_image(tmp_path: Path) -> None:
    root = write(tmp_path, {"a": annotation()}, "b\nc\n")
    with pytest.raises(UserError, match=r"JPEGImages contains none of the 2 annotated images \(such as b\)"):
        Voc(root).find()
    with pytest.raises(UserError, match="Did you mean 'train'"):
        Voc(root, "trian").find()
    with pytest.raises(UserError, match="Give --root .*VOC2012"):
        Voc(str(tmp_path)).find()
