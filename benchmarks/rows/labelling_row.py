"""The labelling rows of the table: beside the forward passes of its networks, and memory; see `labelling.py`."""

from __future__ import annotations

import statistics
from pathlib import Path

from benchmarks.data import coco_data, input_data
from benchmarks.harness import table
from benchmarks.harness.table import BenchmarkSettings, Comparison, Figure, Measure
from benchmarks.rows import labelling
from benchmarks.rows.labelling_host import MANY
from must_tf.common import devices
from tfrecords_tools.stats.run import ENOUGH

# Twelve batches. Work before the first and after the last forward pass counts more here than in a large dataset.
IMAGES, SIZE, BACKBONE = 96, 256, 50
LEAST = 0.95  # target for a large set, as a share of the rate of the bare passes


def measure(settings: BenchmarkSettings) -> list[Comparison]:
    """Measures rate and memory."""
    source = input_data.source(settings)
    sizes = {"count": IMAGES, "size": SIZE, "backbone": BACKBONE}
    found = labelling.measured(source, settings.work, sizes, settings.rounds)
    return [*rows(found), _memory(source, settings.work)]


def rows(found: labelling.Seconds) -> list[Comparison]:
    """Returns the rates of a set as small as this one, and of a large set, of which `ENOUGH` images are judged."""
    what = f"labelling, {len(labelling.TEACHERS)} teachers with ResNet-{BACKBONE}, {SIZE} px"
    note = (
        f"floor: only the teachers' forward passes, on the same {IMAGES} images decoded beforehand, one by one or as "
        "many at a time as in labelling, whichever is faster; random weights, and "
        "predictions that are made up from the photos"
    )
    large = labelling.with_judging(found, ENOUGH / MANY)
    sides = (_rate(labelling.with_judging(found)), None, _rate(found["bare"]))
    sides_large = (_rate(large), None, _rate(found["bare"]))
    part = f"{ENOUGH:,} of them are judged, here all {IMAGES}: only that share of judging is counted"
    return [
        Comparison(what, "images/s", *sides, "floor", note=note),
        Comparison(
            f"{what}, of {MANY:,} images", "images/s", *sides_large, "floor", LEAST, note=part, why=_why(large, found)
        ),
    ]


def _rate(rounds: list[tuple[float, float]]) -> Figure:
    return table.median([IMAGES / wall for wall, _ in rounds], [1000 * cpu / IMAGES for _, cpu in rounds])


def _why(label: list[tuple[float, float]], found: labelling.Seconds) -> str:
    """Says how much of labelling's time is its own work, and how much is waiting."""
    (wall, cpu), (_, bare) = (
        [1000 * statistics.median(each) / IMAGES for each in zip(*rounds, strict=True)]
        for rounds in (label, found["bare"])
    )
    busy = cpu / wall / devices.cores()
    return (
        f"labelling takes {cpu:.0f} ms of processor time per image, the bare passes {bare:.0f} ms; the processors are "
        f"busy for {100 * busy:.0f} % of the {wall:.0f} ms per image"
    )


def _memory(source: coco_data.Set, work: Path) -> Comparison:
    small, large, growth = (row.value for row in labelling.memory(source, work))
    few, many = labelling.MEMORY_SIZES
    note = f"peak of a process with one small teacher: {small:.0f} and {large:.0f} MiB"
    return Comparison(f"memory of labelling, {many} over {few} records", "ratio", Figure(growth), against="", note=note)


ROWS: dict[str, Measure] = {"labelling": measure}
