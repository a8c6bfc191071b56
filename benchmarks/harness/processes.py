"""Measures the time and memory of a command with all its processes; memory is counted once."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

PAUSE = 0.25  # seconds between two memory readings
KIB = 1024


class Used(NamedTuple):
    """The time and memory that a command used."""

    seconds: float  # wall-clock time of the command
    cpu_seconds: float  # summed over all its processes
    peak_bytes: int


def run(command: Sequence[str], environment: Mapping[str, str], log: Path) -> Used:
    """Runs a command to its end and measures it.

    Raises:
      RuntimeError: the command failed; `log` has its output.
    """
    start, before = time.monotonic(), os.times()
    with log.open("w") as file:
        process = subprocess.Popen(command, env=dict(environment), stdout=file, stderr=subprocess.STDOUT)
        peak = _Peak(process.pid)
        code = process.wait()
        seconds = time.monotonic() - start
        peak_bytes = peak.stop()
    if code:
        raise RuntimeError(f"{' '.join(command)} failed with exit code {code}. Its output is in {log}")
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Used(seconds, cpu, peak_bytes)


class _Peak:
    """Watches the memory of a process and its descendants until it is stopped."""

    def __init__(self, pid: int):
        self._pid, self._peak = pid, 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """Stops watching and returns the largest sum seen, in bytes."""
        self._ended.set()
        self._thread.join()
        return self._peak

    def _watch(self) -> None:
        while not self._ended.wait(PAUSE):
            self._peak = max(self._peak, memory(_tree(self._pid)))


def _tree(pid: int) -> list[int]:
    """Returns a process and all its descendants."""
    found = [pid]
    for parent in found:
        for path in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found += [int(child) for child in path.read_text().split()]
            except OSError:  # the process has ended
                continue
    return found


def memory(pids: Sequence[int]) -> int:
    """Sums the bytes of physical memory, every page once.

    Anonymous pages count by their proportional share, so that memory shared by forked processes counts once. Pages of
    files (libraries) count as those of the process that has most, so that other programs that map them change nothing.
    """
    anonymous, of_files = 0, 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
        except OSError:
            continue
        sizes = {line.split(":")[0]: int(line.split()[1]) * KIB for line in lines}
        anonymous += sizes.get("Pss_Anon", 0) + sizes.get("Pss_Shmem", 0)
        of_files = max(of_files, sizes.get("Rss", 0) - sizes.get("Anonymous", 0))
    return anonymous + of_files
