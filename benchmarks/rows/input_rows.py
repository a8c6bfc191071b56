"""Rows of the input path, beside Model Garden's and JPEG decoding only; see `inputs.py`."""

from __future__ import annotations

import dataclasses
from typing import Any

from benchmarks.data import input_data
from benchmarks.harness.table import BenchmarkSettings, Comparison, Figure, Measure
from benchmarks.profile import checks as checks_profile
from benchmarks.profile import input_path
from benchmarks.rows import inputs, same_network


def masks(size: int, at_least: float) -> Measure:
    """Measures boxes and masks at an input size, beside Model Garden's."""

    def measure(settings: BenchmarkSettings) -> list[Comparison]:
        sets = input_data.both(input_data.source(settings), settings.work)
        mine = {"glob": sets.ours, "tasks": inputs.MASKS, "classes": sets.classes, "size": size}
        found = inputs.rounds(_sides(mine, sets, size), settings)
        why = input_path.sentence(input_path.of(mine, settings))
        return _rows(
            Comparison(f"input to batch, {size} px, boxes + masks", UNIT, None, at_least=at_least, why=why), found
        )

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
    why, beside = input_path.sentence(parts), (found["ours"], None, found["decoded"])
    return [
        *_rows(Comparison(what, UNIT, None, at_least=5.0, note=note, why=why), found),
        Comparison(f"{what}, beside decoding", UNIT, *beside, against="floor", at_least=0.25, why=why),
        *input_path.rows(what, parts),
    ]


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


def _rows(about: Comparison, found: dict[str, Figure]) -> list[Comparison]:
    """Returns rows beside Model Garden with the student's pyramid, and with its own pyramid, as its users have it."""
    known = dataclasses.replace(about, ours=found["ours"], floor=found["decoded"])
    return [
        dataclasses.replace(known, model_garden=found["model_gardens"], note=about.note + NOTE),
        dataclasses.replace(
            known, what=f"{about.what}, beside its own pyramid", model_garden=found["model_gardens_own"], note=OWN
        ),
    ]


UNIT = "images/s"
SLOWEST = 3  # checks that are listed
NOTE = (
    "zoom 0.5 to 2, flip; batch 8 and 1,000 records shuffled on both sides; Model Garden matches anchors of the "
    f"student's levels {same_network.MIN_LEVEL} to {same_network.MAX_LEVEL} and returns float32; floor: only decoding "
    "the same JPEGs"
)
OWN = "Model Garden's default levels 2 to 6; otherwise as in the row above, with the same value for this project"
ROWS: dict[str, Measure] = {
    "input-640": masks(640, 8.0),
    "input-128": masks(128, 15.0),
    "input-six": six,
    "input-checks": checks,
}
