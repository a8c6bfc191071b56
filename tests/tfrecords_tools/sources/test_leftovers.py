"""Whatever lies in a dataset's folders and is not read is counted once per kind, in every source."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from must_tf.data import image_files
from tests.support.converting import must_records, noise, save
from tests.support.datasets import (
    ade_and_cityscapes,
    archives,
    coco_stuff,
    diode,
    drawn_formats,
    oddities,
    published_formats,
)
from tfrecords_tools.sources import Source, files
from tfrecords_tools.sources.cityscapes import Cityscapes
from tfrecords_tools.sources.classes import ClassFolders
from tfrecords_tools.sources.coco.objects365 import Objects365
from tfrecords_tools.sources.diode import Diode
from tfrecords_tools.sources.drawn.yolo import Yolo
from tfrecords_tools.sources.imagenet import Imagenet
from tfrecords_tools.sources.images import UnlabelledImages
from tfrecords_tools.sources.leftovers import FolderFiles, is_below
from tfrecords_tools.sources.published.ade20k import Ade20k
from tfrecords_tools.sources.published.nyu import Nyu
from tfrecords_tools.writing.counts import Account

PLANE = diode.unit((0, 0, -1))


class Layout(NamedTuple):
    """A dataset, and the folders below its root in which nothing may be left out silently."""

    make: Callable[[Path], Source]
    folders: tuple[str, ...]


def nyu(root: Path) -> Source:
    (root / "val/official").mkdir(parents=True)
    (root / "val/official/1.h5").write_bytes(b"is not opened by listing")
    return Nyu(str(root), "val")


def ade(root: Path) -> Source:
    return Ade20k(ade_and_cityscapes.ade(root, ade_and_cityscapes.columns([1, 2])))


def scan(root: Path) -> Source:
    diode.scan(root, np.ones([4, 4]), PLANE)
    return Diode(str(root))


def folders(root: Path) -> Source:
    save(root / "n01440764/a.jpg", noise(4, 4))
    return ClassFolders(str(root))


def rgbd(root: Path) -> Source:
    return oddities.rgbd(root, "depth", oddities.metres(), ".npy")


SCENE = "ai_001_001/images/scene_cam_00_"
ADE = "ADEChallengeData2016"
LAYOUTS = {
    "yolo": Layout(drawn_formats.yolo, ("images", "labels")),
    "labelme": Layout(drawn_formats.labelme, (".", "deeper")),
    "cvat": Layout(drawn_formats.cvat, ("images", "images/deeper")),
    "via": Layout(drawn_formats.via, ("images",)),
    "label studio": Layout(drawn_formats.label_studio, ("images",)),
    "open images": Layout(drawn_formats.open_images, ("images",)),
    "coco": Layout(lambda root: oddities.two()(root), ("img", "img/deeper")),
    "objects365": Layout(
        lambda root: Objects365(*coco_stuff.objects365(root, *coco_stuff.PUBLISHED)), ("train", "train/patch8")
    ),
    "voc": Layout(lambda root: oddities.voc(root), ("JPEGImages", "Annotations")),
    "kitti": Layout(published_formats.kitti, ("images", "depth")),
    "hypersim": Layout(published_formats.hypersim, (".", f"{SCENE}final_preview", f"{SCENE}geometry_hdf5")),
    "taskonomy": Layout(published_formats.taskonomy, (".", "rgb", "normal", "depth_zbuffer")),
    "ade20k": Layout(ade, (ADE, f"{ADE}/images/training", f"{ADE}/annotations/training/deeper")),
    "cityscapes": Layout(
        lambda root: Cityscapes(ade_and_cityscapes.city(root)),
        ("cityscapes/leftImg8bit/train", "cityscapes/gtFine/train/aachen"),
    ),
    "nyu": Layout(nyu, ("val", "val/official")),
    "diode": Layout(scan, (".", "indoors/scene_00019")),
    "rgbd": Layout(rgbd, (".", "rgb", "depth")),
    "classes": Layout(folders, ("n01440764",)),
    "imagenet": Layout(lambda root: Imagenet(folders(root).root), (".", "n01440764")),  # type: ignore[attr-defined]
    "images": Layout(lambda root: UnlabelledImages(folders(root).root), (".", "n01440764")),  # type: ignore[attr-defined]
}


def noted(source: Source) -> int:
    return sum(entry["count"] for entry in source.find().account.notes.content.values())


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_file_of_another_ending_is_counted_in_every_folder(name: str, tmp_path: Path) -> None:
    """Hidden files, which systems leave behind, are not."""
    layout = LAYOUTS[name]
    source = layout.make(tmp_path)
    before = noted(source)
    for folder in layout.folders:
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "stray.xyz").write_text("x")
        (tmp_path / folder / ".DS_Store").write_text("x")
    notes = source.find().account.notes.content
    assert noted(source) - before == len(layout.folders)
    told = [example for reason, entry in notes.items() if ".xyz" in reason for example in entry["examples"]]
    assert sorted(told) == sorted(str(tmp_path / folder / "stray.xyz") for folder in layout.folders)


@pytest.mark.parametrize("name", sorted(LAYOUTS.keys() - {"yolo", "open images", "classes", "imagenet", "images"}))
def test_an_image_that_nothing_names_is_counted(name: str, tmp_path: Path) -> None:
    """In the other sources it is an image without labels, or one of its class. DIODE counts it for each task, too."""
    layout = LAYOUTS[name]
    source = layout.make(tmp_path)
    save(tmp_path / layout.folders[0] / "stray.png", noise(4, 4))
    account = source.find().account
    reasons = [
        reason
        for tally in (account.notes, account.dropped)
        for reason, entry in tally.content.items()
        if any(example.endswith("stray.png") for example in entry["examples"])
    ]
    assert len(reasons) == (3 if name == "diode" else 1), reasons


def test_what_was_left_is_in_the_manifest_and_in_the_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    oddities.two()(tmp_path)
    (tmp_path / "img/b.mp4").write_text("x")
    given = ["--images", f"{tmp_path}/img", "--annotations", f"{tmp_path}/a.json", "--out", f"{tmp_path}/out", "--json"]
    assert must_records(["convert", "coco", *given], monkeypatch) == 0
    expected = {"count": 1, "examples": [f"{tmp_path}/img/b.mp4"]}
    reason = "image: files with the ending .mp4 are not read"
    assert json.loads(capsys.readouterr().out)["notes"][reason] == expected
    assert json.loads((tmp_path / "out/manifest.json").read_text())["notes"][reason] == expected


def test_the_annotations_in_the_images_folder_are_not_left_over(tmp_path: Path) -> None:
    source = oddities.two()(tmp_path)
    (tmp_path / "a.json").rename(tmp_path / "img/a.json")
    moved = type(source)(f"{tmp_path}/img", f"{tmp_path}/img/a.json")  # type: ignore[call-arg]
    assert not any("json" in reason for reason in moved.find().account.notes.content)


def test_a_member_that_replaces_an_earlier_one_is_counted(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "all.tar", "w") as archive:
        for seed in (0, 1):
            member = tarfile.TarInfo("a.jpg")
            member.size = len(archives.encoded(seed))
            archive.addfile(member, io.BytesIO(archives.encoded(seed)))
    source = UnlabelledImages(f"{tmp_path}/all.tar")
    listing = source.find()
    assert list(listing.account.notes.content) == ["image: twice in the archive, the last is used"]
    (item,) = listing.items
    assert source.load(item, Account()).image == archives.encoded(1)


def test_members_of_an_archive_are_counted_too(tmp_path: Path) -> None:
    """Two images of one name are two records."""
    inner = archives.packed({"a.JPEG": archives.encoded(0), "a.png": archives.encoded(1), "list.txt": b"x"})
    (tmp_path / "all.tar").write_bytes(archives.packed({"n01440764.tar": inner, "readme": b"x"}))
    listing = Imagenet(f"{tmp_path}/all.tar").find()
    assert [item.source_id for item in listing.items] == ["n01440764/a", "n01440764/a.png"]
    assert {reason: entry["examples"] for reason, entry in listing.account.notes.content.items()} == {
        "image: files with the ending .txt are not read": [f"{tmp_path}/all.tar/n01440764/list.txt"],
        "image: files with the ending (none) are not read": [f"{tmp_path}/all.tar/readme"],
        "image: name taken, id keeps the suffix": ["n01440764/a.png"],
    }


def test_label_files_of_no_image_are_counted_beside_the_images_too(tmp_path: Path) -> None:
    save(tmp_path / "set/a.jpg", noise(4, 4))
    for name, text in {"a.txt": "0 .5 .5 .2 .2\n", "b.txt": "0 .5 .5 .2 .2\n", "classes.txt": "cat\n"}.items():
        (tmp_path / "set" / name).write_text(text)
    (tmp_path / "data.yaml").write_text("train: set\nnames: [cat]\n")
    notes = Yolo(f"{tmp_path}/data.yaml").find().account.notes.content
    assert {reason: entry["examples"] for reason, entry in notes.items()} == {
        "detection: text file of no image, not used": [f"{tmp_path}/set/b.txt"]
    }


def test_a_folder_of_another_name_is_counted(tmp_path: Path) -> None:
    """Misspelled labels must not vanish."""
    source = rgbd(tmp_path)
    save(tmp_path / "normals/000.png", noise(4, 4))
    notes = source.find().account.notes.content
    assert notes["folder: none of rgb, depth, normal, label, not read"]["examples"] == [f"{tmp_path}/normals"]


def test_a_name_in_imagenets_list_that_fits_several_images_labels_none(tmp_path: Path) -> None:
    for name in ("x/a.JPEG", "y/a.JPEG", "y/b.JPEG"):
        save(tmp_path / "set" / name, noise(4, 4))
    save(tmp_path / "set/y/c.JPEG", noise(4, 4))
    lines = ("ImageId,PredictionString", "a,n01440764 1 2 3 4", "b,n01440765 1 2 3 4", "c,n01440765", "c,n01440764")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    listing = Imagenet(f"{tmp_path}/set", f"{tmp_path}/list.csv").find()
    assert [item.source_id for item in listing.items] == ["y/b"]
    assert listing.account.dropped.content["image: no label"]["count"] == 3
    reason = "classification: a name in the list fits several images, used for none"
    several = "classification: several synsets of an image in the list, none is used"
    assert listing.account.notes.content == {
        reason: {"count": 1, "examples": ["a"]},
        several: {"count": 1, "examples": ["c"]},
    }


def test_a_file_that_is_not_one_picture_says_why() -> None:
    """Pillow reads most of them: the largest of an icon's pictures, a texture's first layer."""
    kinds = {name: files.kind_of(f"a{name}") for name in (".ico", ".DDS", ".hdr", ".xbm", ".nef", ".qoi", ".mp4")}
    assert kinds[".ico"] == "image: files with the ending .ico are not read: pictures of several sizes; save it as PNG"
    assert all("save it as PNG" in kinds[name] for name in (".DDS", ".hdr", ".xbm", ".nef"))
    assert kinds[".qoi"] == files.UNNAMED and kinds[".mp4"] == "image: files with the ending .mp4 are not read"
    assert not any(map(files.is_image, map("a{}".format, image_files.NOT_ONE_PICTURE)))


def test_folders_of_files() -> None:
    listed, account = FolderFiles("/d", ("b/x.png", "a.txt", ".hidden", "c.0001")), Account()
    assert [*listed] == ["a.txt", "b/x.png", "c.0001"] and "a.txt" in listed and ".hidden" not in listed
    listed.use_paths(["/d/a.txt", "/elsewhere/c.0001"])
    assert [*listed.unused()] == ["b/x.png", "c.0001"]
    listed.note_unused(account)
    assert {reason: entry["examples"] for reason, entry in account.notes.content.items()} == {
        files.UNNAMED: ["/d/b/x.png"],
        "image: files with the ending (none) are not read": ["/d/c.0001"],  # numbers are no endings
    }
    assert is_below("/d/e/f", "/d/e") and is_below("/d", "/d") and not is_below("/d/ef", "/d/e")
