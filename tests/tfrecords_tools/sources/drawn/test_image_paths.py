"""Images are found by the names that other machines wrote, if only one file can be meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.datasets.drawn import photos, write
from tfrecords_tools.sources.drawn.image_paths import CONTESTED, MISSING, ImagePaths
from tfrecords_tools.sources.finder import TAIL
from tfrecords_tools.writing.counts import Account

FOUND = {
    "a.jpg": "a.jpg",
    "./a.jpg": "a.jpg",
    "C:\\x\\a.jpg": "a.jpg",
    "file:///x/a.jpg": "a.jpg",
    "deep/b.jpg": "deep/b.jpg",
    "b.jpg": "deep/b.jpg",
    "other/c.jpg": None,  # there are two
    "train/c.jpg": "train/c.jpg",
    "gone.jpg": None,
}


@pytest.mark.parametrize("written", FOUND)
def test_a_name_is_found_if_one_file_can_be_meant(written: str, tmp_path: Path) -> None:
    photos(tmp_path, "a.jpg", "deep/b.jpg", "train/c.jpg", "val/c.jpg")
    account = Account()
    assert ImagePaths(str(tmp_path)).take(account, written, twice="twice") == FOUND[written]
    assert (MISSING in account.dropped.content) == (FOUND[written] is None)


def test_a_file_of_another_split_is_not_taken(tmp_path: Path) -> None:
    photos(tmp_path, "val/d.jpg")
    paths, account = ImagePaths(str(tmp_path)), Account()
    assert paths.take(account, "train/d.jpg", twice="twice") is None
    assert paths.take(account, "images/d.jpg", twice="twice") == "val/d.jpg"
    account.notes.content.pop(TAIL)
    paths.note_others(account, ())
    assert account.notes.content == {}


def test_files_that_are_neither_images_nor_the_annotations_are_noted(tmp_path: Path) -> None:
    photos(tmp_path, "a.jpg")
    for name in ("set.json", "b.mp4", ".c.mp4", "another.json"):
        write(tmp_path / name, "x")
    paths, account = ImagePaths(str(tmp_path)), Account()
    assert paths.take(account, "a.jpg", twice="twice") == "a.jpg"
    paths.note_others(account, [f"{tmp_path}/set.json", "/elsewhere/another.json"])
    assert {reason: entry["examples"] for reason, entry in account.notes.content.items()} == {
        "image: files with the ending .json are not read": [f"{tmp_path}/another.json"],
        "image: files with the ending .mp4 are not read": [f"{tmp_path}/b.mp4"],
    }


def test_an_image_is_taken_once(tmp_path: Path) -> None:
    """Also by another of its names, and the first of several names counts that fits."""
    photos(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    paths, account = ImagePaths(str(tmp_path)), Account()
    assert paths.take(account, "gone.jpg", "a.jpg", "b.jpg", twice="twice") == "a.jpg"
    assert paths.take(account, "./x/a.jpg", twice="twice", shown="task 7") is None
    assert account.dropped.content == {"twice": {"count": 1, "examples": ["task 7"]}}
    assert list(paths.others()) == ["b.jpg", "c.jpg"]


def test_an_image_that_names_of_several_folders_fit_is_nobodys(tmp_path: Path) -> None:
    """`--images` is one folder too low: nothing tells whose image it is."""
    photos(tmp_path, "1.jpg")
    paths, account = ImagePaths(str(tmp_path)), Account()
    assert paths.take(account, "b/1.jpg", twice="twice") == "1.jpg"
    assert list(paths.contested) == []
    assert paths.take(account, "a/1.jpg", twice="twice") is None
    assert list(paths.contested) == [f"{tmp_path}/1.jpg"]
    assert account.dropped.content == {CONTESTED: {"count": 1, "examples": ["a/1.jpg"]}}


def test_an_image_of_the_very_name_stays(tmp_path: Path) -> None:
    photos(tmp_path, "a/1.jpg")
    paths, account = ImagePaths(str(tmp_path)), Account()
    assert paths.take(account, "a/1.jpg", twice="twice") == "a/1.jpg"
    assert paths.take(account, "b/1.jpg", twice="twice") is None
    assert (list(paths.contested), account.dropped.content) == ([], {MISSING: {"count": 1, "examples": ["b/1.jpg"]}})
