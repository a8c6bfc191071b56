"""Sends damaged records through every command: `python -m tests.tools.mutants --count 10000`.

A mutant is a scene's record with one fault, see `damage.py`. It must be named, left out by `--skip-bad`, or read as it
is; nothing may end in a traceback, hang, or take gigabytes. The result is a table of commands by kinds of damage. The
program continues where it stopped: batches that are finished have a line in its `--out` file.
`tests/tfrecords_tools/reading/test_mutants.py` runs a few.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from must_tf.common import tables
from tests.tools import mutated
from tests.tools.guarded import Failed, Guarded, Limits
from tests.tools.mutated import COMMANDS, NAMING

BATCH = 100  # mutants in one file
# For one command and one file: a hundred times what it takes on a busy machine, and what the whole process may hold.
LIMITS = Limits(seconds=600, megabytes=2000)


class Answer(NamedTuple):
    """What a command did with one file."""

    counts: dict[tuple[str, str], int]  # as of `mutated.outcomes`
    processor_seconds: float


def answer(command: str, seeds: Sequence[int]) -> Answer:
    """Sends mutants through a command. Raises what the command raises."""
    busy = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        counts = mutated.outcomes(mutated.batch(Path(folder), seeds), command)
    return Answer(dict(counts), time.process_time() - busy)


class Result:
    """What came out of a command: counts as of `mutated.outcomes`, with "crashed", and the text of each crash."""

    def __init__(self) -> None:
        self.counts: collections.Counter[tuple[str, str]] = collections.Counter()
        self.crashes: list[str] = []
        self.peak, self.processor_seconds = 0, 0.0


def tried(call: Guarded, command: str, seeds: Sequence[int], into: Result) -> None:
    """Sends mutants through a command. If it crashes, halves of them are tried until the one that does it is found."""
    try:
        found = call(command, seeds)
    except Failed as failure:
        known = len(into.crashes)
        if len(seeds) > 1:
            half = len(seeds) // 2
            tried(call, command, seeds[:half], into)
            tried(call, command, seeds[half:], into)
        else:
            into.counts[mutated.kind(seeds[0]), "crashed"] += 1
        if len(into.crashes) == known:  # one of its own, or together what its halves do not do
            into.crashes.append(f"{command}, seeds {seeds[0]} to {seeds[-1]}: {str(failure)[-1500:]}")
    else:
        into.counts.update(found.counts)
        into.processor_seconds += found.processor_seconds
    into.peak = max(into.peak, call.peak)


def _run(call: Guarded, command: str, seeds: Sequence[int]) -> dict[str, Any]:
    """Runs a command on one batch and returns its line."""
    started, result = time.monotonic(), Result()
    tried(call, command, seeds, result)
    return {
        "command": command,
        "first": seeds[0],
        "count": len(seeds),
        "counts": {f"{kind}|{word}": count for (kind, word), count in result.counts.items()},
        "crashes": result.crashes,
        "peak MB": result.peak,
        "seconds": round(time.monotonic() - started, 1),
        "processor seconds": round(result.processor_seconds, 1),
    }


def table(lines: Sequence[dict[str, Any]]) -> str:
    """Returns commands by kinds of damage, each with named or skipped / read as it is / crashed."""
    total: collections.Counter[tuple[str, str, str]] = collections.Counter()
    for line in lines:
        total.update({(line["command"], *key.split("|")): count for key, count in line["counts"].items()})
    kinds = sorted({kind for _, kind, _ in total})
    rows = []
    for command in COMMANDS:
        word = "named" if command in NAMING else "skipped"
        cells = ["/".join(str(total[command, kind, each]) for each in (word, "read", "crashed")) for kind in kinds]
        own = [line for line in lines if line["command"] == command]
        peak = max((line["peak MB"] for line in own), default=0)
        seconds = f"{sum(line['processor seconds'] for line in own):.0f}"
        rows.append((command, word, *cells, sum(line["count"] for line in own), peak, seconds))
    title = "named or skipped / read as they are / crashed"
    drawn = tables.table(("command", "", *kinds, "mutants", "peak MB", "CPU s"), rows, title=title)
    crashes = [crash for line in lines for crash in line["crashes"]]
    seconds = sum(line["processor seconds"] for line in lines)
    return "\n".join([drawn, f"{len(crashes)} crashes, {seconds:.0f} s of processor time", *crashes])


def main() -> int:
    """Runs the batches that are missing in the file, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000, help="number of mutants")
    parser.add_argument("--each", type=int, default=len(COMMANDS), help="commands for each mutant, taken in turn")
    parser.add_argument("--out", default="mutants.jsonl", help="file with a line for each finished batch")
    given = parser.parse_args()
    out = Path(given.out)
    lines = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    done = {(line["command"], line["first"]) for line in lines}
    call = Guarded(answer, LIMITS)
    for number, first in enumerate(range(0, given.count, BATCH)):
        for command in itertools.islice(itertools.cycle(COMMANDS), number * given.each, (number + 1) * given.each):
            if (command, first) not in done:
                lines.append(_run(call, command, range(first, min(first + BATCH, given.count))))
                with out.open("a") as file:
                    file.write(json.dumps(lines[-1]) + "\n")
    call.close()
    print(table(lines))
    return int(any(line["crashes"] for line in lines))


if __name__ == "__main__":
    sys.exit(main())
