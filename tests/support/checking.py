"""`must-records check` in this process."""

from __future__ import annotations

from typing import Any

from tfrecords_tools.check import run as check
from tfrecords_tools.reading import recordset


def checked(records: str) -> dict[str, Any]:
    """Returns the report of `must-records check`, made in this process."""
    return check.check(recordset.opened(records), 1)
