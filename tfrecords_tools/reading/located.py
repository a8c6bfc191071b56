"""Records by their place in a file, and by the content of their images.

TensorFlow's runtime, with which a process cannot be forked, is not started.
"""

from __future__ import annotations

import array
import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from must_tf.common import upstream
from must_tf.common.errors import UserError
from must_tf.common.progress import Progress
from must_tf.data import contents, record
from tfrecords_tools.reading.recordset import RecordSet

OPEN_FILES = 64  # kept open by each process


class LocatedRecord(NamedTuple):
    """A record's offset in bytes, its id, and the SHA-256 of its image."""

    offset: int
    source_id: str
    sha256: str


def located(path: str) -> Iterator[LocatedRecord]:
    """Yields all records of a file.

    Raises:
      UserError: the file is damaged, or a record has no image.
    """
    reader, offset = upstream.random_record_reader(path), 0
    size = tf.io.gfile.stat(path).length
    while offset < size:
        try:
            serialized, following = reader.read(offset)
            example = tf.train.Example.FromString(serialized)
            found = LocatedRecord(offset, record.info_of(example).source_id, record.content_of(example))
        except (tf.errors.OpError, IndexError, ValueError, DecodeError) as error:
            raise UserError(f"{path} is truncated or damaged at byte {offset} ({error}). Convert it again.") from error
        yield found
        offset = following


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
