"""Prints one table of what this project costs on this machine, beside Model Garden and the physical floor.

    python -m benchmarks [--data COCO_FOLDER] [--rows input,memory] [--out runs/bench]

Every measurement runs in its own processes and calls both sides in turn. Figures are medians. `table.txt`, `table.json`
and `chart.svg` in --out hold what was printed and are rewritten after every measurement. To add a measurement, add an
entry to a module's `ROWS`; to add a module, add it to `MODULES`, or to `ON_REQUEST` if its rows take hours.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.harness import chart, table
from benchmarks.harness.table import BenchmarkSettings, Comparison, Measure
from benchmarks.rows import (
    coco_evaluation,
    converter_row,
    first_step,
    growth,
    host_memory,
    input_rows,
    labelling_host,
    labelling_row,
    parity,
    steps,
)
from must_tf.common import devices
from must_tf.common.errors import UserError, exit_on_user_error, nearest
from must_tf.common.files import write_json, write_whole
from must_tf.common.progress import clock
from tfrecords_tools.writing import shards

MODULES: tuple[Any, ...] = (
    input_rows,
    host_memory,
    growth,
    converter_row,
    steps,
    first_step,
    labelling_row,
    labelling_host,
    coco_evaluation,
)
ON_REQUEST: tuple[Any, ...] = (parity,)  # measured only if --rows names them


def measurements() -> dict[str, Measure]:
    """Returns all measurements by name, in the order of the table."""
    return {name: measure for module in (*MODULES, *ON_REQUEST) for name, measure in module.ROWS.items()}


def chosen(words: str, known: Mapping[str, Measure]) -> dict[str, Measure]:
    """Returns the measurements whose name is one of the words or starts with one and a hyphen; without a word all but
    those of `ON_REQUEST`.

    Raises:
      UserError: a word fits no measurement.
    """
    wanted = [word.strip() for word in words.split(",") if word.strip()]
    for word in wanted:
        if not any(_fits(name, word) for name in known):
            raise UserError(f"--rows: no measurement {word!r}.{nearest(word, known)} There are {', '.join(known)}.")
    if not wanted:
        on_request = {name for module in ON_REQUEST for name in module.ROWS}
        return {name: each for name, each in known.items() if name not in on_request}
    return {name: each for name, each in known.items() if any(_fits(name, word) for word in wanted)}


def _fits(name: str, word: str) -> bool:
    return name == word or name.startswith(f"{word}-")


def measured(
    wanted: Mapping[str, Measure], settings: BenchmarkSettings, out: Path, about: dict[str, Any]
) -> list[Comparison]:
    """Runs the measurements and returns their rows. The table is written after each, so that an interruption loses
    nothing.
    """
    rows: list[Comparison] = []
    for index, (name, measure) in enumerate(wanted.items(), 1):
        print(f"{index}/{len(wanted)} {name} ...", file=sys.stderr, flush=True)
        start, work = time.monotonic(), settings.work / name
        work.mkdir()
        rows += measure(dataclasses.replace(settings, work=work, kept=out / "kept"))
        print(f"{index}/{len(wanted)} {name}: {clock(time.monotonic() - start)}", file=sys.stderr, flush=True)
        write(rows, about | {"load_at_end": os.getloadavg()[0]}, out)
    return rows


def write(rows: list[Comparison], about: dict[str, Any], out: Path) -> None:
    """Writes the table as text, as JSON and as a picture."""
    write_json(str(out / "table.json"), about | {"rows": [table.as_json(row) for row in rows]})
    write_whole(str(out / "table.txt"), "\n".join([*table.lines(rows), _machine(about), ""]).encode())
    write_whole(str(out / "chart.svg"), chart.svg(rows).encode())


def _machine(about: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return (
        f"{about['cores']} cores, load {about['load_at_start']:.1f} before and {about['load_at_end']:.1f} after; "
        f"images: {about['images']}; medians of {about['rounds']} rounds; {versions}"
    )


def main(
    data: Annotated[Path | None, typer.Option(help="Photos in COCO's layout; without it scenes are generated.")] = None,
    rows: Annotated[str, typer.Option(help="Names with commas, or the first word of several.")] = "",
    out: Annotated[Path, typer.Option(help="Folder for the table and the chart.")] = Path("runs/bench"),
    rounds: Annotated[int, typer.Option(min=1, help="How often each side is measured.")] = 3,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long one side is timed per round.")] = 5.0,
) -> None:
    """Measures, prints and stores the table."""
    wanted = chosen(rows, measurements())
    if data and not data.is_dir():
        raise UserError(f"--data {data}: there is no such folder. Give one in COCO's layout, or leave it out.")
    about = {
        "cores": devices.cores(),
        "load_at_start": os.getloadavg()[0],
        "images": str(data) if data else "generated scenes",
        "rounds": rounds,
        "versions": shards.versions(),
    }
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        measured(wanted, BenchmarkSettings(Path(folder), data, rounds, seconds), out, about)
    print((out / "table.txt").read_text() + f"\n{out}/table.json, {out}/chart.svg")


if __name__ == "__main__":
    sys.exit(exit_on_user_error(lambda: typer.run(main)))
