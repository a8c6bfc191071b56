"""Exports records in this process and compares labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from must_tf.spec import Labels
from tfrecords_tools.export.run import ExportOptions, export_records
from tfrecords_tools.reading import recordset


def export(records: str, out: Path, images: bool = True) -> dict[str, Any]:
    """Exports in this process."""
    return export_records(recordset.opened(records), str(out), ExportOptions(images), 1, ["tests"])


def assert_same(labels: Labels, wanted: Labels) -> None:
    """Asserts that labels are equal, bit by bit."""
    assert set(labels) == set(wanted)
    for key, value in wanted.items():
        if isinstance(value, list):
            assert len(labels[key]) == len(value)
            for one, other in zip(labels[key], value, strict=True):
                np.testing.assert_array_equal(one, other)
        else:
            np.testing.assert_array_equal(labels[key], value)
