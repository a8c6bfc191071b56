"""Files inside other files: members of tar archives (also nested ones) and records of TFRecord files.

Their positions are listed once; a worker then reads a member without unpacking anything.
"""

from __future__ import annotations

import struct
import tarfile
from collections.abc import Iterator
from typing import IO, Any

import tensorflow as tf

from must_tf.common import upstream
from must_tf.common.errors import UserError
from must_tf.common.files import require_an_end
from tfrecords_tools.writing.counts import Dropped
from tfrecords_tools.writing.items import FilePart

LENGTH = struct.Struct("<QI")  # length of a TFRecord's data, and the checksum of the length
CHECKSUM = 4  # bytes after a TFRecord's data


def is_tar(path: str) -> bool:
    """Returns True for names of tar archives, also of compressed ones, which `members` refuses."""
    return path.lower().endswith((".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz"))


def members(path: str, first: int = 0, size: int | None = None) -> Iterator[FilePart]:
    """Yields the files in a tar archive in their order; `first` and `size` select a nested archive.

    Raises:
      UserError: the file is not a tar archive, is compressed, was cut off or has a damaged header.
    """
    with _opened(path) as file:
        try:
            window = _Window(file, first, size)
            with tarfile.open(fileobj=window, mode="r:") as archive:  # type: ignore[call-overload]
                for member in archive:
                    if member.isfile():
                        yield FilePart(member.name.removeprefix("./"), first + member.offset_data, member.size)
                    archive.members = []  # tarfile keeps all members; a million would not fit into memory
                _require_end(window, archive.offset)
        except tarfile.TarError as error:
            raise UserError(
                f"{path} is not a complete, uncompressed tar archive ({error}). If it is compressed, "
                "unpack it first (gunzip, or tar -xf)."
            ) from None


def _require_end(window: _Window, at: int) -> None:
    """Raises ReadError unless the archive ends at this position with a block of zeros.

    tarfile also stops at a header that it cannot read, and at the end of the file. An archive ends with two blocks of
    zeros, but some tools write only one.
    """
    window.seek(at)
    blocks = window.read(2 * tarfile.BLOCKSIZE)
    if len(blocks) < tarfile.BLOCKSIZE:
        raise tarfile.ReadError(f"it was cut off at byte {at + len(blocks)}; its end marker is missing")
    if any(blocks):
        raise tarfile.ReadError(f"the header at byte {at} is damaged")


class _Window:
    """A part of a file as a file object, with the methods that tarfile needs."""

    def __init__(self, file: IO[bytes], first: int, size: int | None):
        self._file, self._first, self._size, self._at = file, first, size, 0

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset if whence == 0 else self._at + offset
        return self._at

    def read(self, count: int = -1) -> bytes:
        if self._size is not None:
            left = max(0, self._size - self._at)
            count = left if count < 0 else min(count, left)
        self._file.seek(self._first + self._at)
        data = self._file.read(count)
        self._at += len(data)
        return data


def records(path: str) -> Iterator[FilePart]:
    """Yields the records of a TFRecord file, named by their numbers.

    Raises:
      UserError: the file is not a TFRecord file, or was cut off.
    """
    end, at, number = tf.io.gfile.stat(path).length, 0, 0
    with _opened(path) as file:
        while at < end:
            file.seek(at)
            header = file.read(LENGTH.size)
            size = LENGTH.unpack(header)[0] if len(header) == LENGTH.size else end
            if at + LENGTH.size + size + CHECKSUM > end:
                raise UserError(f"{path} is not a complete, uncompressed TFRecord file (at byte {at} of {end}).")
            yield FilePart(str(number), at + LENGTH.size, size)
            at += LENGTH.size + size + CHECKSUM
            number += 1


def read_part(path: str, part: FilePart) -> bytes:
    """Reads a part of a file.

    Raises:
      Dropped: the file is missing or too short.
    """
    try:
        with _opened(path) as file:
            file.seek(part.offset)
            data = file.read(part.size)
    except (OSError, tf.errors.OpError) as error:
        raise Dropped("image: file cannot be read", f"{path}: {error}") from None
    if len(data) < part.size:
        raise Dropped("image: file cannot be read", f"{path}: ends within {part.name}")
    return data


def read_record(path: str, part: FilePart) -> bytes:
    """Reads a record of a TFRecord file, see `records`.

    Raises:
      Dropped: the file is missing or too short, or the record's checksum is another one.
    """
    data = read_part(path, part._replace(size=part.size + CHECKSUM))
    record, checksum = data[: part.size], data[part.size :]
    if upstream.record_checksum(record) != checksum:
        raise Dropped("image: record is damaged, its checksum is another one", f"{path}, record {part.name}")
    return record


def _opened(path: str) -> Any:
    """Opens a local file with Python: TensorFlow's reader fills its whole buffer again after every seek."""
    require_an_end(path)
    return tf.io.gfile.GFile(path, "rb") if "://" in path else open(path, "rb")
