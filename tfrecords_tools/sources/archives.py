"""Files inside of other files, read by their place: tar archives (also of tar archives) and TFRecord files.

The places are looked up once; a worker then reads a member without unpacking anything.
"""

from __future__ import annotations

import struct
import tarfile
from collections.abc import Iterator
from typing import IO, Any

import tensorflow as tf

from must_tf.common.errors import UserError
from tfrecords_tools.writing.counts import Dropped
from tfrecords_tools.writing.items import FilePart

LENGTH = struct.Struct("<QI")  # of a TFRecord's data, and the checksum of that number
CHECKSUM = 4  # bytes after a TFRecord's data


def is_tar(path: str) -> bool:
    """By the name; a compressed one is too, and refused on reading."""
    return path.lower().endswith((".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz"))


def members(path: str, first: int = 0, size: int | None = None) -> Iterator[FilePart]:
    """The files in a tar archive, in its order, or in the one that `first` and `size` cut out of a file.

    Raises:
      UserError: it is none, is compressed, was cut off or has a damaged header.
    """
    with _opened(path) as file:
        try:
            window = _Window(file, first, size)
            with tarfile.open(fileobj=window, mode="r:") as archive:  # type: ignore[call-overload]
                for member in archive:
                    if member.isfile():
                        yield FilePart(member.name.removeprefix("./"), first + member.offset_data, member.size)
                    archive.members = []  # a million of them would not fit into memory
                _require_end(window, archive.offset)
        except tarfile.TarError as error:
            raise UserError(
                f"{path} is not a whole, uncompressed tar archive ({error}). Compressed ones cannot be read from the "
                "middle: unpack it (gunzip, or tar -xf) first."
            ) from None


def _require_end(window: _Window, at: int) -> None:
    """tarfile takes a header that it cannot read, and the file's end, for the archive's: two blocks of zeros, of which
    some tools write one."""
    window.seek(at)
    blocks = window.read(2 * tarfile.BLOCKSIZE)
    if len(blocks) < tarfile.BLOCKSIZE:
        raise tarfile.ReadError(f"it was cut off at byte {at + len(blocks)}, the mark of its end is missing")
    if any(blocks):
        raise tarfile.ReadError(f"the header at byte {at} is damaged")


class _Window:
    """A part of a file as a file, as far as tarfile needs one."""

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
    """The records of a TFRecord file; their names are their numbers.

    Raises:
      UserError: it is none, or ends in the middle.
    """
    end, at, number = tf.io.gfile.stat(path).length, 0, 0
    with _opened(path) as file:
        while at < end:
            file.seek(at)
            header = file.read(LENGTH.size)
            size = LENGTH.unpack(header)[0] if len(header) == LENGTH.size else end
            if at + LENGTH.size + size + CHECKSUM > end:
                raise UserError(f"{path} is not a whole, uncompressed TFRecord file (at byte {at} of {end}).")
            yield FilePart(str(number), at + LENGTH.size, size)
            at += LENGTH.size + size + CHECKSUM
            number += 1


def read_part(path: str, part: FilePart) -> bytes:
    """The bytes of a piece of a file.

    Raises:
      Dropped: the file is missing or shorter.
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


def _opened(path: str) -> Any:
    """Python's own file where it can be: TensorFlow's reads its whole buffer anew after every seek."""
    return tf.io.gfile.GFile(path, "rb") if "://" in path else open(path, "rb")
