"""The place of this process in a training of several, by the environment variable TF_CONFIG."""

from __future__ import annotations

import json
import os


def is_first() -> bool:
    """Returns True for the process that writes checkpoints: the chief, or else the first worker.

    TensorFlow says so only once its workers are connected.
    """
    try:
        content = json.loads(os.environ.get("TF_CONFIG") or "{}")
        place, jobs = content.get("task") or {}, content.get("cluster") or {}
        kind, index = place.get("type", "chief"), int(place.get("index", 0))
    except (ValueError, AttributeError):
        return True  # TensorFlow reports it
    return kind == "chief" or (kind == "worker" and index == 0 and "chief" not in jobs)
