"""Image files for records, see `must_tf.data.image_files`. Files that cannot be used are counted as dropped."""

from __future__ import annotations

from must_tf.data import image_files
from must_tf.data.image_files import STORED as STORED
from must_tf.data.image_files import LabelFrame as LabelFrame
from must_tf.data.image_files import Pixels as Pixels
from tfrecords_tools.writing.counts import Dropped


def read_file(path: str) -> bytes:
    """Reads a file.

    Raises:
      Dropped: the file is missing or cannot be read.
    """
    try:
        return image_files.read_file(path)
    except image_files.Unreadable as error:
        raise Dropped(error.reason, error.example) from None


def upright(data: bytes, size: LabelFrame, name: str) -> Pixels:
    """Returns the image as a record stores it. The arguments are those of `image_files.upright`.

    Raises:
      Dropped: the file is not an image, is damaged, or has another size.
    """
    try:
        return image_files.upright(data, size, name)
    except image_files.Unreadable as error:
        raise Dropped(error.reason, error.example) from None
