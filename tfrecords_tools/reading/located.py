"""Records by their place in a file, and by the content of their images.

TensorFlow's runtime, with which a process cannot be forked, is not started.
"""

from __future__ import annotations

import array
import functools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from must_tf import tasks
from must_tf.common import upstream
from must_tf.common.errors import UserError
from must_tf.common.progress import Progress
from must_tf.data import contents, framing, opening, record
from tfrecords_tools.reading import bad_records
from tfrecords_tools.reading.recordset import RecordSet

OPEN_FILES = 64  # kept open by each process


class LocatedRecord(NamedTuple):
    """A record's offset in bytes, its id, and the SHA-256 of its image."""

    offset: int
    source_id: str
    sha256: str


def located(path: str, configs: Mapping[str, Any] | None = None) -> Iterator[LocatedRecord]:
    """Yields all records of a file, except for bad ones that `bad_records` leaves out.

    Args:
      path: of the file.
      configs: the tasks whose labels are checked too; None checks only the id and the image.

    Raises:
      UserError: the file is damaged, or a record is bad.
    """
    reader, offset, number, size = upstream.random_record_reader(path), 0, 0, tf.io.gfile.stat(path).length
    whole_ones = framing.whole_records(path)
    while offset < size:
        try:
            if number == whole_ones:
                raise UserError(f"{path} is truncated or damaged at byte {offset}. Convert it again.")
            serialized, following = reader.read(offset)
        except (tf.errors.OpError, IndexError) as error:
            raise UserError(f"{path} is truncated or damaged at byte {offset} ({error}). Convert it again.") from error
        with bad_records.reading(path, number):
            example = opening.parsed(serialized)
            found = LocatedRecord(offset, record.info_of(example).source_id, record.content_of(example))
            if configs is not None:
                opening.require(example, tasks.discover(), configs)
            yield found
        offset, number = following, number + 1


def read(path: str, offset: int) -> bytes:
    """Returns the record at this offset."""
    return _reader(path).read(offset)[0]


@functools.lru_cache(maxsize=OPEN_FILES)
def _reader(path: str) -> Any:
    return upstream.random_record_reader(path)


def contents_of(dataset: RecordSet) -> np.ndarray:
    """Returns uint64 [records], `contents.short` of each image, in the order of the records.

    Raises:
      UserError: as in `located`.
    """
    progress, numbers = Progress(dataset.records, "read", "records"), array.array("Q")
    for path in dataset.paths:
        for found in located(path):
            numbers.append(contents.short(found.sha256))
            progress.advance()
    progress.close()
    return np.frombuffer(numbers.tobytes(), np.uint64)
