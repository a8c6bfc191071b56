"""Files of a dataset's folders that nothing uses. They are counted once per kind, so none is left out silently."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator

from tfrecords_tools.sources import files
from tfrecords_tools.writing import on_disk
from tfrecords_tools.writing.counts import Account
from tfrecords_tools.writing.items import Listing


class FolderFiles:
    """The visible files below a folder, on disk, and which of them are used. Names are relative to the folder."""

    def __init__(self, folder: str, names: Iterable[str] | None = None):
        """Lists the folder.

        Args:
          folder: its path.
          names: the files, if they are known already.
        """
        self.folder, self._database = folder, on_disk.database()
        for table in ("files", "used"):
            self._database.execute(f"CREATE TABLE {table} (path TEXT PRIMARY KEY) WITHOUT ROWID")
        listed = files.walk(folder) if names is None else names
        self._insert("files", (name for name in listed if not files.is_hidden(name)))

    def _insert(self, table: str, names: Iterable[str]) -> None:
        with on_disk.room():
            self._database.executemany(f"INSERT OR IGNORE INTO {table} VALUES (?)", ((name,) for name in names))

    def __contains__(self, name: str) -> bool:
        return self._database.execute("SELECT 1 FROM files WHERE path = ?", (name,)).fetchone() is not None

    def __iter__(self) -> Iterator[str]:
        for (name,) in self._database.execute("SELECT path FROM files ORDER BY path"):
            yield name

    def path(self, name: str) -> str:
        """Returns the path of a file of the folder."""
        return os.path.join(self.folder, name)

    def use(self, *names: str) -> None:
        """Marks files as used."""
        self._insert("used", names)

    def use_paths(self, paths: Iterable[str]) -> None:
        """Marks files as used that are given by their paths. Those of other folders are ignored."""
        self._insert("used", (os.path.relpath(path, self.folder) for path in paths))

    def unused(self) -> Iterator[str]:
        """Yields the files that were not marked, sorted."""
        for (name,) in self._database.execute("SELECT path FROM files EXCEPT SELECT path FROM used ORDER BY path"):
            yield name

    def note_unused(self, account: Account, kind: Callable[[str], str] = files.kind_of) -> None:
        """Notes the files that were not marked, once per kind."""
        files.note_unused(self.unused(), self.folder, account, kind)

    def note_unused_outside(self, other: str, account: Account) -> None:
        """Like `note_unused`, without the files below another folder, which are noted there."""
        if is_below(self.folder, other):
            return
        left = (name for name in self.unused() if not is_below(self.path(name), other))
        files.note_unused(left, self.folder, account)


def is_below(path: str, folder: str) -> bool:
    """Returns True if a path is in a folder, at any depth, or the folder itself."""
    return os.path.relpath(path, folder).split("/")[0] != ".."


def paths_of(listing: Listing) -> Iterator[str]:
    """Yields the paths of all files that a listing uses."""
    yield from listing.inputs
    if isinstance(listing.items, on_disk.Items):
        for _, paths, _ in listing.items.rows():
            yield from paths
        return
    for item in listing.items:
        yield from item.files
