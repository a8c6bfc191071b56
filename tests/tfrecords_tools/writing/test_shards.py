"""Shards depend only on their inputs, not on workers or kills. A command that cannot start writes nothing."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest

from must_tf.common.errors import UserError
from must_tf.data import manifest
from must_tf.data.scenes import CLASSES, DOMAINS, render
from tests.support.converting import converted, dump, files_in, must_records, noise, save
from tests.support.session.forked_python import INTERPRETER
from tests.support.tiny import ROOT
from tfrecords_tools.convert import run as convert
from tfrecords_tools.sources.images import UnlabelledImages
from tfrecords_tools.sources.rgbd import Rgbd
from tfrecords_tools.sources.scenes import Scenes
from tfrecords_tools.writing import on_disk, shards
from tfrecords_tools.writing.items import Item, Listing

# Kills itself in the middle of the second shard, with a part of it on the disk.
KILLED = """
import os, signal, sys
from tfrecords_tools.convert import run as convert
from tfrecords_tools.sources.scenes import Scenes
whole = convert._encode
made = []
def until_killed(sample):
    made.append(sample)
    if len(made) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(sample)
convert._encode = until_killed
convert.convert(Scenes("wild", 6, 1, 48), convert.Options(sys.argv[1], shards=3, workers=1))
"""

# A process in which nothing has been computed, so that workers are forked from it.
TWO_WORKERS = """
import sys
from tfrecords_tools.convert import run as convert
from tfrecords_tools.sources.scenes import Scenes
if __name__ == "__main__":
    convert.convert(Scenes("wild", 6, 1, 48), convert.Options(sys.argv[1], shards=3, workers=2))
"""


def scenes(folder: Path) -> dict[str, bytes]:
    """Six scenes in three shards."""
    convert.convert(Scenes("wild", 6, 1, 48), convert.Options(str(folder), shards=3, workers=1))
    return files_in(folder)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of an undisturbed conversion."""
    return scenes(tmp_path_factory.mktemp("whole") / "out")


def test_the_manifest_describes_the_shards(whole: dict[str, bytes]) -> None:
    content = json.loads(whole["manifest.json"])
    assert (content["format"], content["records"], content["dropped"]) == (1, 6, {})
    for number, shard in enumerate(content["shards"]):
        assert shard["file"] == f"records-{number:05}-of-00003.tfrecord"
        assert shard["records"] == 2
        assert shard["sha256"] == hashlib.sha256(whole[shard["file"]]).hexdigest()
    assert not any("partial" in name for name in whole)


def test_two_workers_write_the_same_bytes(whole: dict[str, bytes], tmp_path: Path) -> None:
    subprocess.run([*INTERPRETER, "-c", TWO_WORKERS, str(tmp_path / "out")], cwd=ROOT, check=True)
    assert files_in(tmp_path / "out") == whole


def test_a_killed_run_resumes_and_ends_with_the_same_bytes(whole: dict[str, bytes], tmp_path: Path) -> None:
    out = tmp_path / "out"
    ended = subprocess.run([*INTERPRETER, "-c", KILLED, str(out)], cwd=ROOT, capture_output=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    left = {path.name for path in out.iterdir()}
    first, second = (f"records-0000{number}-of-00003.tfrecord" for number in (0, 1))
    assert {".lock", ".shards", first} < left
    (unfinished,) = left - {".lock", ".shards", first}
    assert unfinished.startswith(f"{second}.") and unfinished.endswith(".partial")
    written = (out / first).stat().st_mtime_ns
    assert scenes(out) == whole
    assert (out / first).stat().st_mtime_ns == written  # not made again


def test_a_truncated_shard_is_written_again(whole: dict[str, bytes], tmp_path: Path) -> None:
    scenes(tmp_path / "out")
    spoiled = tmp_path / "out" / "records-00001-of-00003.tfrecord"
    spoiled.write_bytes(spoiled.read_bytes()[:-100])
    (tmp_path / "out" / "records-00002-of-00003.tfrecord").unlink()
    assert scenes(tmp_path / "out") == whole


def test_a_folder_belongs_to_one_command(tmp_path: Path) -> None:
    scenes(tmp_path / "out")
    before = files_in(tmp_path / "out")
    with pytest.raises(UserError, match="another command"):
        converted(Scenes("wild", 7, 1, 48), tmp_path / "out", shards=3)
    assert files_in(tmp_path / "out") == before


def test_changed_inputs_are_not_mixed_with_old_records(tmp_path: Path) -> None:
    save(tmp_path / "photos" / "a.png", noise(20, 30))
    converted(UnlabelledImages(str(tmp_path / "photos")), tmp_path / "out")
    save(tmp_path / "photos" / "b.png", noise(20, 30))
    with pytest.raises(UserError, match="inputs have changed"):
        converted(UnlabelledImages(str(tmp_path / "photos")), tmp_path / "out")


def test_a_label_file_of_the_same_size_has_changed(tmp_path: Path) -> None:
    """Both maps are uncompressed and have the same size; resuming must not keep labels of the old one."""
    save(tmp_path / "rooms" / "rgb" / "a.png", noise(20, 30))
    (tmp_path / "rooms" / "classes.txt").write_text("wall\nfloor\n")
    label, source = tmp_path / "rooms" / "label" / "a.png", Rgbd(str(tmp_path / "rooms"))
    save(label, np.zeros([20, 30], np.uint8), compress_level=0)
    before = label.stat()
    converted(source, tmp_path / "out")
    converted(source, tmp_path / "out")  # nothing has changed
    save(label, np.ones([20, 30], np.uint8), compress_level=0)
    os.utime(label, ns=(before.st_atime_ns, before.st_mtime_ns + 1000))
    assert label.stat().st_size == before.st_size
    with pytest.raises(UserError, match="inputs have changed"):
        converted(source, tmp_path / "out")


@pytest.mark.parametrize("packed", [False, True])
def test_classes_and_labels_affect_the_fingerprint(packed: bool) -> None:
    maker = convert.Encoder(Scenes("wild", 1, 1, 48))

    def of(label: int, names: tuple[str, ...]) -> str:
        items = [Item("a", (), label)]
        listing = Listing(on_disk.Items(items) if packed else items, {"classification": names})
        return convert.fingerprint(maker, listing, 1)

    assert of(1, ("cat", "dog")) == of(1, ("cat", "dog"))
    assert len({of(1, ("cat", "dog")), of(2, ("cat", "dog")), of(1, ("dog", "cat"))}) == 3


def test_records_of_other_programs_are_not_touched(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.tfrecord").write_bytes(b"mine")
    with pytest.raises(UserError, match="did not write"):
        converted(Scenes("wild", 1, 1, 48), tmp_path / "out")
    assert files_in(tmp_path / "out") == {"mine.tfrecord": b"mine"}


def test_every_image_is_in_exactly_one_shard(tmp_path: Path) -> None:
    for number in range(5):
        save(tmp_path / "photos" / f"{number}.png", noise(20, 30, number))
    result = converted(UnlabelledImages(str(tmp_path / "photos")), tmp_path / "out", shards=3)
    assert set(result.records) == set("01234")
    assert [shard["records"] for shard in result.outcome.manifest.shards] == [2, 2, 1]


@pytest.mark.parametrize("domain", DOMAINS)
def test_scenes_come_back_as_they_were_rendered(domain: str, tmp_path: Path) -> None:
    result = converted(Scenes(domain, 2, 3, 64), tmp_path / "out")
    assert set(result.records) == {f"{domain}-3-0", f"{domain}-3-1"}
    for index in range(2):
        record, scene = result.records[f"{domain}-3-{index}"], render(domain, 3, index, (64, 64))
        np.testing.assert_array_equal(record.image, scene.image)
        assert set(record.labels) == set(DOMAINS[domain].tasks)
        for task, labels in record.labels.items():
            assert set(labels) == set(scene.labels[task])
        if "detection" in record.labels:
            np.testing.assert_array_equal(record.labels["detection"]["boxes"], scene.labels["detection"]["boxes"])
        if "segmentation" in record.labels:
            wanted = scene.labels["segmentation"]["classes"]
            np.testing.assert_array_equal(record.labels["segmentation"]["classes"], wanted)


@pytest.mark.parametrize(
    ("tasks", "wanted"), [("all", set(CLASSES)), ("none", set()), ("depth, masks,detection", None)]
)
def test_scenes_are_labelled_for_the_chosen_tasks(tasks: str, wanted: set[str] | None, tmp_path: Path) -> None:
    record = converted(Scenes("wild", 1, 3, 48, tasks), tmp_path / "out").records["wild-3-0"]
    assert set(record.labels) == ({"depth", "masks", "detection"} if wanted is None else wanted)


def world(root: Path) -> None:
    """Writes datasets and files with mistakes in them."""
    save(root / "images" / "a.png", noise(20, 30))
    save(root / "deep" / "train" / "cat" / "a.png", noise(20, 30))
    save(root / "rooms" / "rgbs" / "a.png", noise(20, 30))
    save(root / "bare" / "rgb" / "a.png", noise(20, 30))
    (root / "empty").mkdir()
    thing = [{"id": 1, "name": "thing"}]
    image = {"id": 1, "file_name": "other.png", "height": 20, "width": 30}
    dump(root / "other.json", {"images": [image], "annotations": [], "categories": thing})
    dump(root / "list.json", [1, 2])
    dump(root / "captions.json", {"images": [image], "annotations": []})
    dump(root / "twice.json", {"images": [image], "annotations": [], "categories": [*thing, {"id": 1, "name": "b"}]})
    dump(root / "no_id.json", {"images": [{"file_name": "a.png"}], "annotations": [], "categories": thing})
    dump(root / "no_name.json", {"images": [image], "annotations": [], "categories": [{"id": 1}]})
    dump(root / "mixed.json", {"images": [image], "annotations": [], "categories": [*thing, {"id": "b", "name": "b"}]})
    dump(root / "numbers.json", {"images": [image], "annotations": [1], "categories": thing})
    (root / "text.json").write_text("not JSON")


COCO = "coco --images {root}/images --annotations {root}/"
SCENES = "scenes --domain wild --count 1 --seed 0 "
# command -> what the message must contain
MISTAKES = {
    "images --root {root}/imags": ("--root", "is not a folder", "Did you mean 'images'"),
    "images --root {root}/empty": ("no image below", "empty"),
    "classes --root {root}/empty": ("no image", "one folder of images per class"),
    "classes --root {root}/deep": ("deep/train", "Every folder directly inside --root is a class"),
    "rgbd --root {root}/rooms": ("no folder 'rgb'", "Did you mean 'rgbs'"),
    "rgbd --root {root}/bare": ("none of the 1 photos", "must convert images"),
    "rgbd --root {root}/bare --match x*": ("--match 'x*'", "a.png"),
    "coco --images {root}/nowhere --annotations {root}/other.json": ("--images", "is not a folder"),
    COCO + "othr.json": ("--annotations", "is not a file", "Did you mean 'other.json'"),
    COCO + "other.json": ("none of the 1", "such as other.png", "relative to"),
    COCO + "text.json": ("is not valid JSON",),
    COCO + "list.json": ("has no list 'images'",),
    COCO + "captions.json": ("has no list 'categories'",),
    COCO + "twice.json": ("share an id or a name",),
    COCO + "no_id.json": ("images", "'id'"),
    COCO + "no_name.json": ("categories", "'name'"),
    COCO + "mixed.json": ("categories", "all numbers or all text"),
    COCO + "numbers.json": ("annotations",),
    COCO + "other.json --panoptic {root}/nowhere": ("--panoptic", "is not a folder"),
    "scenes --domain wildd --count 1 --seed 0": ("--domain 'wildd'", "Did you mean 'wild'"),
    "scenes --domain wild --count 0 --seed 0": ("--count 0", "at least 1"),
    SCENES + "--tasks dept": ("--tasks 'dept'", "Did you mean 'depth'"),
    SCENES + "--tasks depth,masks": ("--tasks depth,masks: masks needs detection", "Name both"),
    SCENES + "--shards -1": ("--shards",),
    SCENES + "--max-drop-rate 5": ("--max-drop-rate", "between 0 and 1"),
}


@pytest.mark.parametrize("command", MISTAKES)
def test_a_mistake_is_reported_and_nothing_is_written(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world(tmp_path)
    given = ["convert", *command.format(root=tmp_path).split(), "--out", str(tmp_path / "out")]
    assert must_records(given, monkeypatch) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ")
    for part in MISTAKES[command]:
        assert part in line
    assert not (tmp_path / "out").exists()


def test_a_folder_name_may_look_like_a_pattern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Brackets in --out are part of the folder's name; its finished and unfinished shards are still found."""
    save(tmp_path / "photos" / "0.png", noise(20, 30))
    out = tmp_path / "set[1]"
    given = ["convert", "images", "--root", str(tmp_path / "photos"), "--out", str(out)]
    assert must_records(given, monkeypatch) == 0
    assert list(shards.finished(str(out))) == shards.names(1)
    for left in (out / f"{shards.names(1)[0]}.0.partial", out / shards.FOLDER / f"{shards.names(1)[0]}.json.0.partial"):
        left.write_bytes(b"")  # as by a process that was killed
    assert must_records(given, monkeypatch) == 0
    assert not list(out.rglob("*.partial"))


@pytest.mark.parametrize(("allowed", "code"), [("0.1", 1), ("0.25", 0)])
def test_more_dropped_than_allowed_is_exit_code_one(
    allowed: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        save(tmp_path / "photos" / f"{number}.png", noise(20, 30, number))
    (tmp_path / "photos" / "bad.png").write_bytes(b"no image")
    given = f"convert images --root {tmp_path}/photos --out {tmp_path}/out --max-drop-rate {allowed}".split()
    assert must_records(given, monkeypatch) == code
    printed = capsys.readouterr()
    assert ("error: 25.0% of the images were dropped; --max-drop-rate allows 10.0%" in printed.err) == (code == 1)
    assert ("or allow it with --max-drop-rate 0.25 (in a plan of" in printed.err) == (code == 1)
    assert "3 records in 1 shards" in printed.out
    assert "dropped: 1 x image: cannot be decoded" in printed.out
    written = manifest.read(str(tmp_path / "out"))
    assert written.records == 3
    assert written.dropped["image: cannot be decoded"]["count"] == 1
    assert written.command[:3] == ["must-records", "convert", "images"]


def test_the_command_of_another_can_be_pasted(tmp_path: Path) -> None:
    """Paths with spaces are quoted, and globs, which the shell must leave alone."""
    words = ["must", "convert", "images", "--root", "my [wide] data", "--exclude", "records/*.tfrecord"]
    shards.claim(str(tmp_path), "one", words)
    with pytest.raises(UserError) as error:
        shards.is_claimed(str(tmp_path), "two")
    assert shlex.split(str(error.value).splitlines()[-1]) == words
