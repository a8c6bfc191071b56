"""Environment variables in a plan file."""

from __future__ import annotations

import os
import re
from typing import Any

from must_tf.common.errors import Mistakes

VARIABLE = re.compile(r"\$(\w+)")


def expanded(value: Any, where: str, mistakes: Mistakes) -> Any:
    """Returns nested values with environment variables in place of `$NAME`."""
    if isinstance(value, dict):
        return {key: expanded(inner, f"{where}: {key}", mistakes) for key, inner in value.items()}
    if isinstance(value, list):
        return [expanded(inner, where, mistakes) for inner in value]
    if not isinstance(value, str):
        return value
    for name in VARIABLE.findall(value):
        if name not in os.environ:
            mistakes.problems.append(
                f"{where}: the environment variable {name} is not set. Write {name}=... before the command."
            )
    return os.path.expandvars(value)


def unset(value: Any) -> bool:
    """Returns whether some text in nested values names a variable that is not set."""
    if isinstance(value, (dict, list)):
        return any(map(unset, value.values() if isinstance(value, dict) else value))
    return isinstance(value, str) and any(name not in os.environ for name in VARIABLE.findall(value))
