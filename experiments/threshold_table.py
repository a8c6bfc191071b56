"""The results of experiments/threshold_study.py: what was believed and what the students reached."""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from experiments.plan import Plan, evaluation
from must_tf.common import files
from must_tf.data import manifest, record
from must_tf.tasks import discover

FIGURES = ("detection/AP", "masks/AP", "segmentation/mIoU")

Plans = Mapping[tuple[float, int], Plan]  # by threshold and seed


class Believed(NamedTuple):
    """How much of a teacher's labels is at least as sure as a threshold."""

    boxes: int
    of_boxes: int  # that were written
    pixels: int
    of_pixels: int


def write(plans: Plans) -> None:
    """Prints the table and writes thresholds.json."""
    first = next(iter(plans.values()))
    thresholds = sorted({threshold for threshold, _ in plans})
    counts = believed(first.path("records", f"{next(iter(first.label))}-labelled"), thresholds)
    found = result(plans, counts)
    path = first.path("thresholds.json")
    files.write_json(path, found)
    print("\n" + "\n".join(table(found)) + f"\n\n{path}", flush=True)


def believed(directory: str, thresholds: Sequence[float]) -> dict[float, Believed]:
    """Counts a completed set's boxes and pixels, as students read them: at least as sure is believed."""
    classes = manifest.read(directory).classes
    specs = {name: discover()[name] for name in ("detection", "segmentation")}
    configs = {name: spec.Config(classes=tuple(classes[name])) for name, spec in specs.items()}
    counts = np.zeros([len(thresholds), len(Believed._fields)], np.int64)
    for serialized in tf.data.TFRecordDataset(sorted(glob.glob(f"{directory}/*.tfrecord"))).as_numpy_iterator():
        found = record.read_labels(serialized, specs, configs)
        scores, sure = found["detection"].labels["scores"], found["segmentation"].labels["confidence"]
        for row, threshold in enumerate(thresholds):
            counts[row] += [np.sum(scores >= threshold), scores.size, np.sum(sure >= threshold), sure.size]
    return {threshold: Believed(*map(int, row)) for threshold, row in zip(thresholds, counts, strict=True)}


def result(plans: Plans, counts: Mapping[float, Believed]) -> dict[str, Any]:
    """What thresholds.json holds: the teacher's figures; for each threshold what was believed, and all seeds' figures.

    A figure that could not be measured is None.
    """
    first = next(iter(plans.values()))
    rows = []
    for threshold, count in counts.items():
        runs = [one for (given, _), one in plans.items() if given == threshold]
        figures = [_figures(run, run.student.name) for run in runs]
        by_name = {name: [one[name] for one in figures] for name in FIGURES}
        rows.append({"threshold": threshold, "believed": count._asdict(), "figures": by_name})
    return {"teacher": _figures(first, first.teachers[0].name), "students": rows}


def _figures(plan: Plan, run: str) -> dict[str, float | None]:
    found = evaluation(plan, run)["figures"]
    return {name: found.get(name) for name in FIGURES}


def table(found: Mapping[str, Any]) -> list[str]:
    """Lines of text: the mean over the seeds, and the least and the largest of them."""
    lines: list[tuple[str, ...]] = [("threshold", "boxes", "pixels", *FIGURES)]
    for row in found["students"]:
        count = Believed(**row["believed"])
        boxes = f"{count.boxes} of {count.of_boxes}"
        pixels = f"{count.pixels / max(count.of_pixels, 1):.1%}"
        lines.append((str(row["threshold"]), boxes, pixels, *(_over_seeds(row["figures"][name]) for name in FIGURES)))
    lines.append(("(teacher)", "", "", *(_over_seeds([found["teacher"][name]]) for name in FIGURES)))
    widths = [max(map(len, column)) + 3 for column in zip(*lines, strict=True)]
    return ["".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def _over_seeds(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return "-"
    mean = f"{sum(known) / len(known):.3f}"
    return mean if len(known) == 1 else f"{mean} ({min(known):.3f} to {max(known):.3f})"
