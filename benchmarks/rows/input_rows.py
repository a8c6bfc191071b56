"""Rows of the input path, beside Model Garden's and JPEG decoding only; see `inputs.py`."""

from __future__ import annotations

import dataclasses
from typing import Any

from benchmarks.data import input_data
from benchmarks.harness import table
from benchmarks.harness.table import BenchmarkSettings, Comparison, Figure, Measure
from benchmarks.profile import checks as checks_profile
from benchmarks.profile import input_path
from benchmarks.rows import inputs, same_network


def masks(size: int, at_most: float | None) -> Measure:
    """Measures boxes and masks at an input size, beside Model Garden's; `at_most` milliseconds an image are wanted."""

    def measure(settings: BenchmarkSettings) -> list[Comparison]:
        sets = input_data.both(input_data.source(settings), settings.work)
        mine = {"glob": sets.ours, "tasks": inputs.MASKS, "classes": sets.classes, "size": size}
        found = inputs.rounds(_sides(mine, sets, size), settings)
        why = input_path.sentence(input_path.of(mine, settings))
        return rows(f"input to batch, {size} px, boxes + masks", found, at_most, why=why)

    return measure


def six(settings: BenchmarkSettings) -> list[Comparison]:
    """Measures all tasks, beside Model Garden's boxes and masks; Model Garden has no input for all six."""
    sets = input_data.both(input_data.source(settings), settings.work)
    labelled = input_data.six_tasks(sets, settings.work / "six")
    mine = {"glob": labelled.ours, "tasks": inputs.SIX, "classes": labelled.classes, "size": 640}
    found = inputs.rounds(_sides(mine, sets, 640), settings)
    what = "input to batch, 640 px, six tasks"
    note = (
        "labels of the four other tasks are made up from the photos, as coarse as predictions; Model Garden has an "
        "input for boxes and masks only; "
    )
    parts = input_path.of(mine, settings)
    return [*rows(what, found, SIX_AT_MOST, note, input_path.sentence(parts)), *input_path.rows(what, parts)]


def checks(settings: BenchmarkSettings) -> list[Comparison]:
    """Measures what the checks of a record take of the input's processor time."""
    images = checks_profile.IMAGES
    sets = input_data.ours(input_data.source(settings, images // 2), settings.work, images)
    labelled = input_data.six_tasks(sets, settings.work / "six")
    given = {"glob": labelled.ours, "tasks": inputs.SIX, "classes": labelled.classes, "size": 640}
    found = checks_profile.of(given, settings)
    what = "checks of a record, 640 px, six tasks"
    first, second = found["halves"]
    note = (
        f"{found['checks']:.3f} of {found['input']:.2f} ms of processor time per image ({first:.3f} in the first half "
        f"of the rounds, {second:.3f} in the second); medians of differences between reading a task's labels of an "
        "image with and without checks, in turn"
    )
    slowest = sorted(found["each"].items(), key=lambda each: -each[1])[:SLOWEST]
    return [
        Comparison(
            what,
            "of the input",
            Figure(found["checks"] / found["input"], cpu_ms=found["checks"]),
            against="",
            at_most=0.02,
            note=note,
        ),
        *(Comparison(f"{what}: {check}", "ms/image", Figure(ms, cpu_ms=ms)) for check, ms in slowest),
    ]


def _sides(mine: dict[str, Any], sets: input_data.Sets, size: int) -> dict[str, dict[str, Any]]:
    """Returns the arguments of each side."""
    others = {"glob": sets.model_gardens, "size": size}
    return {"ours": mine, "model_gardens": others, "model_gardens_own": others, "decoded": {"glob": sets.ours}}


def rows(what: str, found: dict[str, Figure], at_most: float | None, note: str = "", why: str = "") -> list[Comparison]:
    """Returns the processor time of an image, the cores that keep an accelerator busy, and the rates.

    Model Garden's are with the student's pyramid, and with its own pyramid, as its users have it.

    Args:
      what: the measured input.
      found: {side: images/s, with processor time}.
      at_most: milliseconds of processor time an image that are wanted.
      note, why: of the first row, see `Comparison`.
    """
    cost = {side: Figure(figure.cpu_ms or 0.0, cpu_ms=figure.cpu_ms) for side, figure in found.items()}
    sides = cost["ours"], cost["model_gardens"], cost["decoded"]
    rate = Comparison(f"{what}, rate", "images/s", found["ours"], found["model_gardens"], found["decoded"], note=NOTE)
    return [
        Comparison(what, "ms/image", *sides, against="", at_most=at_most, note=f"{note}processor time", why=why),
        *table.cores(what, cost["ours"].value),
        rate,
        dataclasses.replace(
            rate, what=f"{what}, rate beside its own pyramid", model_garden=found["model_gardens_own"], note=OWN
        ),
    ]


SIX_AT_MOST = 14.0  # ms/image
SLOWEST = 3  # checks that are listed
NOTE = (
    "zoom 0.5 to 2, flip; batch 8 and 1,000 records shuffled on both sides; Model Garden matches anchors of the "
    f"student's levels {same_network.MIN_LEVEL} to {same_network.MAX_LEVEL} and returns float32; floor: only decoding "
    "the same JPEGs"
)
OWN = "Model Garden's default levels 2 to 6; otherwise as in the row above, with the same value for this project"
ROWS: dict[str, Measure] = {
    "input-640": masks(640, 8.0),
    "input-128": masks(128, None),
    "input-six": six,
    "input-checks": checks,
}
