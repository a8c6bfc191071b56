"""Packages that are not installed.

`pip install must-tf` installs what an export needs to predict. Training and records need more.
"""

from __future__ import annotations

import importlib.util

TRAINING = "pip install 'must-tf[train]'"
OWN = ("must_tf", "tfrecords_tools")
ADDED = ("deflate",)  # packages that installations of an earlier version lack
MODEL_GARDEN = "official"  # of the packages for training, the one without which none of them is of use


def remedy(error: BaseException) -> str:
    """Returns a message about a package that could not be imported; "" if the error is about something else.

    So it is if the packages for training are installed: then something else imports what is missing, a user's own task
    for example, and only the traceback tells what.
    """
    name = (error.name or "").split(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if name in ADDED:
        return f"{name} is not installed. This version of must_tf needs it. Install must_tf again, as you did before."
    if not name or name in OWN or importlib.util.find_spec(MODEL_GARDEN) is not None:
        return ""
    return f"{name} is not installed. This command needs the packages for training. Install them with: {TRAINING}"
