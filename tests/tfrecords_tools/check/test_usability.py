"""`check` finds labels that follow all rules and of which nothing can be learned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.checking import checked
from tests.support.converting import converted, noise, save
from tests.support.datasets.oddities import BOX, HEIGHT, WIDTH, ann, coco, colours, images, metres, rgbd
from tfrecords_tools.sources import Source
from tfrecords_tools.sources.classes import ClassFolders


def crowds(folder: Path) -> Source:
    """Two photos with crowds only."""
    return coco(folder, images(2), [ann(n, iscrowd=1) for n in (1, 2)])


def tiny(folder: Path) -> Source:
    """A box that is too small, and a crowd."""
    return coco(folder, images(1), [ann(1, [5, 5, 1.5, 9]), ann(1, [20, 9, 20, 20], iscrowd=1)])


def empty(folder: Path) -> Source:
    """A photo without an object."""
    return coco(folder, images(1), [])


def mixed(folder: Path) -> Source:
    """A crowd, a tiny box and one that can be trained on."""
    return coco(folder, images(1), [ann(1, iscrowd=1), ann(1, [5, 5, 1, 9]), ann(1)])


def mostly_ignored(folder: Path) -> Source:
    """A map of which a twentieth is known."""
    ids = np.full([48, 64], 255, np.uint8)
    ids[:2] = 1
    return rgbd(folder, "label", ids, classes="a\nb\nc\n")


def squares(folder: Path) -> Source:
    """Masks that are their whole boxes, as some tools make them from boxes."""
    x, y, width, height = BOX
    polygon = [[x, y, x + width, y, x + width, y + height, x, y + height]]
    return coco(folder, images(10), [ann(n + 1, segmentation=polygon) for n in range(10)])


def whole(folder: Path) -> Source:
    """Boxes that say only what is somewhere in the image."""
    return coco(folder, images(10), [ann(n + 1, [0, 0, 64, 48]) for n in range(10)])


def one_class(folder: Path) -> Source:
    """Ten photos of one of two classes."""
    (folder / "dog").mkdir(parents=True)
    for number in range(10):
        save(folder / "cat" / f"{number}.png", noise(HEIGHT, WIDTH, number))
    return ClassFolders(str(folder))


def nothing_measured(folder: Path) -> Source:
    """Depth of which no pixel is known, beside a map with some."""
    source = rgbd(folder, "depth", np.zeros([HEIGHT, WIDTH], np.uint16))
    for name in ("b", "c"):
        save(folder / "rgb" / f"{name}.png", noise(HEIGHT, WIDTH, ord(name)))
        values = np.zeros([HEIGHT, WIDTH]) if name == "b" else metres() * 1000
        save(folder / "depth" / f"{name}.png", values.astype(np.uint16))
    return source


def flat(folder: Path) -> Source:
    """Depth of one value, as after a division of whole numbers."""
    return rgbd(folder, "depth", np.full([HEIGHT, WIDTH], 2000, np.uint16))


def blank(folder: Path) -> Source:
    """A photo of one colour, as a download that failed may leave it."""
    source = coco(folder, images(1), [ann(1)])
    save(folder / "img" / "000.jpg", np.full([HEIGHT, WIDTH, 3], 7, np.uint8))
    return source


def far(folder: Path) -> Source:
    """Depth in millimetres that is taken for metres."""
    return rgbd(folder, "depth", (metres() * 1000).astype(np.uint16), depth_scale="1")


FINDINGS: dict[str, tuple[Callable[[Path], Source], list[str]]] = {
    "crowds": (crowds, ["detection: all objects are crowds or difficult, so none is trained"]),
    "tiny boxes": (tiny, ["detection: all boxes are smaller than 2 pixels"]),
    "no object": (empty, ["detection: nothing to train on"]),
    "something to train": (mixed, []),
    "a map that is ignored": (mostly_ignored, ["segmentation: most maps are nearly all ignored"]),
    "masks made from boxes": (squares, ["masks: all masks fill their boxes, were they made from boxes?"]),
    "boxes of whole images": (whole, ["detection: all boxes cover their whole image"]),
    "one class of two": (one_class, ["classification: only one of its classes occurs"]),
    "no depth": (nothing_measured, ["depth: most maps are nearly all ignored"]),
    "one depth": (flat, ["depth: all known pixels have one value"]),
    "one colour": (blank, ["image: all pixels have one colour"]),
    "depth beyond reason": (far, ["depth: beyond reason, is its unit right?"]),
}


@pytest.mark.parametrize("name", FINDINGS)
def test_crowds_and_other_labels_of_no_use_are_found(name: str, tmp_path: Path) -> None:
    make, problems = FINDINGS[name]
    converted(make(tmp_path / "data"), tmp_path / "records")
    result = checked(f"{tmp_path}/records/*.tfrecord")
    assert [problem for problem in result["findings"] if "of masks" not in problem] == problems


def test_one_of_many_boxes_may_cover_its_image(tmp_path: Path) -> None:
    corner = [10, 10, 54, 38]  # it ends where the image does
    source = coco(tmp_path / "data", images(1), [ann(1, [0, 0, 64, 48]), ann(1, corner, 2)])
    converted(source, tmp_path / "records")
    result = checked(f"{tmp_path}/records/*.tfrecord")
    assert result["findings"] == {}
    assert result["notes"]["detection: boxes that cover their whole image"]["count"] == 1


def test_normals_that_face_away_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The conversion would refuse them."""
    from tfrecords_tools.sources import rgbd_maps

    monkeypatch.setattr(rgbd_maps, "require_facing", lambda shares, options: None)
    converted(rgbd(tmp_path / "data", "normal", colours(128, 128, 255)), tmp_path / "records")
    result = checked(f"{tmp_path}/records/*.tfrecord")
    assert [*result["findings"]] == ["normals: most face away from the camera"]


def test_absent_classes_and_repeated_photos_are_notes(tmp_path: Path) -> None:
    source = coco(tmp_path / "data", images(2), [ann(1), ann(2)])
    (tmp_path / "data/img/001.jpg").write_bytes((tmp_path / "data/img/000.jpg").read_bytes())
    converted(source, tmp_path / "records")
    result: dict[str, Any] = checked(f"{tmp_path}/records/*.tfrecord")
    assert result["findings"] == {}
    assert {reason: note["count"] for reason, note in result["notes"].items()} == {
        "detection: classes that never occur": 1,
        "the same photo more than once": 1,
    }
    assert result["notes"]["detection: classes that never occur"]["places"] == ["1 of 2: dog"]
