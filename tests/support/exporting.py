"""Exports records in this process and compares labels."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from must_tf.spec import Labels
from tfrecords_tools.export.run import ExportOptions, export_records
from tfrecords_tools.reading import recordset
from tfrecords_tools.writing import shards


def export(records: str, out: Path, images: bool = True) -> dict[str, Any]:
    """Exports in this process."""
    return export_records(recordset.opened(records), str(out), ExportOptions(images), 1, ["tests"])


def lose_its_disk(out: Path, patch: pytest.MonkeyPatch) -> None:
    """Lets the disk of an export vanish before its last file. Some files were written later, into new folders."""
    write = recordset.over_shards

    def then_lost(*arguments: Any) -> None:
        write(*arguments)
        lost = out.rename(out.with_name("the lost disk"))
        shutil.copytree(lost, out, ignore=shutil.ignore_patterns(shards.COMMAND, ".lock"))

    patch.setattr(recordset, "over_shards", then_lost)


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
