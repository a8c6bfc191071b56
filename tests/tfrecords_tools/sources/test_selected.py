"""--part and --exclude: photos are chosen by content, in every format alike, and are not lost silently."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from must_tf.common.errors import UserError
from tests.support.converting import Converted, converted, dump, files_in, must_records, noise, save
from tfrecords_tools.sources.classes import ClassFolders
from tfrecords_tools.sources.coco.coco import Coco
from tfrecords_tools.sources.images import UnlabelledImages
from tfrecords_tools.sources.scenes import Scenes
from tfrecords_tools.sources.selected import selected

SHARE = 0.3


def album(folder: Path, count: int = 24) -> str:
    """Writes different photos; returns the folder."""
    for number in range(count):
        save(folder / f"{number:02}.png", noise(9, 12, number))
    return str(folder)


def below(folder: Path, share: float) -> set[str]:
    """Returns the names of the photos whose hash is below the share, by hand: 64 bits of the file's SHA-256."""
    numbers = {path: int.from_bytes(hashlib.sha256(path.read_bytes()).digest()[:8], "big") for path in folder.iterdir()}
    return {path.stem for path, number in numbers.items() if number / 2**64 < share}


def part(root: str, name: str, out: Path, share: float = SHARE) -> Converted:
    """Converts one part of an album."""
    return converted(selected(UnlabelledImages(root), name, share, ()), out)


def test_the_hash_of_a_photo_decides_its_part(tmp_path: Path) -> None:
    root = album(tmp_path / "album")
    wanted = below(tmp_path / "album", SHARE)
    validation, train = (part(root, name, tmp_path / name) for name in ("validation", "train"))
    assert set(validation.records) == wanted and 3 < len(wanted) < 12
    assert set(train.records) == {f"{number:02}" for number in range(24)} - wanted
    assert train.notes() == {"left out: in the validation part": len(wanted)}
    assert validation.notes() == {"left out: in the train part": 24 - len(wanted)}
    assert (train.outcome.image_drop_rate, train.outcome.manifest.dropped) == (0.0, {})


def test_a_photo_is_on_the_same_side_in_another_format(tmp_path: Path) -> None:
    """The photos lie in folders of classes under other names."""
    album(tmp_path / "album")
    for path in (tmp_path / "album").iterdir():
        copy = tmp_path / "kinds" / ("even" if int(path.stem) % 2 == 0 else "odd") / f"photo{path.name}"
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    kinds = converted(selected(ClassFolders(str(tmp_path / "kinds")), "validation", SHARE, ()), tmp_path / "out")
    assert {name[-2:] for name in kinds.records} == below(tmp_path / "album", SHARE)


def test_photos_of_other_records_are_left_out(tmp_path: Path) -> None:
    """Five of the photos are in the records under other names; two sets name one of them."""
    root = album(tmp_path / "album", 8)
    for name, numbers in (("val", (1, 2, 3, 4)), ("test", (4, 5))):
        for number in numbers:
            save(tmp_path / name / f"{name}-{number}.png", noise(9, 12, number))
        converted(UnlabelledImages(str(tmp_path / name)), tmp_path / "records" / name)
    patterns = [f"{tmp_path}/records/{name}/*.tfrecord" for name in ("val", "test")]
    result = converted(selected(UnlabelledImages(root), "", 0.1, patterns), tmp_path / "out", shards=2)
    assert set(result.records) == {"00", "06", "07"}
    assert result.notes() == {f"left out: in {tmp_path}/records/{n}": c for n, c in (("val", 4), ("test", 1))}
    assert (result.counts(), result.outcome.image_drop_rate) == ({}, 0.0)


def test_what_was_lost_of_photos_of_the_other_part_is_not_counted(tmp_path: Path) -> None:
    """Every photo has a box without an area."""
    root = album(tmp_path / "album", 12)
    images = [{"id": n, "file_name": f"{n:02}.png", "height": 9, "width": 12} for n in range(12)]
    boxes = [{"id": n, "image_id": n, "category_id": 1, "bbox": [1, 1, 0, 4]} for n in range(12)]
    content = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "cat"}]}
    source = Coco(root, dump(tmp_path / "boxes.json", content))
    result = converted(selected(source, "validation", SHARE, ()), tmp_path / "out")
    assert sum(result.counts().values()) == len(result.records) == len(below(tmp_path / "album", SHARE))


def test_a_conversion_resumes_and_belongs_to_its_share(tmp_path: Path) -> None:
    root, out = album(tmp_path / "album"), tmp_path / "out"
    source = selected(UnlabelledImages(root), "train", SHARE, ())
    converted(source, out, shards=3)
    whole = files_in(out)
    (out / "manifest.json").unlink()
    (out / "records-00001-of-00003.tfrecord").unlink()
    converted(selected(UnlabelledImages(root), "train", SHARE, ()), out, shards=3)
    assert files_in(out) == whole
    for other in (selected(UnlabelledImages(root), "train", 0.4, ()), UnlabelledImages(root)):
        with pytest.raises(UserError, match="belongs to another command"):
            converted(other, out, shards=3)


def test_other_excluded_photos_are_another_command(tmp_path: Path) -> None:
    """The excluded records are made anew with another photo, at the same place."""
    root, pattern = album(tmp_path / "album", 6), f"{tmp_path}/val/*.tfrecord"
    converted(Scenes("wild", 1, 1, 32), tmp_path / "val")
    converted(selected(UnlabelledImages(root), "", 0.1, [pattern]), tmp_path / "out")
    shutil.rmtree(tmp_path / "val")
    converted(Scenes("wild", 1, 2, 32), tmp_path / "val")
    with pytest.raises(UserError, match="belongs to another command"):
        converted(selected(UnlabelledImages(root), "", 0.1, [pattern]), tmp_path / "out")


@pytest.mark.parametrize("name", ["train", "validation"])
@pytest.mark.parametrize("share", [0.0001, 0.9999])
def test_an_empty_part_is_refused_with_a_share_that_fits(name: str, share: float, tmp_path: Path) -> None:
    root = album(tmp_path / "album", 4)
    empty = "validation" if share < 0.5 else "train"
    with pytest.raises(UserError, match=f"leaves the {empty} part without a photo: .* only 4") as error:
        part(root, name, tmp_path / "out", share)
    assert not (tmp_path / "out").exists()
    better = float(str(error.value).partition("Give --validation-share ")[2].split()[0])
    assert 0 < len(part(root, name, tmp_path / "out", better).records) < 4


def test_one_photo_cannot_be_in_both_parts(tmp_path: Path) -> None:
    """It is there twice."""
    for number in range(2):
        save(tmp_path / "album" / f"{number}.png", noise(9, 12))
    with pytest.raises(UserError, match="there is only one photo. Add other photos"):
        part(str(tmp_path / "album"), "train", tmp_path / "out")


def test_nothing_left_is_an_error(tmp_path: Path) -> None:
    root = album(tmp_path / "album", 3)
    converted(UnlabelledImages(root), tmp_path / "all")
    source = selected(UnlabelledImages(root), "", 0.1, [f"{tmp_path}/all/*.tfrecord"])
    with pytest.raises(UserError, match=f"no photo is left to convert: 3 are in {tmp_path}/all"):
        converted(source, tmp_path / "out")
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    root = album(tmp_path / "album")
    save(tmp_path / "one" / "x.png", noise(9, 12, int(min(below(tmp_path / "album", SHARE)))))
    converted(UnlabelledImages(str(tmp_path / "one")), tmp_path / "records")
    given = ["convert", "images", "--root", root, "--part", "validation", "--validation-share", str(SHARE)]
    given += ["--exclude", f"{tmp_path}/records/*.tfrecord", "--out", f"{tmp_path}/out", "--workers", "1"]
    capsys.readouterr()
    assert must_records(given, monkeypatch) == 0
    printed = capsys.readouterr().out
    count = len(below(tmp_path / "album", SHARE))
    assert f"{24 - count} photos are left out: they are in the train part" in printed
    assert f"1 photo is left out: it is in {tmp_path}/records" in printed
    written: dict[str, Any] = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert written["records"] == count - 1
    assert set(given[2:-2]) - set(written["command"]) == set()


MISTAKES = {
    "--part valid": "--part 'valid' does not exist. Did you mean 'validation'?",
    "--part train --validation-share 1": "--validation-share 1 is out of range",
    "--validation-share 0.2": "--validation-share needs --part",
    "--exclude {tmp}/none/*.tfrecord": "--exclude",
    "--name a/b": "--name 'a/b' cannot name a dataset",
    "--name corrected-x": "cannot name a dataset",
}


@pytest.mark.parametrize("options", MISTAKES)
def test_a_mistake_ends_the_command_before_it_starts(
    options: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["convert", "images", "--root", album(tmp_path / "album", 2), *options.format(tmp=tmp_path).split()]
    assert must_records([*given, "--out", f"{tmp_path}/out"], monkeypatch) == 2
    assert MISTAKES[options] in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
