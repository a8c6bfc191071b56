"""Images are found by the names that annotation tools give them, and never a wrong one."""

from __future__ import annotations

import unicodedata

import pytest

from tfrecords_tools.sources import files
from tfrecords_tools.sources.finder import AS_WRITTEN, ENDING, SPELLING, TAIL, Finder
from tfrecords_tools.writing.counts import Account

CAFE = unicodedata.normalize("NFD", "café.jpg")
PATHS = ("a.jpg", "b/a.jpg", "b/c.JPG", "my photo (1).jpg", CAFE, "d/x.png", "e/x.png", "y.txt", "y.png", "%20.jpg")
NAMES = {
    "a.jpg": ("a.jpg", AS_WRITTEN),
    "./a.jpg": ("a.jpg", AS_WRITTEN),
    "b\\a.jpg": ("b/a.jpg", AS_WRITTEN),
    "%20.jpg": ("%20.jpg", AS_WRITTEN),  # before it is unquoted
    "my%20photo%20%281%29.jpg": ("my photo (1).jpg", SPELLING),
    "café.jpg": (CAFE, SPELLING),
    "b/C.jpg": ("b/c.JPG", SPELLING),
    "C:\\data\\b\\a.jpg": ("b/a.jpg", TAIL),
    "/data/local-files/?d=pics/c.jpg": ("b/c.JPG", TAIL),
    "http://host/b/a.jpg?size=9": ("b/a.jpg", TAIL),
    "http://host/my%20photo%20%281%29.jpg?size=9": ("my photo (1).jpg", TAIL),
    "../../upload/1/c.jpg": ("b/c.JPG", TAIL),
    "f/x.png": None,  # two would do
    "d/x.png": ("d/x.png", AS_WRITTEN),
    "x.png": None,
    "y": ("y.png", ENDING),
    "y.jpeg": ("y.png", ENDING),
    "z.jpg": None,
    "": None,
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_has_one_file(name: str) -> None:
    assert Finder(PATHS).find(name) == NAMES[name]


@pytest.mark.parametrize(
    ("root", "path", "name", "fits"),
    [
        ("x/val", "1.jpg", "train/1.jpg", False),
        ("x/val2017", "1.jpg", "train2017/1.jpg", False),
        ("x/train", "1.jpg", "train/1.jpg", True),
        ("x/validation", "1.jpg", "val/1.jpg", True),
        ("x", "test/1.jpg", "train/1.jpg", False),
        ("x", "1.jpg", "train/1.jpg", True),
        ("x/train", "images/1.jpg", "1.png", True),
    ],
)
def test_another_splits_image_is_another_image(root: str, path: str, name: str, fits: bool) -> None:
    assert bool(Finder([path], root).find(name)) == fits


def test_how_a_file_was_found_is_noted_and_what_is_left() -> None:
    account, found = Account(), Finder(PATHS)
    assert found.noted(account, "b/C.jpg") == "b/c.JPG"
    assert found.noted(account, "d/x.png", "e/x.png") == "d/x.png"
    assert found.noted(account, "nowhere/z.jpg") == "nowhere/z.jpg"
    found.note_unused(account)
    assert {reason: entry["count"] for reason, entry in account.notes.content.items()} == {
        SPELLING: 1,
        files.UNNAMED: len(PATHS) - 3,  # without the text
        "image: files with the ending .txt are not read": 1,
    }
    assert found.nearest("my photo.jpg") == " The nearest name there is 'my photo (1).jpg'."
