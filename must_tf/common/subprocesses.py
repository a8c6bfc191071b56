"""A command that this one starts: its whole output goes to a log, its progress and its results to the terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

PACKAGES = os.path.dirname(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
)  # where must_tf is imported from


def follow(command: Sequence[str], log: str) -> int:
    """Runs a command to its end.

    Args:
      command: program and arguments; it finds the same must_tf as this process.
      log: path of the file for its output, stdout and stderr together.

    Returns:
      Its exit code; minus the signal's number where it was killed.
    """
    os.makedirs(os.path.dirname(log) or ".", exist_ok=True)
    path = os.pathsep.join(filter(None, [PACKAGES, os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
    with (
        open(log, "w") as file,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        ) as process,
    ):
        for line in process.stdout or ():
            file.write(line)
            file.flush()  # somebody may be reading along
            _show(line.rstrip())
    return process.returncode


def last_lines(log: str, count: int) -> list[str]:
    """The last lines of a log that say something."""
    with open(log) as file:
        return [line.rstrip() for line in file if line.strip()][-count:]


def _show(line: str) -> None:
    """Progress rewrites one line on a terminal; results stay; TensorFlow's own remarks are for the log."""
    progress = " · " in line
    if progress and sys.stdout.isatty():
        print(f"\r  {line[:110]:<110}", end="", flush=True)
    elif progress or line.startswith(("evaluated ", "  ", "exported ", "error")) or " is finished: " in line:
        print(f"\n  {line}" if sys.stdout.isatty() else f"  {line}", flush=True)
