"""Compares every metric with an independent implementation: `python -m tests.tools.metric_table`."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from must_tf.tasks.classification import metric as classification
from must_tf.tasks.depth import metric as depth
from must_tf.tasks.detection import metric as detection
from must_tf.tasks.masks import metric as masks
from must_tf.tasks.normals import metric as normals
from must_tf.tasks.segmentation import metric as segmentation
from tests.support import protocols
from tests.support.measuring import evaluate
from tests.support.protocols import Pairs

COARSE = {"median_angle": 0.00501}  # tolerance: the median comes from a histogram


class MetricRow(NamedTuple):
    """A metric of a protocol, by this project and by the independent implementation."""

    protocol: str
    name: str
    ours: float
    theirs: float
    source: str

    @property
    def agrees(self) -> bool:
        """True if the difference is rounding of float64 sums in another order."""
        return abs(self.ours - self.theirs) <= COARSE.get(self.name, 1e-9 * max(1.0, abs(self.theirs)))


def _rows(protocol: str, ours: dict[str, float], theirs: dict[str, float], source: str) -> list[MetricRow]:
    return [MetricRow(protocol, name, ours[name], float(value), source) for name, value in theirs.items()]


def object_rows() -> list[MetricRow]:
    """COCO's twelve metrics of boxes and masks (pycocotools on JSON files), and VOC's (VOCevaldet.m in NumPy)."""
    from tests.support.coco_objects import HEIGHT, WIDTH, coco_stats, random_set

    pairs = random_set()
    rows = []
    for module, kind in ((detection, "bbox"), (masks, "segm")):
        with (
            tempfile.TemporaryDirectory() as folder,
            contextlib.redirect_stdout(io.StringIO()),
        ):  # pycocotools prints each step
            stats = coco_stats(Path(folder), pairs, kind)
        rows += _rows(f"COCO {kind}", evaluate(module, pairs, "a", "b", "c"), stats, "pycocotools")
    by_class = [protocols.voc_average_precision(pairs, class_id, (HEIGHT, WIDTH)) for class_id in (1, 2, 3)]
    theirs = dict(zip(("VOC07_AP50", "VOC10_AP50"), np.mean(by_class, axis=0), strict=True))
    return rows + _rows("VOC bbox", evaluate(detection, pairs, "a", "b", "c"), theirs, "VOCevaldet, NumPy")


def segmentation_rows() -> list[MetricRow]:
    """Segmentation metrics of three images with 150 classes and "other"."""
    rng = np.random.default_rng(0)
    truth = rng.permutation(np.arange(151).repeat(60)).reshape(3, -1, 20)
    truth = np.where(rng.random(truth.shape) < 0.05, 255, truth)
    guess = np.where(rng.random(truth.shape) < 0.6, truth % 255, rng.integers(0, 151, truth.shape))
    pairs: Pairs = [({"classes": t}, {"classes": g}) for t, g in zip(truth, guess, strict=True)]
    names = ("other", *map(str, range(1, 151)))
    rows = []
    for protocol, unmeasured, ignored in (("classes", (), (255,)), ("ADE20K", ("other",), (0, 255))):
        ours = evaluate(segmentation, pairs, *names, unmeasured=unmeasured)
        rows += _rows(protocol, ours, protocols.segmentation(pairs, 151, ignored), "sklearn")
    return rows


def depth_rows() -> list[MetricRow]:
    """Depth metrics of whole images, and by the protocols of NYU, of KITTI, and of MiDaS on NYU."""
    rng = np.random.default_rng(1)
    truth = rng.uniform(0.2, 14, (2, 480, 640)).astype(np.float32) * (rng.random((2, 480, 640)) < 0.7)
    guess = (2 * truth * np.exp(rng.normal(0, 0.3, truth.shape)) + 0.1).astype(np.float32)
    pairs: Pairs = [({"metres": t}, {"metres": g}) for t, g in zip(truth, guess, strict=True)]
    garg = (int(0.40810811 * 480), int(0.99189189 * 480), int(0.03594771 * 640), int(0.96405229 * 640))
    nyu = {"crop": "eigen", "min_metres": 1e-3, "max_metres": 10.0}
    cases: tuple[tuple[str, dict[str, Any], tuple[float, float], tuple[int, ...]], ...] = (
        ("all", {}, (1e-3, np.inf), (0, 480, 0, 640)),
        ("NYU", nyu, (1e-3, 10.0), (45, 471, 41, 601)),
        ("KITTI median", {"crop": "garg", "max_metres": 80.0, "alignment": "median"}, (1e-3, 80.0), garg),
        ("NYU scale, shift", nyu | {"alignment": "scale_and_shift"}, (1e-3, 10.0), (45, 471, 41, 601)),
    )
    rows = []
    for protocol, settings, bounds, crop in cases:
        theirs = protocols.depth(pairs, settings.get("alignment", "none"), bounds, crop)
        rows += _rows(protocol, evaluate(depth, pairs, **settings), theirs, "scripts, NumPy")
    return rows


def normal_rows() -> list[MetricRow]:
    """Metrics of two images of random normals, a tenth of which are unknown."""
    rng = np.random.default_rng(2)
    truth = rng.normal(size=(2, 60, 80, 3))
    guess = truth + 0.6 * rng.normal(size=truth.shape)
    truth[rng.random(truth.shape[:3]) < 0.1] = 0.0
    pairs: Pairs = [({"normals": t}, {"normals": g}) for t, g in zip(truth, guess, strict=True)]
    return _rows("angles", evaluate(normals, pairs), protocols.normals(pairs), "arccos, NumPy")


def classification_rows() -> list[MetricRow]:
    """Classification metrics of 200 images with 12 classes."""
    rng = np.random.default_rng(3)
    truth = np.eye(12)[rng.integers(0, 12, 200)]
    guess = rng.dirichlet(np.ones(12), 200) + 0.1 * truth
    pairs: Pairs = [({"probability": t}, {"probability": g}) for t, g in zip(truth, guess, strict=True)]
    return _rows("accuracy", evaluate(classification, pairs), protocols.classification(pairs), "sklearn")


TABLES: dict[str, Callable[[], list[MetricRow]]] = {
    "detection, masks": object_rows,
    "segmentation": segmentation_rows,
    "depth": depth_rows,
    "normals": normal_rows,
    "classification": classification_rows,
}


def main() -> None:
    """Prints the table."""
    print(f"{'protocol':<18}{'metric':<22}{'here':>14}{'independent':>14}{'difference':>12}  by")
    for rows in TABLES.values():
        for row in rows():
            difference = f"{abs(row.ours - row.theirs):.1e}" + ("" if row.agrees else " !")
            print(f"{row.protocol:<18}{row.name:<22}{row.ours:>14.6f}{row.theirs:>14.6f}{difference:>12}  {row.source}")


if __name__ == "__main__":
    main()
