"""Packages that are not installed.

`pip install must-tf` installs what an export needs to predict. Training and records need more.
"""

from __future__ import annotations

TRAINING = "pip install 'must-tf[train]'"
OWN = ("must_tf", "tfrecords_tools")


def remedy(error: BaseException) -> str:
    """Returns a message about a package that could not be imported; "" if the error is about something else."""
    name = (error.name or "").split(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if not name or name in OWN:
        return ""
    return f"{name} is not installed. This command needs the packages for training. Install them with: {TRAINING}"
