"""Collections that are kept on disk, so that a million items take no memory.

Each is a private SQLite database in $TMPDIR. SQLite unlinks the file as soon as it is open, so nothing is left behind
even if the process is killed. It is about as large as the annotations.
"""

from __future__ import annotations

import contextlib
import pickle
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar, overload

from must_tf.common.errors import UserError
from tfrecords_tools.writing.items import Item

V = TypeVar("V")

CACHE_KB = 2 * 1024  # page cache of each of a handful of databases; the system also caches the file


class _Private(sqlite3.Connection):
    """Is closed with its last user. Python 3.13 warns if it is left to do that itself."""

    def __del__(self) -> None:
        with contextlib.suppress(sqlite3.Error):  # collected in another thread, in which it cannot be closed
            self.close()


def database() -> sqlite3.Connection:
    """Opens an empty private database. It is never committed: a single transaction is fastest."""
    connection = sqlite3.connect("", factory=_Private)
    for pragma in ("journal_mode = OFF", "synchronous = OFF", f"cache_size = -{CACHE_KB}"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


@contextlib.contextmanager
def room() -> Iterator[None]:
    """Turns a full disk into a UserError."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise UserError(
            f"the index of the images cannot be written: {error}. Set TMPDIR to a folder with more space."
        ) from error


class PackedItems(Sequence[Item]):
    """Pickled items on their way to another process, unpickled on access."""

    def __init__(self, rows: Sequence[tuple[str, bytes, bytes]]):
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, place: int) -> Item: ...
    @overload
    def __getitem__(self, place: slice) -> PackedItems: ...
    def __getitem__(self, place: int | slice) -> Item | PackedItems:
        return PackedItems(self._rows[place]) if isinstance(place, slice) else _item(self._rows[place])


class Items(Sequence[Item]):
    """An append-only list of items. Only its own process can read it; workers are sent slices."""

    def __init__(self, items: Iterable[Item] = ()):
        self._database, self._count = database(), 0
        self._database.execute("CREATE TABLE items (place INTEGER PRIMARY KEY, id TEXT, files BLOB, labels BLOB)")
        for item in items:
            self.append(item)

    def append(self, item: Item) -> None:
        """Appends an item."""
        with room():
            row = (self._count, item.source_id, pickle.dumps(item.files), pickle.dumps(item.labels))
            self._database.execute("INSERT INTO items VALUES (?, ?, ?, ?)", row)
        self._count += 1

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, place: int) -> Item: ...
    @overload
    def __getitem__(self, place: slice) -> PackedItems: ...
    def __getitem__(self, place: int | slice) -> Item | PackedItems:
        if isinstance(place, slice):
            return PackedItems([self._at(index) for index in range(self._count)[place]])
        return _item(self._at(range(self._count)[place]))

    def __iter__(self) -> Iterator[Item]:
        for row in self._database.execute("SELECT id, files, labels FROM items ORDER BY place"):
            yield _item(row)

    def rows(self) -> Iterator[tuple[str, tuple[str, ...], bytes]]:
        """Yields id, files and pickled labels; unpickling labels would take most of the time."""
        for source_id, files, labels in self._database.execute("SELECT id, files, labels FROM items ORDER BY place"):
            yield source_id, pickle.loads(files), labels

    def _at(self, place: int) -> tuple[str, bytes, bytes]:
        return self._database.execute("SELECT id, files, labels FROM items WHERE place = ?", (place,)).fetchone()


def _item(row: tuple[str, bytes, bytes]) -> Item:
    source_id, files, labels = row
    return Item(source_id, pickle.loads(files), pickle.loads(labels))


class NameSet:
    """A set of strings, iterated in sorted order."""

    def __init__(self, names: Iterable[str] = ()):
        self._database = database()
        self._database.execute("CREATE TABLE names (name TEXT PRIMARY KEY) WITHOUT ROWID")
        for name in names:
            self.add(name)

    def add(self, name: str) -> bool:
        """Adds a name; returns True if it is new."""
        with room():
            return self._database.execute("INSERT OR IGNORE INTO names VALUES (?)", (name,)).rowcount > 0

    def add_numbered(self, name: str) -> str:
        """Adds the name, or else `name__2` or with the next number that is new. Returns what was added.

        Numbers that were tried are remembered: a million equal names would otherwise take hours.
        """
        if self.add(name):
            return name
        with room():
            self._database.execute("CREATE TABLE IF NOT EXISTS numbers (name TEXT PRIMARY KEY, next INT) WITHOUT ROWID")
            found = self._database.execute("SELECT next FROM numbers WHERE name = ?", (name,)).fetchone()
        number = found[0] if found else 2
        while not self.add(unique := f"{name}__{number}"):
            number += 1
        with room():
            self._database.execute("INSERT OR REPLACE INTO numbers VALUES (?, ?)", (name, number + 1))
        return unique

    def __contains__(self, name: str) -> bool:
        return self._database.execute("SELECT 1 FROM names WHERE name = ?", (name,)).fetchone() is not None

    def __iter__(self) -> Iterator[str]:
        for (name,) in self._database.execute("SELECT name FROM names ORDER BY name"):
            yield name

    def __bool__(self) -> bool:
        return self._database.execute("SELECT 1 FROM names").fetchone() is not None


class DiskTable(Mapping[str, V]):
    """A read-only dictionary, iterated in the order of its keys. The last value of a repeated key counts."""

    def __init__(self, pairs: Iterable[tuple[str, V]] = ()):
        self._database = database()
        self._database.execute("CREATE TABLE pairs (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID")
        with room():
            rows = ((key, pickle.dumps(value)) for key, value in pairs)
            self._database.executemany("INSERT OR REPLACE INTO pairs VALUES (?, ?)", rows)

    def __getitem__(self, key: str) -> V:
        row = self._database.execute("SELECT value FROM pairs WHERE key = ?", (key,)).fetchone()
        if row is None:
            raise KeyError(key)
        return pickle.loads(row[0])

    def __iter__(self) -> Iterator[str]:
        for (key,) in self._database.execute("SELECT key FROM pairs ORDER BY key"):
            yield key

    def __len__(self) -> int:
        return self._database.execute("SELECT COUNT(*) FROM pairs").fetchone()[0]
