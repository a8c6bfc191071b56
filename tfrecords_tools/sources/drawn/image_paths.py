"""Finds the image files that annotations name: tools write paths of other machines, URLs and other spellings."""

from __future__ import annotations

import os
import posixpath
import unicodedata
from collections.abc import Iterator
from urllib.parse import parse_qs, unquote, urlsplit

from tfrecords_tools.sources import files
from tfrecords_tools.writing import on_disk
from tfrecords_tools.writing.counts import Account

SPLITS = {"train", "training", "val", "valid", "validation", "test"}


class ImagePaths:
    """The images below a folder.

    A name is tried as it is written, without its URL and quoting, and then by its last parts if they are unique.
    """

    def __init__(self, folder: str, option: str = "--images"):
        """Lists the folder. Raises UserError if it is not one."""
        files.require_folder(folder, option)
        self.folder, self._used = folder, on_disk.NameSet()
        self._names = on_disk.NameSet(filter(files.is_image, files.walk(folder)))
        twice, ends = on_disk.NameSet(), on_disk.NameSet()
        for name in self._names:
            if not ends.add(_plain(os.path.basename(name))):
                twice.add(_plain(os.path.basename(name)))
        self._by_end = on_disk.DiskTable(
            (_plain(os.path.basename(name)), name)
            for name in self._names
            if _plain(os.path.basename(name)) not in twice
        )

    def find(self, written: str) -> str | None:
        """Returns the name below the folder of the image that an annotation calls `written`; None if it is missing."""
        for candidate in _candidates(written):
            if candidate in self._names:
                return self._use(candidate)
        for candidate in _candidates(written):
            name = self._by_end.get(_plain(posixpath.basename(candidate)))
            if name and _agree(name, candidate):
                return self._use(name)
        return None

    def _use(self, name: str) -> str:
        self._used.add(name)
        return name

    def note_others(self, account: Account, reason: str = "image: not in the annotations, left out") -> None:
        """Notes the images that were never found."""
        for name in self.others():
            account.notes.add(reason, os.path.join(self.folder, name))

    def others(self) -> Iterator[str]:
        """Yields the names of the images that were never found."""
        return (name for name in self._names if name not in self._used)

    def __len__(self) -> int:
        return sum(1 for _ in self._names)


def _candidates(written: str) -> Iterator[str]:
    """Yields the paths that a name may stand for: itself, the path of a URL, and the file of a local-files URL."""
    path = posixpath.normpath(written.strip().replace("\\", "/"))
    yield path.lstrip("/")
    url = urlsplit(written.strip())
    for local in parse_qs(url.query).get("d", ()):
        yield posixpath.normpath(local).lstrip("/")
    yield posixpath.normpath(unquote(url.path).replace("\\", "/")).lstrip("/")


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _agree(name: str, written: str) -> bool:
    """Returns False if both are in folders of different splits: `val/a.jpg` is not `train/a.jpg`."""
    own, other = (posixpath.basename(posixpath.dirname(path)).lower() for path in (name, written))
    return not ({own, other} <= SPLITS and own != other)
