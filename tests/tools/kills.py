"""Labelling that is killed again and again: `python -m tests.tools.kills --kills 12`.

Jobs of two or three processes, alone or two beside each other as of a batch system, are killed with SIGKILL when a
random number of images has been looked at: the job's main process, one of its workers, or all of them. In the end the
records are compared with those of one process that nothing disturbed.
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
SHARDS, IMAGES = 6, 10  # in each shard; batches are of eight


class World(NamedTuple):
    """Where everything lies."""

    folder: Path
    records: str
    seconds: float  # spent on each image

    @property
    def out(self) -> Path:
        """Of the jobs that are killed."""
        return self.folder / "out"

    @property
    def seen(self) -> Path:
        """A byte for each image that was looked at."""
        return self.folder / "seen"

    def looked_at(self) -> int:
        """Images until now."""
        return self.seen.stat().st_size if self.seen.exists() else 0


def started(world: World, out: Path, workers: int, part: str = "") -> int:
    """A job in a process group of its own; returns its id."""
    if child := os.fork():
        return child
    os.setsid()
    log = os.open(world.folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)

    def run() -> None:
        teacher = formula_teacher.teacher(("depth", "detection"), seconds=world.seconds, seen=str(world.seen))
        asked = formula_teacher.request(world.records, teacher)
        formula_teacher.labelled(asked, out, workers=workers, part=parallelism.parse_part(part))

    os._exit(exit_on_user_error(run))


def kill(job: int, victim: str) -> None:
    """SIGKILL, if there still is anybody."""
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        if victim == "group":
            os.killpg(job, signal.SIGKILL)
        workers = Path(f"/proc/{job}/task/{job}/children").read_text().split()
        os.kill(int(random.choice(workers)) if victim == "worker" and workers else job, signal.SIGKILL)


def attempt(world: World, victim: str, choose: random.Random) -> collections.Counter[str]:
    """One job or two, one of which is killed; {who was killed, or how a job ended: how often}."""
    parts = choose.choice([[""], ["1/2", "2/2"]])
    doomed = choose.randrange(len(parts))
    point = world.looked_at() + choose.randrange(SHARDS * IMAGES // 4)
    jobs = [started(world, world.out, choose.choice([2, 3]), part) for part in parts]
    while world.looked_at() < point and os.waitid(os.P_PID, jobs[doomed], os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        time.sleep(0.001)
    kill(jobs[doomed], victim)
    codes = [os.waitstatus_to_exitcode(os.waitpid(job, 0)[1]) for job in jobs]
    ended = collections.Counter(f"exit code {code}" for code in codes)
    return ended + collections.Counter([f"killed {victim}"] if codes[doomed] else [])


def run(kills: int, seed: int, seconds: float, folder: Path) -> int:
    """Kills as often as asked, lets one job end, compares; returns the exit code."""
    choose, told = random.Random(seed), collections.Counter[str]()
    images = [
        [formula_teacher.image_record(IMAGES * shard + image) for image in range(IMAGES)] for shard in range(SHARDS)
    ]
    world = World(folder, formula_teacher.write(folder / "in", images), seconds)
    undisturbed = started(world, folder / "undisturbed", 1)
    assert os.waitpid(undisturbed, 0)[1] == 0, (folder / "log").read_text()
    while (done := sum(count for what, count in told.items() if what.startswith("killed"))) < kills:
        told += attempt(world, VICTIMS[done % len(VICTIMS)], choose)
        if (world.out / "manifest.json").exists():  # all done: from the beginning
            told["whole sets"] += finished(world)
            os.rename(world.out, folder / f"out-{told['whole sets']}")
    told["whole sets"] += finished(world)
    print(", ".join(f"{what}: {count}" for what, count in sorted(told.items())))
    print(f"{kills} kills, equal bytes")
    return 1 if "Traceback" in (folder / "log").read_text() else 0


def finished(world: World) -> int:
    """Goes on to the end; ends the program where the records are not the ones that nothing disturbed."""
    while os.waitpid(started(world, world.out, 2), 0)[1]:
        time.sleep(0.2)  # a killed job's workers hold its lock until they have noticed
    expected, found = (formula_teacher.content(each) for each in (world.folder / "undisturbed", world.out))
    assert expected == found, [name for name in expected | found if expected.get(name) != found.get(name)]
    return 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=0.01, help="that the teacher spends on an image")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        sys.exit(run(given.kills, given.seed, given.seconds, Path(temporary)))
