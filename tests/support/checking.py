"""`must check` in this process."""

from __future__ import annotations

from typing import Any

from tfrecords_tools.check.run import check_dataset
from tfrecords_tools.reading import recordset


def checked(records: str) -> dict[str, Any]:
    """Returns the report of `must check`, made in this process."""
    return check_dataset(recordset.opened(records), 1)
