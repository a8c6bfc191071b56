"""VIA's annotations as CSV: one line per region, or one line for an image without regions."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from must_tf.common.errors import UserError
from tfrecords_tools.sources import files
from tfrecords_tools.writing import on_disk
from tfrecords_tools.writing.counts import Account

NEEDED = ("filename", "region_shape_attributes", "region_attributes")
NAME, SHAPE, ATTRIBUTES, OF_FILE, SIZE = *NEEDED, "file_attributes", "file_size"
KNOWN = (*NEEDED, OF_FILE, SIZE, "region_count", "region_id")
APART = "image: its lines are in several places of the CSV, united"
NOT_READ = "object: line cannot be read"
SCHEMA = "CREATE TABLE lines (place INTEGER PRIMARY KEY, image TEXT, cells TEXT)"
# The images in the order of their first lines.
ORDERED = """
SELECT image, cells FROM lines JOIN (SELECT image AS name, min(place) AS first FROM lines GROUP BY image)
ON name = image ORDER BY first, place
"""

Row = Mapping[str, str]


class CsvImage(NamedTuple):
    """The lines of one image.

    Attributes:
      filename: as in the CSV.
      regions: (shape_attributes, region_attributes) of each.
      file_attributes: of the last line that has any; text if it is not JSON.
      others: the columns that VIA does not write and that have a value.
    """

    filename: str
    regions: list[tuple[Any, Any]]
    file_attributes: Any
    others: dict[str, str]


def images(path: str, account: Account) -> Iterator[CsvImage]:
    """Yields the images of a CSV, each once, whatever the order of its lines. A line that is not JSON costs itself.

    Raises:
      UserError: the file is not VIA's.
    """
    for _, group in itertools.groupby(_lines(path, account), lambda line: line[0]):
        rows: list[Row] = [json.loads(cells) for _, cells in group]
        regions = []
        for row in rows:
            try:
                shape, attributes = (_value(row[column]) for column in (SHAPE, ATTRIBUTES))
            except (ValueError, RecursionError):
                account.dropped.add(NOT_READ, f"{path}: {row[NAME]}: {row[SHAPE]} {row[ATTRIBUTES]}"[:200])
                continue
            regions += [(shape, attributes)] if shape or attributes else []
        others = {key: value for row in rows for key, value in row.items() if value and key not in KNOWN}
        of_file = [value for row in rows if (value := _lenient(row.get(OF_FILE, "")))]
        yield CsvImage(rows[0][NAME], regions, of_file[-1] if of_file else {}, others)


def _lines(path: str, account: Account) -> Iterator[tuple[str, str]]:
    """Yields image and cells of each line, those of an image together.

    Two files of one name differ in their size, so both tell one image from another.
    """
    database, seen, last = on_disk.database(), on_disk.NameSet(), ""
    database.execute(SCHEMA)
    cells = files.read_rows(path, "--annotations")
    header = _header(next(cells, []), path)
    with on_disk.room():
        for values in cells:
            header += [f"column {number}" for number in range(len(header) + 1, len(values) + 1)]
            row = dict(itertools.zip_longest(header, values, fillvalue=""))
            image = json.dumps([row[NAME], row.get(SIZE, "")])
            if image != last and not seen.add(image):
                account.notes.add(APART, f"{path}: {row[NAME]}")
            last = image
            database.execute("INSERT INTO lines (image, cells) VALUES (?, ?)", (image, json.dumps(row)))
        database.execute("CREATE INDEX images ON lines (image)")
        yield from database.execute(ORDERED)


def _header(header: list[str], path: str) -> list[str]:
    """Returns the names of the columns, also of those without one."""
    for column in NEEDED:
        if column not in header:
            raise UserError(f"--annotations {path} has no column {column!r}. Export the annotations of VIA as CSV.")
    if repeated := [column for column in KNOWN if header.count(column) > 1]:
        raise UserError(f"--annotations {path} has the column {repeated[0]!r} more than once. Rename the others.")
    return [name or f"column {number}" for number, name in enumerate(header, 1)]


def _value(cell: str) -> Any:
    return json.loads(cell or "{}")


def _lenient(cell: str) -> Any:
    """Returns the value of a cell that no label depends on; its text if it is not JSON."""
    try:
        return _value(cell)
    except (ValueError, RecursionError):
        return cell
