"""Finds image files by the names that annotation tools give them.

A name is tried as written, then unquoted (`my%20photo.jpg`), then in any spelling (composed or decomposed accents,
upper or lower case), then by the last parts of its path, then with another ending. Only one file may fit. A path of
another split (`train/a.jpg` in a folder `val`) fits none: its image is another one.
"""

from __future__ import annotations

import difflib
import os
import posixpath
import unicodedata
import urllib.parse
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tfrecords_tools.sources import files
from tfrecords_tools.writing import on_disk
from tfrecords_tools.writing.counts import Account

AS_WRITTEN = ""
SPELLING = "image: found by another spelling of its name"
TAIL = "image: found by the last parts of its path"
ENDING = "image: found with another ending"
COMPARED = 5000  # names that a message compares with a missing one
SCHEMA = "CREATE TABLE files (path TEXT PRIMARY KEY, base TEXT, stem TEXT, used INTEGER, name TEXT) WITHOUT ROWID"
INDICES = ("CREATE INDEX bases ON files (base)", "CREATE INDEX stems ON files (stem)")


class FoundFile(NamedTuple):
    """A file, and how it was found: `AS_WRITTEN` or the reason that is noted."""

    path: str
    how: str


def normalised(name: str) -> str:
    """Returns a path with slashes and without detours: `.\\a\\b.jpg` -> `a/b.jpg`."""
    return posixpath.normpath(name.strip().replace("\\", "/"))


class Finder:
    """The image files below a folder, on disk. `name in finder` tells if there is a file of exactly this path."""

    def __init__(self, paths: Iterable[str], root: str = ""):
        """Lists the files.

        Args:
          paths: relative to the folder.
          root: the folder, whose name may say which split it is.
        """
        self._root, self._database = root, on_disk.database()
        self._database.execute(SCHEMA)
        with on_disk.room():
            rows = ((path, spelled(os.path.basename(path)), spelled(_stem_of(path)), 0) for path in paths)
            self._database.executemany("INSERT OR IGNORE INTO files VALUES (?, ?, ?, ?, '')", rows)
            for statement in INDICES:
                self._database.execute(statement)

    def __contains__(self, path: str) -> bool:
        return self._database.execute("SELECT 1 FROM files WHERE path = ?", (path,)).fetchone() is not None

    def find(self, *names: str) -> FoundFile | None:
        """Returns the file that the first of these names fits which fits any, and marks it as used."""
        for name in names:
            found = self._find(name)
            if found:
                with on_disk.room():
                    self._database.execute("UPDATE files SET used = 1 WHERE path = ?", (found.path,))
                return found
        return None

    def noted(self, account: Account, *names: str) -> str:
        """Returns the path of `find`, and notes how it was found; the first name, normalised, if there is no file."""
        found = self.find(*names)
        if found is None:
            return normalised(names[0]) if names else ""
        if found.how:
            account.notes.add(found.how, f"{names[0]} is {found.path}")
        return found.path

    def _find(self, name: str) -> FoundFile | None:
        written = normalised(name)
        if written in self:
            return FoundFile(written, AS_WRITTEN)
        path = written.partition("?")[0]  # of a URL
        forms = list(dict.fromkeys((written, *(urllib.parse.unquote(form) for form in (written, path)), path)))
        for form in forms:
            if form in self:
                return FoundFile(form, SPELLING)
        for form in forms:
            if path := self._best("base", spelled(posixpath.basename(form)), form):
                same = spelled(path) == spelled(form)
                return FoundFile(path, SPELLING if same else TAIL)
        for form in forms:
            if path := self._best("stem", spelled(_stem_of(form)), form):
                return FoundFile(path, ENDING)
        return None

    def _best(self, column: str, key: str, name: str) -> str:
        """Returns the only file with this key that shares the most last parts with the name, or an empty string."""
        query = f"SELECT path FROM files WHERE {column} = ?"
        candidates = [
            path for (path,) in self._database.execute(query, (key,)) if not self._of_another_split(path, name)
        ]
        if column == "stem":
            candidates = [path for path in candidates if files.is_image(path)]
        shared = [_shared(path, name) for path in candidates]
        best = [path for path, count in zip(candidates, shared, strict=True) if count == max(shared)]
        return best[0] if len(best) == 1 else ""

    def _of_another_split(self, path: str, name: str) -> bool:
        own = _splits(f"{os.path.basename(os.path.abspath(self._root))}/{path}")
        return bool(own and _splits(name) and not own & _splits(name))

    def nearest(self, name: str) -> str:
        """Returns " The nearest name there is 'x'.", or an empty string."""
        listed = self._database.execute("SELECT path FROM files LIMIT ?", (COMPARED,))
        by_base = {posixpath.basename(path): path for (path,) in listed}
        close = difflib.get_close_matches(posixpath.basename(normalised(name)), by_base, n=1, cutoff=0.0)
        return f" The nearest name there is {by_base[close[0]]!r}." if close else ""

    def use_paths(self, paths: Iterable[str]) -> None:
        """Marks files as used that are given by their paths. Those of other folders are ignored."""
        with on_disk.room():
            rows = ((os.path.relpath(path, self._root or "."),) for path in paths)
            self._database.executemany("UPDATE files SET used = 1 WHERE path = ?", rows)

    def take(self, path: str, name: str) -> str:
        """Gives a file to the image of this name. Returns the name of the one that it was given to before, or ""."""
        (before,) = self._database.execute("SELECT name FROM files WHERE path = ?", (path,)).fetchone()
        if not before:
            with on_disk.room():
                self._database.execute("UPDATE files SET name = ? WHERE path = ?", (name, path))
        return before

    def note_unused(self, account: Account) -> None:
        """Notes the files that nothing named, once per kind."""
        files.note_unused(self.unused(), self._root, account)

    def unused(self) -> Iterator[str]:
        """Yields the files that nothing named, sorted."""
        for (path,) in self._database.execute("SELECT path FROM files WHERE NOT used ORDER BY path"):
            yield path


def spelled(name: str) -> str:
    """Returns one form of all spellings of a name."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def written_name(name: str) -> str:
    """Returns one form of all spellings of an image's name, with its folders."""
    return spelled(urllib.parse.unquote(normalised(name)))


def may_be_one(*names: str) -> bool:
    """Returns True if the names, as of `written_name`, differ only by the number of folders: `1.jpg` and `a/1.jpg`."""
    longest = max(names, key=len)
    return all(f"/{longest}".endswith(f"/{name}") for name in names)


def _stem_of(path: str) -> str:
    base = posixpath.basename(path)
    return files.stem(base) if files.is_image(base) else base


def _shared(path: str, name: str) -> int:
    """Returns the number of last folders that two paths share; their file names fit already."""
    own, other = (spelled(posixpath.dirname(part)).split("/")[::-1] for part in (path, name))
    count = 0
    for first, second in zip(own, other, strict=False):
        if first != second:
            break
        count += 1
    return count


def _splits(path: str) -> set[str]:
    """Returns the splits that the folders of a path name, in their short form."""
    words = {word.lower().rstrip("0123456789") for word in posixpath.dirname(path).split("/")}  # train2017
    short = {"training": "train", "valid": "val", "validation": "val"}
    return {short.get(word, word) for word in words & set(files.SPLITS) if word != "images"}
