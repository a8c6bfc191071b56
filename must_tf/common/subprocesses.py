"""Runs a command as a subprocess: all of its output goes to a log, progress and results also to the terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

# The folder from which must_tf is imported.
PACKAGES = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def follow(command: Sequence[str], log: str) -> int:
    """Runs a command until it ends.

    Args:
      command: program and arguments. It imports the same must_tf as this process.
      log: path of the file for its stdout and stderr.

    Returns:
      Its exit code, or minus the number of the signal that killed it.
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
        try:
            for line in process.stdout or ():
                file.write(line)
                file.flush()  # for `tail -f`
                _show(line.rstrip())
        except SystemExit:  # this process was told to end; after Ctrl-C, the terminal has told the subprocess as well
            process.terminate()
            raise
    return process.returncode


def last_lines(log: str, count: int) -> list[str]:
    """Returns the last `count` lines of a log that are not blank."""
    with open(log) as file:
        return [line.rstrip() for line in file if line.strip()][-count:]


def _show(line: str) -> None:
    """Shows progress, which replaces its last line on a terminal, and results. The rest is only for the log."""
    progress = " · " in line
    if progress and sys.stdout.isatty():
        print(f"\r  {line[:110]:<110}", end="", flush=True)
    elif progress or line.startswith(("evaluated ", "  ", "exported ", "error")) or " is finished: " in line:
        print(f"\n  {line}" if sys.stdout.isatty() else f"  {line}", flush=True)
