"""The rate at which a run trained, as it logged it."""

from __future__ import annotations

import math
import os

from must_tf.common import files, run_files
from must_tf.common.errors import UserError

RATE = "images_per_second"  # in metrics.jsonl


def last(run: str, remedy: str) -> float:
    """Returns the images per second of a run's last loop of steps.

    Args:
      run: the run directory.
      remedy: a sentence for the message.

    Raises:
      UserError: the run has not logged any, or its file is damaged.
    """
    path = os.path.join(run, run_files.METRICS)
    lines: list[bytes] = []
    if os.path.exists(path):
        with open(path, "rb") as file:
            lines = file.read().splitlines()
    if not lines:
        raise UserError(f"{path} is missing or empty. {remedy}")
    rate = files.parse_json(lines[-1], path, (RATE,), remedy)[RATE]
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < math.inf:
        raise UserError(f"{path} is damaged: {RATE} is {rate!r}. {remedy}")
    return float(rate)
