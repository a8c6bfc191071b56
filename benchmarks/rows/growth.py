"""Growth of the input path's time per image with the number of records and with the objects per image."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.data import input_data
from benchmarks.harness import apart, table
from benchmarks.harness.table import BenchmarkSettings, Comparison, Figure, Measure
from benchmarks.rows import inputs

RECORDS = (1_000, 10_000, 100_000)
PER_FILE = 250  # images of the dataset to which the files are links
OBJECTS = (10, 100, 300)
SIZE = 128  # small, so that the work on pixels does not hide the growth
FLAT = 1.1  # counts as equal: repeated measurements differ by as much
GLANCE = 0.1  # seconds, if only the time to the first batch is measured
LINKED = f"all files are links to one file of {PER_FILE} images, which stays in the page cache"

Found = dict[str, list[float]]  # results of `inputs.timed`, by round


def _timed(cases: dict[str, dict[str, Any]], settings: BenchmarkSettings) -> dict[str, Found]:
    """Times every case in turn; "seconds" of a case overrides the settings'."""
    found: dict[str, Found] = {name: {} for name in cases}
    for _ in range(settings.rounds):
        for name, case in cases.items():
            called = {"side": "ours", "seconds": settings.seconds, **case}
            for key, value in apart.call("benchmarks.rows.inputs:timed", called, settings.work).items():
                found[name].setdefault(key, []).append(value)
    return found


def records(settings: BenchmarkSettings) -> list[Comparison]:
    """Measures the same photos under ever more names, from the first image on and, like a resumed run, from half an
    epoch on.

    From half an epoch on, files are read that a smaller dataset does not have, although a few seconds do not cover them
    all.
    """
    sets, cases = input_data.ours(input_data.source(settings), settings.work, PER_FILE), dict[str, Any]()
    for count in RECORDS:
        glob = input_data.linked(sets.ours, settings.work / str(count), count // PER_FILE)
        one = {"glob": glob, "tasks": inputs.MASKS, "classes": sets.classes, "size": SIZE}
        cases[f"first {count}"] = {"arguments": one, "seconds": GLANCE}
        cases[f"middle {count}"] = {"arguments": one | {"start": (count // 2, count)}}
    found = _timed(cases, settings)
    return [*_rates(found), *_first_batches(found)]


def _rates(found: dict[str, Found]) -> list[Comparison]:
    """Divides the processor time per image at every size by that at the smallest."""
    rounds = [found[f"middle {count}"]["cpu_ms"] for count in RECORDS]
    cpu_ms, apart_ms = [statistics.median(each) for each in rounds], max(rounds[0]) - min(rounds[0])
    rows = []
    for count, each in zip(RECORDS[1:], cpu_ms[1:], strict=True):
        seen = statistics.median(found[f"middle {count}"]["images"])
        note = (
            f"{each:.2f} and {cpu_ms[0]:.2f} ms of processor time per image; boxes + masks, {SIZE} px; {LINKED}; "
            f"timed on {seen:,.0f} images after the first {count // 2:,}; the first batch has a row of its own"
        )
        what = f"input, {count:,} records over {RECORDS[0]:,} records"
        why = f"{each - cpu_ms[0]:.2f} ms more; the rounds at {RECORDS[0]:,} records differ by {apart_ms:.2f} ms"
        rows.append(Comparison(what, "times", Figure(each / cpu_ms[0]), against="", at_most=FLAT, note=note, why=why))
    return rows


def _first_batches(found: dict[str, Found]) -> list[Comparison]:
    """Returns the seconds until the first batch, at every size."""
    rows = []
    for count in RECORDS:
        first, middle = (table.median(found[f"{where} {count}"]["first_batch"]) for where in ("first", "middle"))
        what = f"input, first batch of {count:,} records"
        note = f"includes tracing and filling the shuffle buffer of {inputs.SHUFFLED:,} records; {LINKED}"
        rows.append(Comparison(what, "s", first, note=note))
        each = 1e6 * (middle.value - first.value) / (count // 2)
        note = f"{each:.0f} microseconds for each of the {count // 2:,} skipped records; {LINKED}"
        rows.append(Comparison(f"{what}, resumed in the middle", "s", middle, note=note))
    return rows


def objects(settings: BenchmarkSettings) -> list[Comparison]:
    """Measures the same photos with ever more objects, all of them kept."""
    source, cases = input_data.source(settings), dict[str, Any]()
    for count in OBJECTS:
        work = settings.work / str(count)
        work.mkdir()
        sets = input_data.ours(input_data.crowded(source, work / "crowded", count), work, images=64)
        one = {"glob": sets.ours, "tasks": inputs.MASKS, "classes": sets.classes, "size": SIZE}
        cases[str(count)] = {"arguments": one | {"max_objects": max(OBJECTS)}}
    return [linear([statistics.median(each["cpu_ms"]) for each in _timed(cases, settings).values()])]


def linear(cpu_ms: list[float]) -> Comparison:
    """Divides the cost of one more object among many by its cost among few: 1 if time is linear in objects.

    Args:
      cpu_ms: per image, at each of `OBJECTS`.
    """
    few, many = (
        (cpu_ms[i + 1] - cpu_ms[i]) / (OBJECTS[i + 1] - OBJECTS[i]) for i in range(2)
    )  # milliseconds for one additional object
    said = ", ".join(f"{each:.2f} ms at {count}" for each, count in zip(cpu_ms, OBJECTS, strict=True))
    ratio = Figure(many / few) if few > 0 else None
    return Comparison(
        f"input, an object more: {OBJECTS[1]} to {OBJECTS[2]} over {OBJECTS[0]} to {OBJECTS[1]}",
        "times",
        ratio,
        against="",
        at_most=FLAT,
        note=f"processor time per image: {said}; at most {OBJECTS[2]} objects, boxes + masks, {SIZE} px"
        + ("" if ratio else "; additional objects took no time, so there is no ratio"),
        why=f"an additional object takes {1000 * many:.0f} microseconds among many and {1000 * few:.0f} among few",
    )


ROWS: dict[str, Measure] = {"growth-records": records, "growth-objects": objects}
