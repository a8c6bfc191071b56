"""Finds the record that made a run fail: TensorFlow's error says what is wrong, but not where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import tensorflow as tf
from google.protobuf.message import DecodeError

from must_tf.data import record
from must_tf.spec import TaskConfig, TaskSpec

UNREADABLE = (tf.errors.DataLossError, tf.errors.InvalidArgumentError)


def find(paths: Sequence[str], specs: Mapping[str, TaskSpec], configs: Mapping[str, TaskConfig]) -> str:
    """Returns a message about the first damaged file or record; "" if all can be read.

    Args:
      paths: record files, which are read from the start.
      specs: the tasks by name.
      configs: the tasks whose labels are read too.
    """
    for path in paths:
        try:
            for number, serialized in enumerate(_records(path)):
                if not _is_readable(serialized, specs, configs):
                    return f"{path}: {_name(serialized, number)} cannot be decoded. Convert the records again."
        except tf.errors.DataLossError:
            return f"{path} is truncated or damaged. Convert the records again."
    return ""


def _records(path: str) -> Iterator[bytes]:
    return tf.data.TFRecordDataset(path).as_numpy_iterator()


def _is_readable(serialized: bytes, specs: Mapping[str, TaskSpec], configs: Mapping[str, TaskConfig]) -> bool:
    try:
        example = tf.train.Example.FromString(serialized)
        record.decode_image(example.features.feature["image/encoded"].bytes_list.value[0])
        record.read_labels(serialized, specs, configs)
    except (*UNREADABLE, DecodeError, IndexError):
        return False
    return True


def _name(serialized: bytes, number: int) -> str:
    try:
        return f"record {number} ({record.info_of(tf.train.Example.FromString(serialized)).source_id!r})"
    except (DecodeError, IndexError, UnicodeDecodeError):
        return f"record {number}"
