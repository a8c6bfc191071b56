"""Every `must-records convert` command: help with layout and example, records, and mistakes before the start."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import typer

from tests.support.converting import must_records, noise, save
from tests.support.datasets import ade_and_cityscapes, archives, coco_stuff, diode, mg_records, nyu, voc
from tests.support.datasets.must_tiny import MustTiny
from tests.support.mistakes import check
from tests.support.tiny import image_bytes
from tfrecords_tools.cli import main

COMMANDS = typer.main.get_command(main.app).commands["convert"].commands  # type: ignore[attr-defined]
Arguments = list[str]


def _mg(root: Path) -> Arguments:
    mg_records.record(root / "a.tfrecord", image__encoded=image_bytes(noise(30, 40), ".jpg"), image__class__label=1)
    return ["--records", str(root / "a.tfrecord"), "--classes", mg_records.names(root, "a", "b")]


def _images(root: Path) -> Arguments:
    save(root / "photos" / "a.png", noise(8, 8))
    return ["--root", str(root / "photos")]


def _classes(root: Path) -> Arguments:
    save(root / "photos" / "cat" / "a.png", noise(8, 8))
    return ["--root", str(root / "photos")]


def _rgbd(root: Path) -> Arguments:
    save(root / "rooms" / "rgb" / "a.png", noise(8, 8))
    save(root / "rooms" / "depth" / "a.png", np.ones([8, 8], np.uint16))
    return ["--root", str(root / "rooms"), "--match", "a*"]


def _coco(root: Path) -> Arguments:
    images, annotations = coco_stuff.coco(root)
    return ["--images", images, "--annotations", annotations, "--stuff", coco_stuff.stuff_json(root)]


def _objects365(root: Path) -> Arguments:
    images, annotations = coco_stuff.objects365(root, *coco_stuff.PUBLISHED)
    return ["--images", images, "--annotations", annotations]


def _imagenet(root: Path) -> Arguments:
    (root / "labels.txt").write_text(archives.LABELS["one per line"])
    return ["--root", archives.flat(root), "--labels", str(root / "labels.txt")]


def _diode(root: Path) -> Arguments:
    diode.scan(root / "val", np.ones([96, 128]), np.ones([96, 128, 3]))
    return ["--root", str(root / "val")]


# command -> (what writes its dataset and gives its options, how many records come of it). tfds needs its own folder.
GOOD: dict[str, tuple[Callable[[Path], Arguments], int]] = {
    "rgbd": (_rgbd, 1),
    "classes": (_classes, 1),
    "images": (_images, 1),
    "scenes": (lambda root: ["--domain", "wild", "--count", "1", "--seed", "1", "--size", "32"], 1),
    "mg": (_mg, 1),
    "coco": (_coco, 2),
    "objects365": (_objects365, 2),
    "voc": (lambda root: ["--root", voc.write(root, {"a": voc.annotation()})], 1),
    "ade20k": (lambda root: ["--root", ade_and_cityscapes.ade(root, np.zeros([32, 48], np.uint8))], 1),
    "cityscapes": (lambda root: ["--root", ade_and_cityscapes.city(root), "--split", "train"], 1),
    "imagenet": (_imagenet, 3),
    "cifar100": (lambda root: ["--root", archives.cifar(root), "--split", "train"], 3),
    "nyu": (lambda root: ["--root", nyu.labelled_mat(root), "--split", "test"], 1),
    "diode": (_diode, 1),
}


# Their commands are tested in their own files below `sources/drawn` and `sources/published`.
ELSEWHERE = {"yolo", "labelme", "cvat", "via", "label-studio", "open-images"}
ELSEWHERE |= {"kitti", "hypersim", "taskonomy", "webdataset", "hugging-face"}


def test_every_command_is_tested() -> None:
    assert set(COMMANDS) == {*GOOD, *ELSEWHERE, "tfds"}


@pytest.mark.parametrize("name", GOOD)
def test_a_command_writes_its_records(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make, count = GOOD[name]
    arguments = ["convert", name, *make(tmp_path), "--out", str(tmp_path / "out"), "--max-drop-rate", "1.0"]
    assert must_records([*arguments, "--workers", "1"], monkeypatch) == 0
    written = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert written["records"] == count
    assert written["command"][:3] == ["must-records", "convert", name]
    assert set(written["command"][3:]) <= set(arguments)  # in their own order, without defaults
    assert must_records(arguments, monkeypatch) == 0  # there is nothing left to do


def test_the_command_of_tfds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    MustTiny(data_dir=str(tmp_path / "data")).download_and_prepare()
    arguments = ["--name", "must_tiny", "--split", "train", "--data-dir", str(tmp_path / "data")]
    arguments += ["--map", "image=photo/jpeg", "--map", "classification=label", "--out", str(tmp_path / "out")]
    assert must_records(["convert", "tfds", *arguments, "--workers", "1"], monkeypatch) == 0
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["records"] == 3


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_the_layout_and_an_example(name: str) -> None:
    text = COMMANDS[name].help
    if name != "scenes":
        assert "Layout: " in text
    assert f"Example: must-records convert {name} --" in text
    for option in {word.rstrip(":,.;") for word in text.split() if word.startswith("--")}:
        assert option in {opt for parameter in COMMANDS[name].params for opt in parameter.opts}, option


def test_the_list_of_sources_cuts_no_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert must_records(["convert", "--help"], monkeypatch) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "..." not in shown.partition("Commands:")[2]
    assert "rgbd Photos with depth, normals and segmentation maps in folders side by side. classes" in shown


MISTAKES: dict[str, tuple[Arguments, tuple[str, ...]]] = {
    "map without a feature": (
        ["tfds", "--name", "x", "--split", "train", "--data-dir", ".", "--map", "label"],
        ("--map 'label'", "TASK=NAME"),
    ),
    "map twice": (
        ["tfds", "--name", "x", "--split", "train", "--data-dir", ".", "--map", "depth=a", "--map", "depth=b"],
        ("--map names a task twice",),
    ),
    "classes without a file": (["mg", "--records", "x", "--classes", "detection="], ("--classes 'detection='",)),
    "no VOC": (["voc", "--root", "no"], ("--root 'no' is not a folder",)),
    "no ADE20K": (["ade20k", "--root", "no"], ("--root 'no' is not a folder",)),
    "no Cityscapes": (["cityscapes", "--root", "no"], ("--root 'no' is not a folder",)),
    "no ImageNet": (["imagenet", "--root", "no.tar"], ("--root 'no.tar' is not a file",)),
    "no CIFAR": (["cifar100", "--root", "no"], ("--root 'no' is not a folder",)),
    "no NYU": (["nyu", "--root", "no.mat"], ("--root 'no.mat' is not a file",)),
    "a folder for a file": (
        ["coco", "--images", ".", "--annotations", "."],
        ("--annotations '.' is a folder. Name a file in it.",),
    ),
    "no DIODE": (["diode", "--root", "no"], ("--root 'no' is not a folder",)),
    "no Objects365": (["objects365", "--images", "no", "--annotations", "no"], ("--images 'no' is not a folder",)),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_ends_the_command_before_it_starts(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    arguments, expected = MISTAKES[name]
    out = str(tmp_path / "out")
    code = must_records(["convert", *arguments, "--out", out], monkeypatch)
    check(code, capsys.readouterr().err, out, expected)


def test_notes_and_metres_are_printed_and_in_the_json_and_the_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same reasons in all three. The depth is a millimetre everywhere, which is noted."""
    save(tmp_path / "rooms" / "rgb" / "b.png", noise(8, 8, 1))
    arguments = ["convert", "rgbd", *_rgbd(tmp_path), "--out", str(tmp_path / "out"), "--workers", "1", "--json"]
    assert must_records([*arguments[:4], *arguments[6:]], monkeypatch) == 0
    printed, errors = capsys.readouterr()
    result, written = json.loads(printed), json.loads((tmp_path / "out" / "manifest.json").read_text())
    lines = [line for line in errors.splitlines() if line.startswith("note: ")]
    assert [line.partition(" x ")[2].partition(", first")[0] for line in lines] == sorted(result["notes"])
    assert len(lines) == 2 and result["notes"] == written["notes"]
    assert result["metres"] == pytest.approx({"least": 0.001, "median": 0.001, "largest": 0.001, "images": 1})
    assert "depth: 1 real:rooms, 0.001 m to 0.001 m, median 0.001" in errors
