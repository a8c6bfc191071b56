"""Results of the threshold study: how many labels passed each threshold, and how well the students did."""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from experiments.study import Study
from experiments.threshold_study import TEACHER, ThresholdStudent
from must_tf.common import files, tables
from must_tf.data import manifest, record
from must_tf.tasks import discover

FIGURES = ("detection/AP", "masks/AP", "segmentation/mIoU")


class Believed(NamedTuple):
    """Numbers of a teacher's labels at or above a threshold."""

    boxes: int
    of_boxes: int  # labels in the records
    pixels: int
    of_pixels: int


def write(study: Study, students: Sequence[ThresholdStudent]) -> None:
    """Prints the table and writes thresholds.json."""
    thresholds = sorted({student.threshold for student in students})
    counts = believed(os.path.dirname(study.files("unlabelled-labelled")), thresholds)
    results = result(study, students, counts)
    path = study.path("thresholds.json")
    files.write_json(path, results)
    print("\n" + "\n".join(table(results)) + f"\n\n{path}", flush=True)


def believed(directory: str, thresholds: Sequence[float]) -> dict[float, Believed]:
    """Counts boxes and pixels at or above each threshold, as training does."""
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


def result(study: Study, students: Sequence[ThresholdStudent], counts: Mapping[float, Believed]) -> dict[str, Any]:
    """Returns the content of thresholds.json: the teacher's metrics, and per threshold the counts and the metrics of
    all seeds.

    A metric that could not be computed is None.
    """
    rows = []
    for threshold, count in counts.items():
        figures = [_figures(study, student.name) for student in students if student.threshold == threshold]
        by_name = {name: [one[name] for one in figures] for name in FIGURES}
        rows.append({"threshold": threshold, "believed": count._asdict(), "figures": by_name})
    return {"teacher": _figures(study, TEACHER), "students": rows}


def _figures(study: Study, run: str) -> dict[str, float | None]:
    found = study.figures(run)
    return {name: found.get(name) for name in FIGURES}


def table(results: Mapping[str, Any]) -> list[str]:
    """Formats the table: means over the seeds, with the lowest and highest."""
    rows: list[tuple[str, ...]] = []
    for row in results["students"]:
        count = Believed(**row["believed"])
        boxes = f"{count.boxes} of {count.of_boxes}"
        pixels = f"{count.pixels / max(count.of_pixels, 1):.1%}"
        rows.append((str(row["threshold"]), boxes, pixels, *(_over_seeds(row["figures"][name]) for name in FIGURES)))
    rows.append(("(teacher)", "", "", *(_over_seeds([results["teacher"][name]]) for name in FIGURES)))
    return tables.table(("threshold", "boxes", "pixels", *FIGURES), rows).splitlines()


def _over_seeds(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return "-"
    mean = f"{sum(known) / len(known):.3f}"
    return mean if len(known) == 1 else f"{mean} ({min(known):.3f} to {max(known):.3f})"
