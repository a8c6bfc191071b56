"""Kills labelling jobs again and again and compares the result: `python -m tests.tools.kills --kills 12`.

A job has two or three processes. It runs alone, or beside a second job, like in a batch system. After a random number
of images its main process, one of its workers, or all of its processes are killed with SIGKILL. In the end, the records
must equal those of one undisturbed process.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from must_tf.common.errors import exit_on_user_error
from tests.support import formula_teacher
from tfrecords_tools.label import parallelism

VICTIMS = ("main", "worker", "group")
SHARDS, IMAGES = 6, 10  # images per shard; a batch has eight


class KillTest(NamedTuple):
    """The files and the speed of the jobs."""

    folder: Path
    records: str
    seconds: float  # spent on each image

    @property
    def out(self) -> Path:
        """The output folder of the killed jobs."""
        return self.folder / "out"

    @property
    def seen(self) -> Path:
        """A file with one byte for each image that a teacher has seen."""
        return self.folder / "seen"

    def images_seen(self) -> int:
        """Returns the number of images seen so far."""
        return self.seen.stat().st_size if self.seen.exists() else 0


def started(world: KillTest, out: Path, workers: int, part: str = "") -> int:
    """Starts a job in its own process group and returns its process id."""
    if child := os.fork():
        return child
    os.setsid()
    log = os.open(world.folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)

    def run() -> None:
        teacher = formula_teacher.teacher(("depth", "detection"), seconds=world.seconds, seen=str(world.seen))
        request = formula_teacher.request(world.records, teacher)
        formula_teacher.labelled(request, out, workers=workers, part=parallelism.parse_part(part))

    os._exit(exit_on_user_error(run))


def kill(job: int, victim: str) -> None:
    """Kills the main process, a worker or the group of a job, unless it has ended."""
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        if victim == "group":
            os.killpg(job, signal.SIGKILL)
        workers = Path(f"/proc/{job}/task/{job}/children").read_text().split()
        os.kill(int(random.choice(workers)) if victim == "worker" and workers else job, signal.SIGKILL)


def attempt(world: KillTest, victim: str, choose: random.Random) -> collections.Counter[str]:
    """Runs one job or two and kills one of them. Returns {victim or exit code: count}."""
    parts = choose.choice([[""], ["1/2", "2/2"]])
    doomed = choose.randrange(len(parts))
    point = world.images_seen() + choose.randrange(SHARDS * IMAGES // 4)
    jobs = [started(world, world.out, choose.choice([2, 3]), part) for part in parts]
    while (
        world.images_seen() < point and os.waitid(os.P_PID, jobs[doomed], os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    ):
        time.sleep(0.001)
    kill(jobs[doomed], victim)
    codes = [os.waitstatus_to_exitcode(os.waitpid(job, 0)[1]) for job in jobs]
    ended = collections.Counter(f"exit code {code}" for code in codes)
    return ended + collections.Counter([f"killed {victim}"] if codes[doomed] else [])


def run(kills: int, seed: int, seconds: float, folder: Path) -> int:
    """Kills jobs, lets the last one end, and compares the records. Returns the exit code."""
    choose = random.Random(seed)
    events = collections.Counter[str]()
    images = [
        [formula_teacher.image_record(IMAGES * shard + image) for image in range(IMAGES)] for shard in range(SHARDS)
    ]
    world = KillTest(folder, formula_teacher.write(folder / "in", images), seconds)
    undisturbed = started(world, folder / "undisturbed", 1)
    assert os.waitpid(undisturbed, 0)[1] == 0, (folder / "log").read_text()
    while (done := sum(count for event, count in events.items() if event.startswith("killed"))) < kills:
        events += attempt(world, VICTIMS[done % len(VICTIMS)], choose)
        if (world.out / "manifest.json").exists():  # complete: start with a new output folder
            events["whole sets"] += finished(world)
            os.rename(world.out, folder / f"out-{events['whole sets']}")
    events["whole sets"] += finished(world)
    print(", ".join(f"{event}: {count}" for event, count in sorted(events.items())))
    print(f"{kills} kills, equal bytes")
    return 1 if "Traceback" in (folder / "log").read_text() else 0


def finished(world: KillTest) -> int:
    """Resumes until the set is complete and checks it against the undisturbed one. Returns 1, the number of sets."""
    while os.waitpid(started(world, world.out, 2), 0)[1]:
        time.sleep(0.2)  # workers of a killed job hold its lock until they notice
    expected, resumed = (formula_teacher.content(folder) for folder in (world.folder / "undisturbed", world.out))
    assert expected == resumed, [name for name in expected | resumed if expected.get(name) != resumed.get(name)]
    return 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=0.01, help="time that the teacher spends on an image")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        sys.exit(run(flags.kills, flags.seed, flags.seconds, Path(temporary)))
