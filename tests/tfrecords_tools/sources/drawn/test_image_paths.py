"""Images are found by the names that other machines wrote, if only one file can be meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.datasets.drawn import photos
from tfrecords_tools.sources.drawn.image_paths import ImagePaths
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
    assert ImagePaths(str(tmp_path)).find(written) == FOUND[written]


def test_a_file_of_another_split_is_not_taken(tmp_path: Path) -> None:
    photos(tmp_path, "val/d.jpg")
    paths, account = ImagePaths(str(tmp_path)), Account()
    assert paths.find("train/d.jpg") is None and paths.find("images/d.jpg") == "val/d.jpg"
    paths.note_others(account)
    assert account.notes.content == {}
