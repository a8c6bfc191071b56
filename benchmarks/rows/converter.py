"""Compares `must convert coco` with Model Garden's converter: the same images, masks on, on this machine.

    python -m benchmarks.rows.converter [--data COCO_FOLDER] [--images 3200 --images 32000] [--rounds 3] [--json FILE]

Both are called as their users call them, with their own defaults: both start one process per core. A rate covers the
whole command, with its imports. The two sides take turns, and figures are medians of their rounds. The same files are
read repeatedly, so both read from memory. Model Garden's converter holds every record until the last is made; it is
skipped if that would not fit into free memory.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer

from benchmarks.data import coco_data
from benchmarks.data.coco_data import Set
from benchmarks.harness import processes
from must_tf.common import devices, tables
from must_tf.common.errors import exit_on_user_error
from tfrecords_tools.writing import shards

# Model Garden keeps each record and a pickled copy in memory. Measured: 0.45 MB per photo.
HELD_BYTES = 450_000
MIB, GIB = 1 << 20, 1 << 30


@dataclasses.dataclass
class ConverterResult:
    """One side at one size. Rates and seconds of several rounds are medians, memory is the largest.

    Attributes:
      rates: images per second of each round.
      seconds: of a whole command.
      converting: the part of these seconds from the first look at the images on, as this project's command reports it.
        The rest is imports, and Python's own start and end.
    """

    side: str
    images: int
    images_per_second: float | None
    cpu_ms_per_image: float | None
    peak_mib: float | None
    note: str = ""
    rates: tuple[float, ...] = ()
    seconds: float | None = None
    converting: float | None = None


def ours(source: Set, count: int, out: Path) -> list[str]:
    """Returns this project's command."""
    del count
    words = ["-m", "tfrecords_tools", "convert", "coco", "--images", source.images, "--annotations", source.annotations]
    return [sys.executable, *map(str, words), "--out", str(out), "--json"]


def model_gardens(source: Set, count: int, out: Path) -> list[str]:
    """Returns the command of Model Garden's tutorial, with as many shards."""
    flags = {
        "image_dir": source.images,
        "object_annotations_file": source.annotations,
        "output_file_prefix": out / "train",
        "num_shards": shards.default_count(count),
    }
    given = [f"--{name}={value}" for name, value in flags.items()]
    return [sys.executable, "-m", "official.vision.data.create_coco_tf_record", *given, "--include_masks"]


SIDES = {"must-records": ours, "Model Garden": model_gardens}


def measure(source: Set, count: int, work: Path, rounds: int) -> list[ConverterResult]:
    """Runs both sides in turn, and the floor."""
    used: dict[str, list[processes.Used]] = {side: [] for side in SIDES}
    converting: list[float] = []
    fits = count * HELD_BYTES < available()
    for _ in range(rounds):
        for side, command in SIDES.items():
            if side == "Model Garden" and not fits:
                continue
            out = work / "out"
            environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
            used[side].append(processes.run(command(source, count, out), environment, work / "log.txt"))
            if side == "must-records":
                converting.append(json.loads((work / "log.txt").read_text().splitlines()[-1])["seconds"])
            print(f"{side}, {count} images: {used[side][-1].seconds:.1f} s", file=sys.stderr, flush=True)
            shutil.rmtree(out)
    missing = f"not run: it needs about {count * HELD_BYTES / GIB:.0f} GiB, and {available() / GIB:.0f} GiB are free"
    rows = [_row(side, count, runs, missing) for side, runs in used.items()]
    rows[0].converting = statistics.median(converting)
    return [*rows, floor(source, count, work)]


def _row(side: str, count: int, runs: list[processes.Used], missing: str) -> ConverterResult:
    if not runs:
        return ConverterResult(side, count, None, None, None, missing)
    seconds = statistics.median(run.seconds for run in runs)
    cpu = 1000 * statistics.median(run.cpu_seconds for run in runs) / count
    rates, peak = tuple(count / run.seconds for run in runs), max(run.peak_bytes for run in runs) / MIB
    return ConverterResult(side, count, count / seconds, cpu, peak, rates=rates, seconds=seconds)


def floor(source: Set, count: int, work: Path) -> ConverterResult:
    """Reads every image and writes its bytes in one process, until they are on the disk."""
    start = time.monotonic()
    with (work / "floor").open("wb") as file:
        for path in sorted(source.images.iterdir()):
            file.write(path.read_bytes())
        file.flush()
        os.fsync(file.fileno())
    (work / "floor").unlink()
    return ConverterResult("read + write alone", count, count / (time.monotonic() - start), None, None)


def available() -> int:
    """Returns the bytes of memory that a new program can have."""
    return psutil.virtual_memory().available


def table(rows: Sequence[ConverterResult]) -> list[str]:
    """Formats the rows for people, with what follows from them."""
    columns = ("side", "images", "images/s", "CPU ms/image", "peak MiB", "note")
    cells = []
    for row in rows:
        figures = [f"{value:.1f}" if value else "-" for value in (row.images_per_second, row.cpu_ms_per_image)]
        peak = f"{row.peak_mib:.0f}" if row.peak_mib else "-"
        cells.append((row.side, row.images, *figures, peak, row.note))
    return [
        *tables.table(columns, cells).splitlines(),
        *(f"{name}: {value:.2f}" for name, value in ratios(rows).items()),
    ]


def ratios(rows: Sequence[ConverterResult]) -> dict[str, float]:
    """Returns the speed-up at each size, and the growth of memory from the smallest to the largest."""
    found, own = {}, [row for row in rows if row.side == "must-records"]
    for row in own:
        other = next(each for each in rows if (each.side, each.images) == ("Model Garden", row.images))
        if row.images_per_second and other.images_per_second:
            found[f"times as fast at {row.images}"] = row.images_per_second / other.images_per_second
    if len(own) > 1 and own[0].peak_mib and own[-1].peak_mib:
        found[f"peak memory at {own[-1].images} over {own[0].images}"] = own[-1].peak_mib / own[0].peak_mib
    return found


def main(
    data: Annotated[Path | None, typer.Option(help="COCO's folder; without it scenes are generated.")] = None,
    images: Annotated[list[int] | None, typer.Option(help="Number of images; may be repeated.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often each side is run.")] = 3,
    json_file: Annotated[Path | None, typer.Option("--json", help="File for the results.")] = None,
) -> None:
    """Prints and stores rates and memory of both converters."""
    rows: list[ConverterResult] = []
    with tempfile.TemporaryDirectory(prefix="converter-") as folder:
        work = Path(folder)
        source = coco_data.real(data) if data else coco_data.generated(work / "scenes")
        for count in sorted(images or [3200, 32000]):
            rows += measure(coco_data.repeated(source, count, work / str(count)), count, work, rounds)
    about: dict[str, Any] = {"cores": devices.cores(), "load": os.getloadavg()[0], "versions": shards.versions()}
    print("\n".join(table(rows)))
    images_of = f"images: {data or 'generated scenes'}; medians of {rounds} rounds"
    print(f"{about['cores']} cores, load {about['load']:.1f} at the end; {images_of}")
    if json_file:
        content = about | {"rows": [dataclasses.asdict(row) for row in rows], "ratios": ratios(rows)}
        json_file.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(exit_on_user_error(lambda: typer.run(main)))
