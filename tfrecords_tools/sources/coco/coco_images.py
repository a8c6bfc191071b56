"""Decides which image each annotation of a COCO JSON belongs to, once all entries are in the index.

| in the JSON | becomes |
|---|---|
| an id for several files | neither is kept: nothing tells whose the annotations are |
| several entries for one file | one image with the annotations of all |
| entries of several names, like `a/1.jpg` and `b/1.jpg`, that fit one file | the one that has its name, or none |
| an `image_id` that is written differently (`"0007"` for 7) | the image with this number, if there is only one |
| an annotation of no image | dropped |
"""

from __future__ import annotations

import sqlite3

from tfrecords_tools.sources import finder
from tfrecords_tools.writing.counts import Account, Tally

AMBIGUOUS = "image: its id stands for several files"
CONTESTED = "image: other names in the JSON fit the same file"
UNITED = "image: several entries for one file, united"
REWRITTEN = "object: its image_id is written differently from its image's"
STRAY = "object: its image is not in the JSON"
NUMBERS = """
CREATE TABLE numbers AS SELECT ltrim(id, '0') AS number, min(id) AS id FROM images
    WHERE kept AND id NOT GLOB '*[^0-9]*' GROUP BY ltrim(id, '0') HAVING COUNT(DISTINCT id) = 1;
CREATE INDEX number_keys ON numbers (number);
"""
DIFFERENT = (
    "SELECT COUNT(*) FROM (SELECT DISTINCT file, written FROM images)"  # images, whether their file is there or not
)
IS_STRAY = "image NOT IN (SELECT id FROM images)"


def settle(database: sqlite3.Connection, account: Account) -> None:
    """Gives each annotation its image, and marks the images that are kept.

    Args:
      database: the tables `images` and `annotations` of `coco_index`.
      account: counts what is dropped and changed.
    """
    _drop_ambiguous(database, account)
    _drop_contested(database, account)
    _unite(database, account)
    if database.execute(f"SELECT 1 FROM annotations WHERE {IS_STRAY} LIMIT 1").fetchone():
        _match_numbers(database, account)
        _count_strays(database, account)


def _drop_ambiguous(database: sqlite3.Connection, account: Account) -> None:
    several = (
        "SELECT id, min(file), max(file), COUNT(DISTINCT file) FROM images GROUP BY id HAVING min(file) < max(file)"
    )
    for number, first, last, count in database.execute(several).fetchall():
        account.dropped.add(AMBIGUOUS, f"id {number}: {first} and {last}", count)
        database.execute("UPDATE images SET kept = 0 WHERE id = ?", (number,))


def _drop_contested(database: sqlite3.Connection, account: Account) -> None:
    """Drops entries that are of different images by their names, unless the file has the very name."""
    several = "SELECT file FROM images WHERE kept GROUP BY file HAVING COUNT(DISTINCT written) > 1"
    for (file,) in database.execute(several).fetchall():
        rows = "SELECT DISTINCT written FROM images WHERE kept AND file = ?"
        names = sorted((name for (name,) in database.execute(rows, (file,))), key=len)
        if finder.may_be_one(*names):
            continue
        others = [name for name in names if name != finder.spelled(file)]
        account.dropped.add(CONTESTED, f"{file}: {names[0]} and {names[-1]}", len(others))
        database.executemany(
            "UPDATE images SET kept = 0 WHERE file = ? AND written = ?", [(file, name) for name in others]
        )


def _unite(database: sqlite3.Connection, account: Account) -> None:
    """Keeps the first entry of each file, and gives it the annotations of the others."""
    repeated = "SELECT file, min(place), COUNT(*) FROM images WHERE kept GROUP BY file HAVING COUNT(*) > 1"
    for file, place, count in database.execute(repeated).fetchall():
        (first,) = database.execute("SELECT id FROM images WHERE place = ?", (place,)).fetchone()
        others = database.execute(
            "SELECT DISTINCT id FROM images WHERE kept AND file = ? AND id != ?", (file, first)
        ).fetchall()
        account.notes.add(UNITED, f"{file}: id {', '.join([first, *(other for (other,) in others)][:9])}", count - 1)
        database.executemany(
            "UPDATE annotations SET image = ? WHERE image = ?", [(first, other) for (other,) in others]
        )
        database.execute("UPDATE images SET kept = 0 WHERE file = ? AND place != ?", (file, place))


def _match_numbers(database: sqlite3.Connection, account: Account) -> None:
    database.executescript(NUMBERS)
    same = "SELECT id FROM numbers WHERE number = ltrim(annotations.image, '0')"
    wanted = f"WHERE {IS_STRAY} AND image NOT GLOB '*[^0-9]*' AND EXISTS ({same})"
    (count,) = database.execute(f"SELECT COUNT(*) FROM annotations {wanted}").fetchone()
    if count:
        shown = database.execute(f"SELECT image FROM annotations {wanted} ORDER BY rowid LIMIT {Tally.EXAMPLES}")
        examples = [f"image_id {image}" for (image,) in shown.fetchall()]
        account.notes.merge({REWRITTEN: {"count": count, Tally.KEY: examples}})
        database.execute(f"UPDATE annotations SET image = ({same}) {wanted}")


def _count_strays(database: sqlite3.Connection, account: Account) -> None:
    (count,) = database.execute(f"SELECT COUNT(*) FROM annotations WHERE {IS_STRAY}").fetchone()
    if count:
        first = database.execute(
            f"SELECT image FROM annotations WHERE {IS_STRAY} ORDER BY rowid LIMIT {Tally.EXAMPLES}"
        )
        examples = [f"image_id {image}" for (image,) in first]
        account.dropped.merge({STRAY: {"count": count, Tally.KEY: examples}})
