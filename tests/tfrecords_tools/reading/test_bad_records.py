"""Bad records stop a command, or are left out and counted."""

from __future__ import annotations

import pytest

from must_tf.common.errors import UserError
from must_tf.data import opening
from must_tf.data.opening import BadRecord
from tfrecords_tools.reading import bad_records


def test_bad_records_are_left_out_up_to_the_number_allowed() -> None:
    def read() -> None:
        with bad_records.reading("a.tfrecord", 7):
            raise BadRecord(opening.Fault("no image", "image/encoded"))

    with pytest.raises(UserError, match="a.tfrecord record 7 .* image/encoded: no image.*--skip-bad"):
        read()
    bad_records.allow(1)
    try:
        read()
        assert len(bad_records.left_out()) == 1
        with pytest.raises(UserError, match="more than --skip-bad 1"):
            read()
    finally:
        bad_records.allow(0)


def test_what_a_disk_refuses_is_not_the_fault_of_the_record() -> None:
    with pytest.raises(OSError), bad_records.reading("a.tfrecord", 7):
        raise OSError(28, "No space left on device")
