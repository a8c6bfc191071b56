"""Memory of the training host: what the input path holds beyond its process's baseline, with many objects per image."""

from __future__ import annotations

import importlib
import os
import time
from typing import Any

import tensorflow as tf

from benchmarks.data import input_data
from benchmarks.harness import apart, processes, table
from benchmarks.harness.table import BenchmarkSettings, Comparison, Measure
from benchmarks.rows import inputs

OBJECTS = 100  # per image: both sides keep no more
IMAGES = 64
SIZE = 640
MIB = 1 << 20
LOOK_SECONDS = 0.25


def peak(side: str, seconds: float, arguments: dict[str, Any]) -> float:
    """Returns the MiB above the process's baseline while batches are taken as fast as they come. Called in its own
    process.

    The baseline includes the imports of both sides, but nothing that a pipeline builds.
    """
    importlib.import_module("official.vision.tasks.maskrcnn")
    base = processes.memory([os.getpid()])
    highest, batches = base, iter(inputs.SIDES[side](**arguments))
    held: Any = next(batches)
    end, look = time.monotonic() + seconds, 0.0
    while time.monotonic() < end:
        held = next(batches)
        if time.monotonic() >= look:
            highest, look = max(highest, processes.memory([os.getpid()])), time.monotonic() + LOOK_SECONDS
    del held
    return (highest - base) / MIB


def measure(settings: BenchmarkSettings) -> list[Comparison]:
    """Runs both sides in turn, on images with `OBJECTS` objects each."""
    source = input_data.crowded(input_data.source(settings), settings.work / "crowded", OBJECTS)
    sets = input_data.both(source, settings.work, IMAGES)
    # The dataset fills the shuffle buffer once: Model Garden repeats a dataset before shuffling, this project after.
    ours, theirs = (
        input_data.linked(glob, settings.work / name, -(-inputs.SHUFFLED // IMAGES))
        for name, glob in (("many", sets.ours), ("model_gardens_many", sets.model_gardens))
    )
    sides: dict[str, dict[str, Any]] = {
        "ours": {"glob": ours, "tasks": inputs.MASKS, "classes": sets.classes, "size": SIZE},
        "model_gardens": {"glob": theirs, "size": SIZE},
    }
    found: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(settings.rounds):
        for side, arguments in sides.items():
            called = {"side": side, "seconds": 3 * settings.seconds, "arguments": arguments}
            found[side].append(apart.call("benchmarks.rows.host_memory:peak", called, settings.work))
    mine, model_gardens = (table.median(each) for each in found.values())
    what = f"host memory of the input, {SIZE} px, {OBJECTS} objects an image"
    note = "peak minus the process after its imports; batch 8, 1,000 records shuffled, other settings are the defaults"
    return [Comparison(what, "MiB", mine, model_gardens, at_most=0.25, note=note, why=_shuffled(sets.ours))]


def _shuffled(glob: str) -> str:
    """Measures the memory of the records only."""
    each = sum(os.path.getsize(path) for path in tf.io.gfile.glob(glob)) / IMAGES
    return f"the shuffle buffer of {inputs.SHUFFLED:,} records accounts for {inputs.SHUFFLED * each / MIB:.0f} MiB"


ROWS: dict[str, Measure] = {"memory": measure}
