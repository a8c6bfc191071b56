"""The labelling rows of the table: beside the forward passes of its networks, and memory; see `labelling.py`."""

from __future__ import annotations

import statistics
from pathlib import Path

from benchmarks.data import coco_data, input_data
from benchmarks.harness import table
from benchmarks.harness.table import BenchmarkSettings, Comparison, Figure, Measure
from benchmarks.rows import labelling
from must_tf.common import devices

# Twelve batches. Work before the first and after the last forward pass counts more here than in a large dataset.
IMAGES, SIZE, BACKBONE = 96, 256, 50
LEAST = 0.9  # target, as a share of the rate of the bare passes


def measure(settings: BenchmarkSettings) -> list[Comparison]:
    """Measures rate and memory."""
    source = input_data.source(settings)
    sizes = {"count": IMAGES, "size": SIZE, "backbone": BACKBONE}
    found = labelling.measured(source, settings.work, sizes, settings.rounds)
    what = f"labelling, {len(labelling.TEACHERS)} teachers with ResNet-{BACKBONE}, {SIZE} px"
    note = (
        f"floor: only the teachers' forward passes, on the same {IMAGES} images decoded beforehand, one by one or as "
        "many at a time as in labelling, whichever is faster; random weights"
    )
    sides = (_rate(found["label"]), None, _rate(found["bare"]))
    rate = Comparison(what, "images/s", *sides, "floor", at_least=LEAST, note=note, why=_why(found))
    return [rate, _memory(source, settings.work)]


def _rate(rounds: list[tuple[float, float]]) -> Figure:
    return table.median([IMAGES / wall for wall, _ in rounds], [1000 * cpu / IMAGES for _, cpu in rounds])


def _why(found: labelling.Seconds) -> str:
    """Says how much of labelling's time is its own work, and how much is waiting."""
    (wall, cpu), (_, bare) = (
        [1000 * statistics.median(each) / IMAGES for each in zip(*found[side], strict=True)]
        for side in ("label", "bare")
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
