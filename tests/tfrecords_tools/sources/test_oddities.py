"""Ordinary oddities come in right, or are refused with the way out. Nothing is dropped or invented silently.

`pytest -s -k table` prints the table: the case, what came of it in earlier versions, and what happens now.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from must_tf.common import tables
from must_tf.common.errors import UserError
from tests.support.converting import Converted, Record, converted
from tests.support.datasets import oddities as odd
from tests.support.datasets.oddities import BOX, CATS, HEIGHT, WIDTH, ann, coco, images, metres, rgbd, voc
from tfrecords_tools.sources import Source

SQUARE = [5, 6, 25, 6, 25, 16, 5, 16]
MASK_AREA = 200


class Case(NamedTuple):
    """A dataset and what must come of it.

    Attributes:
      earlier: what came of it before this was mended.
      make: writes the dataset and returns its source.
      now: lines of `outcome`, or the text of the error.
    """

    earlier: str
    make: Callable[[Path], Source]
    now: str


def outcome(result: Converted) -> str:
    """Describes a conversion: records, labels, and everything that was dropped or noted."""
    lines = [f"{len(result.records)} images"]
    lines += sorted({described for record in result.records.values() if (described := label(record))})
    lines += [f"dropped {count} {reason}" for reason, count in sorted(result.counts().items())]
    lines += [f"note {count} {reason}" for reason, count in sorted(result.notes().items())]
    return "; ".join(lines)


def label(record: Record) -> str:
    """Describes the labels of one record."""
    parts = []
    if "detection" in record.labels:
        found = record.labels["detection"]
        pixels = (found["boxes"] * np.array([HEIGHT, WIDTH] * 2)).round().astype(int)[:, [1, 0, 3, 2]].tolist()
        crowds = ["*" if crowd else "" for crowd in found["is_crowd"]]
        parts.append(" ".join(f"{c}{m}{b}" for c, b, m in zip(found["classes"].tolist(), pixels, crowds, strict=True)))
    if "masks" in record.labels:
        parts.append(f"masks {[int(crop.sum()) for crop in record.labels['masks']['crops']]}")
    if "segmentation" in record.labels:
        parts.append(f"ids {np.unique(record.labels['segmentation']['classes']).tolist()}")
    if "depth" in record.labels:
        known = record.labels["depth"]["metres"]
        parts.append(f"{known[known > 0].min():.1f} to {known.max():.1f} m")
    if "normals" in record.labels:
        vectors = record.labels["normals"]["normals"]
        known = np.abs(vectors).sum(-1) > 0
        parts.append(f"{known.mean():.0%} normals, z {vectors[known][:, 2].mean():.1f}")
    if "classification" in record.labels:
        parts.append(f"class {int(record.labels['classification']['probability'].argmax())}")
    return " ".join(parts)


NFD, NFC = unicodedata.normalize("NFD", "café.jpg"), unicodedata.normalize("NFC", "café.jpg")
MAP = 'item {\n id: 3\n name: "n3"\n display_name: "cat"\n}\nitem {\n id: 7\n name: "dog"\n}\n'
ONE, TWO = "1[5, 6, 25, 16]", "2[5, 6, 25, 16]"
EMPTY_NOTE = "note {} object: no mask, box only"
NO_MASK, NO_MASKS = EMPTY_NOTE.format(1), EMPTY_NOTE.format(2)
ROOT = "note 1 category: it only groups others and has no annotation, so it is not a class"
CASES: dict[str, Case] = {
    # Ids
    "an id for two files": Case(
        "the other file's boxes",
        odd.same_id,
        f"1 images; {ONE}; dropped 4 image: its id stands for several files; {NO_MASK}",
    ),
    "only such ids": Case("the other file's boxes", odd.all_same_id, "id 1: 000.jpg and 001.jpg"),
    "an entry per box": Case(
        "the first box",
        odd.per_box,
        "1 images; 1[1, 1, 11, 11] 1[2, 2, 12, 12] 1[3, 3, 13, 13]; note 2 image: several entries for one file, "
        "united; note 3 object: no mask, box only",
    ),
    "image ids as floats": Case("no boxes", lambda f: coco(f, images(1), [ann(1.0)]), f"1 images; {ONE}; {NO_MASK}"),
    "image ids with zeros": Case(
        "no boxes",
        lambda f: coco(f, images(1), [ann("001")]),
        f"1 images; {ONE}; {NO_MASK}; note 1 object: its image_id is written differently from its image's",
    ),
    "category ids as text": Case("all dropped", odd.listed(*CATS, used="2"), f"1 images; {TWO}; {NO_MASK}"),
    "category ids as floats": Case(
        "refused", odd.listed({"id": 1.0, "name": "a"}, used=1), f"1 images; {ONE}; {NO_MASK}"
    ),
    "text ids that are numbers": Case(
        "10 before 2",
        odd.listed(*({"id": n, "name": n} for n in ("1", "10", "2")), used="2"),
        f"1 images; {TWO}; {NO_MASK}",
    ),
    "no category": Case(
        "dropped",
        lambda f: coco(f, images(1), [ann(1) | {"category_id": None}]),
        "1 images; dropped 1 object: category is not in the JSON",
    ),
    # Flags and keys
    "iscrowd is empty": Case(
        "crowds",
        odd.two(iscrowd=""),
        f"2 images; {ONE}; {NO_MASKS}; note 2 object: iscrowd is neither 0 nor 1, taken as 0",
    ),
    "iscrowd is 'false'": Case("crowds", odd.two(iscrowd="false"), f"2 images; {ONE}; {NO_MASKS}"),
    "iscrowd is 'True'": Case("crowds", odd.two(iscrowd="True"), f"2 images; 1*[5, 6, 25, 16]; {NO_MASKS}"),
    "iscrowd is '0.0'": Case("crowds", odd.two(iscrowd="0.0"), f"2 images; {ONE}; {NO_MASKS}"),
    "iscrowd is a list": Case(
        "crowds",
        odd.two(iscrowd=[]),
        f"2 images; {ONE}; {NO_MASKS}; note 2 object: iscrowd is neither 0 nor 1, taken as 0",
    ),
    "keys without a use": Case(
        "silent",
        odd.two(ignore=1, attributes={"occluded": True, "rotation": 0.0}, source="x"),
        f"2 images; {ONE}; note 2 object: attributes.occluded is set and not used; note 2 object: ignore is set and "
        f"not used; {NO_MASKS}; note 2 object: source is set and not used",
    ),
    "rotated boxes": Case(
        "upright boxes", odd.two(attributes={"rotation": 30}), "2 images; dropped 2 object: its box is rotated"
    ),
    "boxes with an angle": Case(
        "dropped", odd.two(bbox=[*BOX, 0.5]), f"2 images; dropped 2 object: its box is rotated; {NO_MASKS}"
    ),
    "difficult is 'Unspecified'": Case(
        "difficult",
        odd.difficult("Unspecified"),
        "1 images; 8[5, 6, 25, 16]; note 1 object: difficult is neither 0 nor 1, taken as 0",
    ),
    "difficult is 'no'": Case(
        "difficult",
        odd.difficult("no"),
        "1 images; 8[5, 6, 25, 16]; note 1 object: difficult is neither 0 nor 1, taken as 0",
    ),
    "difficult is 'true'": Case(
        "difficult", odd.difficult("true"), "1 images; 8*[5, 6, 25, 16]; note 1 object: difficult, stored as crowd"
    ),
    # Boxes and masks
    "boxes in 0..1": Case(
        "boxes below a pixel",
        odd.boxed([0.125, 0.25, 0.5, 0.5]),
        f"1 images; 1[8, 12, 40, 36]; {NO_MASK}; note 1 object: box in 0..1 scaled to pixels",
    ),
    "masks in 0..1": Case(
        "boxes below a pixel",
        odd.boxed([0.125, 0.25, 0.5, 0.5], segmentation=[[0.125, 0.25, 0.625, 0.25, 0.625, 0.75, 0.125, 0.75]]),
        "1 images; 1[8, 12, 40, 36] masks [768]; note 1 object: box in 0..1 scaled to pixels",
    ),
    "corners, with areas": Case(
        "cut to the image",
        odd.boxed([20, 15, 60, 35], [10, 10, 40, 30], area=0),
        "Give --boxes corners",
    ),
    "corners, with masks": Case(
        "cut to the image",
        odd.boxed([5, 6, 25, 16], segmentation=[SQUARE]),
        f"1 images; {ONE} masks [{MASK_AREA}]; note 1 object: box read as corners x0, y0, x1, y1",
    ),
    "corners, by option": Case(
        "cut to the image",
        lambda f: coco(f, images(1), [ann(1, [20, 15, 40, 35])], boxes="corners"),
        f"1 images; 1[20, 15, 40, 35]; {NO_MASK}; note 1 object: box read as corners x0, y0, x1, y1",
    ),
    "corners, as Detectron2 says": Case(
        "cut to the image",
        odd.boxed([5, 6, 25, 16], bbox_mode=0),
        f"1 images; {ONE}; {NO_MASK}; note 1 object: box read as corners x0, y0, x1, y1",
    ),
    "sizes, as Detectron2 says": Case("silent", odd.boxed(BOX, bbox_mode=1), f"1 images; {ONE}; {NO_MASK}"),
    "turned, as Detectron2 says": Case(
        "silent",
        odd.boxed(BOX, bbox_mode=[4]),
        f"1 images; {ONE}; {NO_MASK}; note 1 object: bbox_mode is set and not used",
    ),
    "polygon as pairs": Case(
        "no mask",
        odd.boxed(BOX, segmentation=[[5, 6], [25, 6], [25, 16], [5, 16]]),
        f"1 images; {ONE} masks [{MASK_AREA}]",
    ),
    "polygon as objects": Case(
        "no mask",
        odd.boxed(BOX, segmentation=[[{"x": x, "y": y} for x, y in zip(SQUARE[::2], SQUARE[1::2], strict=True)]]),
        f"1 images; {ONE} masks [{MASK_AREA}]",
    ),
    "polygon as text": Case(
        "no mask",
        odd.boxed(BOX, segmentation=[[str(v) for v in SQUARE]]),
        f"1 images; {ONE} masks [{MASK_AREA}]",
    ),
    "no polygon": Case("no mask", odd.boxed(BOX, segmentation=[[]]), f"1 images; {ONE}; {NO_MASK}"),
    "an annotation twice": Case(
        "silent",
        odd.boxed(BOX, BOX),
        f"1 images; {ONE}; note 1 object: no mask, box only; note 1 object: its annotation is there twice, one is used",
    ),
    "an object twice": Case(
        "silent",
        lambda folder: odd.coco(folder, odd.images(1), [odd.ann(1, list(BOX), id=number) for number in (1, 2)]),
        f"1 images; {ONE} {ONE}; {NO_MASKS}; note 1 object: the same class and box as another one",
    ),
    # Categories
    "a root that is no class": Case(
        "class 1 is the root",
        odd.listed(
            {"id": 0, "name": "fruits", "supercategory": "none"},
            {"id": 1, "name": "apple", "supercategory": "fruits"},
        ),
        f"1 images; {ONE}; {ROOT}; {NO_MASK}",
    ),
    "a root with a class's name": Case(
        "refused",
        odd.listed(
            {"id": 0, "name": "Mask", "supercategory": "none"},
            {"id": 1, "name": "Mask", "supercategory": "Mask"},
        ),
        f"1 images; {ONE}; {ROOT}; {NO_MASK}",
    ),
    "a category three times": Case("refused", odd.listed(*[CATS[0]] * 3), f"1 images; {ONE}; {NO_MASK}"),
    "LVIS": Case(
        "no image",
        odd.lvis,
        f"2 images; {ONE}; note 1 detection: no class was looked for completely, image stays unlabelled; note 2 image: "
        f"found by the last parts of its path; {NO_MASKS}",
    ),
    # Names of files
    "a folder before the name": Case(
        "0 of 1",
        odd.named("images/000.jpg", "000.jpg"),
        f"1 images; {ONE}; note 1 image: found by the last parts of its path; {NO_MASK}",
    ),
    "an address": Case(
        "0 of 1",
        odd.named("my%20photo.jpg", "my photo.jpg"),
        f"1 images; {ONE}; note 1 image: found by another spelling of its name; {NO_MASK}",
    ),
    "a decomposed accent": Case(
        "0 of 1",
        odd.named(NFC, NFD),
        f"1 images; {ONE}; note 1 image: found by another spelling of its name; {NO_MASK}",
    ),
    "another name": Case("0 of 1", odd.named("a1.jpg", "a2.jpg"), "The nearest name there is 'a2.jpg'"),
    "images that the JSON does not name": Case(
        "silent",
        lambda f: coco(f, images(1), [ann(1)], files=["000.jpg", "x.jpg"]),
        f"1 images; {ONE}; note 1 image: not named in the annotations, left out; {NO_MASK}",
    ),
    "width and height swapped": Case(
        "dropped",
        lambda f: coco(f, [e | {"height": WIDTH, "width": HEIGHT} for e in images(1)], [ann(1)]),
        "0 images; dropped 1 image: width and height are swapped in its labels",
    ),
    "classes in another order": Case("refused, no way on", odd.other_order, f"1 images; {TWO}; {NO_MASK}"),
    # VOC
    "another size than the photo's": Case(
        "dropped", odd.wrong_size, "0 images; dropped 1 image: size differs from its labels'"
    ),
    "XML beside the photos": Case(
        "refused",
        lambda f: voc(f, flat=True),
        "2 images; 8[5, 6, 25, 16]; note 1 image: no ImageSets, so all images are converted",
    ),
    "VOC without ImageSets": Case(
        "refused",
        lambda f: voc(f, listed=None),
        "2 images; 8[5, 6, 25, 16]; note 1 image: no ImageSets, so all images are converted",
    ),
    "blanks in names": Case("0 of 2", lambda f: voc(f, names=("IMG 1", "IMG 2")), "2 images; 8[5, 6, 25, 16]"),
    "a list with endings": Case("0 of 2", odd.with_lines(b"000.jpg\r\n001.jpg\r\n"), "2 images; 8[5, 6, 25, 16]"),
    "a list with a mark": Case("1 of 2", odd.with_lines(odd.BOM + b"000\r\n001\r\n"), "2 images; 8[5, 6, 25, 16]"),
    "a list with flags": Case(
        "silent",
        odd.with_lines(b"000  1\n001 -1\n"),
        "2 images; 8[5, 6, 25, 16]; note 1 image: flag in the list's second column is not used",
    ),
    "own classes": Case(
        "all objects dropped",
        lambda f: voc(f, cls="raccoon"),
        f"2 images; {ONE}; note 1 detection: classes are those in the XML files",
    ),
    "CVAT's colours": Case("maps dropped", odd.cvat, f"1 images; {ONE} masks [{MASK_AREA}] ids [0, 1]"),
    "XML in 'utf8'": Case("right", odd.declared("utf8"), "1 images; 8[5, 6, 25, 16]"),
    "XML in an unknown encoding": Case("dropped", odd.declared("klingon"), "1 images; 8[5, 6, 25, 16]"),
    # Text
    "names with a mark": Case(r"\ufeffraccoon", odd.class_names(odd.BOM + b"raccoon\r\nfox\r\n"), f"2 images; {TWO}"),
    "names in UTF-16": Case("refused", odd.class_names("raccoon\r\nfox\r\n".encode("utf-16")), f"2 images; {TWO}"),
    "names in Windows' encoding": Case(
        "refused",
        odd.class_names("caf\xe9\nfox\n".encode("cp1252")),
        f"2 images; {TWO}; note 1 file: not UTF-8 and of no declared encoding, read as Windows-1252",
    ),
    "synsets with a mark": Case(
        "refused", odd.synsets("a.txt", odd.BOM + b"n01443537\r\nn01629819\r\n"), "2 images; class 0; class 1"
    ),
    "named synsets with a mark": Case(
        "1 of 2",
        odd.synsets("a.txt", odd.BOM + b"v_0.JPEG n01443537\r\nv_1.JPEG n01629819\r\n"),
        "2 images; class 0; class 1",
    ),
    # Model Garden
    "a label map": Case("one class, 'item {'", odd.model_garden("cat", MAP), f"1 images; {ONE}"),
    "a label map's other name": Case("refused", odd.model_garden("n3", MAP), f"1 images; {ONE}"),
    "another label map": Case("another class", odd.model_garden("dog", MAP), "the class with label 3 is 'dog' there"),
    # Images
    "other endings": Case(
        "left out",
        odd.endings,
        "5 images; class 0; class 1; dropped 1 image: cannot be decoded; note 1 classification: folder in a class "
        "folder is not read; note 1 image: beside the class folders, left out; note 1 image: files with the ending .db "
        "are not read",
    ),
    # Maps
    "a map of 0 and 255": Case(
        "the foreground is ignored",
        odd.binary(),
        "1 images; ids [0, 255]; note 1 segmentation: only 0 and 255 in a map of two classes, so 255 is ignored",
    ),
    "the same, nothing ignored": Case("no such option", odd.binary(ignore="none"), "1 images; ids [0, 1]"),
    "a map of one bit": Case("right", odd.binary(bits=True), "1 images; ids [0, 1]"),
    "train ids of Cityscapes": Case(
        "refused", odd.train_ids, "1 images; ids [13, 255]; note 1 segmentation: a label file is missing"
    ),
    "depth in millimetres": Case("right", odd.depth16(1000), "1 images; 2.0 to 20.0 m"),
    "depth of KITTI": Case("0.5 to 5.1 m", odd.depth16(256, depth_scale="1/256"), "1 images; 2.0 to 20.0 m"),
    "depth of Virtual KITTI": Case("0.2 to 2.0 m", odd.depth16(100, depth_scale="0.01"), "1 images; 2.0 to 20.0 m"),
    "depth of TUM": Case(
        "10.0 to 65.5 m", odd.depth16(5000, depth_scale="1/5000", depth_unknown="65535"), "1 images; 2.4 to 13.1 m"
    ),
    "65535 means unknown": Case("65.5 m", odd.depth16(1000, depth_unknown="65535"), "1 images; 2.4 to 20.0 m"),
    "depth of NumPy": Case(
        "left out", lambda f: rgbd(f, "depth", metres().astype(np.float32), ".npy"), "1 images; 2.0 to 20.0 m"
    ),
    "depth as TIFF of floats": Case(
        "dropped", lambda f: rgbd(f, "depth", metres().astype(np.float32), ".tiff"), "1 images; 2.0 to 20.0 m"
    ),
    "depth as EXR": Case(
        "refused", lambda f: rgbd(f, "depth", metres().astype(np.float32), ".exr"), "1 images; 2.0 to 20.0 m"
    ),
    "depth of 8 bits": Case(
        "dropped", lambda f: rgbd(f, "depth", (metres() * 10).astype(np.uint8)), "give --depth-scale METRES"
    ),
    "the same, with a scale": Case(
        "no such option",
        lambda f: rgbd(f, "depth", (metres() * 10).astype(np.uint8), depth_scale="0.1"),
        "1 images; 2.0 to 20.0 m",
    ),
    "two clocks": Case("0 of 1", odd.clocks, "give --match-time 0.02"),
    "two clocks, matched": Case("no such option", lambda f: odd.clocks(f, match_time=0.02), "1 images; 2.0 to 20.0 m"),
    "two clocks, too far apart": Case(
        "no such option", lambda f: odd.clocks(f, match_time=0.01), "no photo's name is a time within 0.01 seconds"
    ),
    "unknown normals in grey": Case("(0.58, 0.58, 0.58)", odd.normals(128, 128, 0), "1 images; 83% normals, z -1.0"),
    "unknown normals in darker grey": Case(
        "(0.58, 0.58, 0.58)", odd.normals(127, 127, 0), "1 images; 83% normals, z -1.0"
    ),
    "normals toward the viewer": Case("z forward", odd.normals(128, 128, 255), "give --normals-axes x,-y,-z"),
    "the same, turned": Case(
        "no such option", odd.normals(128, 128, 255, normals_axes="x,-y,-z"), "1 images; 83% normals, z -1.0"
    ),
}


@pytest.fixture(scope="module")
def outcomes() -> dict[str, str]:
    """{case: what happened}, in the order in which they ran."""
    return {}


@pytest.mark.parametrize("name", CASES)
def test_a_case_has_one_outcome(name: str, tmp_path: Path, outcomes: dict[str, str]) -> None:
    case = CASES[name]
    (tmp_path / "data").mkdir()
    try:
        outcomes[name] = outcome(converted(case.make(tmp_path / "data"), tmp_path / "out"))
    except UserError as error:
        outcomes[name] = str(error).replace(f"{tmp_path}/data/", "")
        assert case.now in outcomes[name]
    else:
        assert set(outcomes[name].split("; ")) == set(case.now.split("; "))


def test_the_table_is_printed(outcomes: dict[str, str]) -> None:
    rows = [(name, CASES[name].earlier, now) for name, now in outcomes.items()]
    print(f"\n{tables.table(('case', 'earlier', 'now'), rows, title='ordinary oddities')}")
    assert len(rows) == len(CASES)
