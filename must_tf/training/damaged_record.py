"""Finds the record that made a run fail: TensorFlow's error says what is wrong, but not where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import tensorflow as tf

from must_tf.data import framing, opening, record
from must_tf.spec import TaskConfig, TaskSpec

# TensorFlow quotes a record that is none in its message, which is then not UTF-8.
UNREADABLE = (tf.errors.DataLossError, tf.errors.InvalidArgumentError, opening.BadRecord, UnicodeDecodeError)


def find(paths: Sequence[str], specs: Mapping[str, TaskSpec], configs: Mapping[str, TaskConfig]) -> str:
    """Returns a message about the first damaged file or record; "" if all can be read.

    Args:
      paths: record files, which are read from the start.
      specs: the tasks by name.
      configs: the tasks whose labels are read too.
    """
    for path in paths:
        if framing.whole_records(path) is not None:
            return f"{path} is truncated or damaged: a record is longer than the file. Convert the records again."
        try:
            for number, serialized in enumerate(_records(path)):
                if reason := _problem(serialized, specs, configs):
                    return (
                        f"{path}: {_name(serialized, number)} cannot be decoded: {reason}. Convert the records again."
                    )
        except tf.errors.DataLossError:
            return f"{path} is truncated or damaged. Convert the records again."
    return ""


def _records(path: str) -> Iterator[bytes]:
    return tf.data.TFRecordDataset(path).as_numpy_iterator()


def _problem(serialized: bytes, specs: Mapping[str, TaskSpec], configs: Mapping[str, TaskConfig]) -> str:
    """Returns what keeps a record from being read, with its key; "" if nothing does.

    The input pipeline reads the keys of a task without an origin as well, so they are checked here.
    """
    try:
        example = opening.parsed(serialized)
        faults = [*opening.of_image(example)] or [*opening.of_tasks(example, specs, configs, tuple(configs))]
        if faults:
            return str(faults[0])
        record.decode_image(opening.image_of(example))
        record.label_tensors(serialized, tf.constant(record.info_of(example)[1:]), specs, configs)
    except UNREADABLE as error:
        return str(getattr(error, "message", error)).splitlines()[0][:160]
    return ""


def _name(serialized: bytes, number: int) -> str:
    try:
        return f"record {number} ({record.info_of(opening.parsed(serialized)).source_id!r})"
    except opening.BadRecord:
        return f"record {number}"
