"""The metres of depth labels: least, median and largest, of all or of some records."""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
from collections.abc import Mapping, Sequence

import numpy as np

from must_tf import tasks
from must_tf.data import opening, record
from must_tf.data.manifest import Manifest
from must_tf.spec import Labels
from must_tf.tasks.depth import summary as depth_summary
from tfrecords_tools.reading import recordset

TASK, METRES = "depth", "metres"
SAMPLED = 64  # images that a conversion reads back


@dataclasses.dataclass
class DepthRange:
    """Sums over the metres of some images. Its size does not depend on their number.

    Attributes:
      images: number of images with metres.
      least, largest: metres.
      bins: pixels by distance, between `depth_summary.EDGES`.
    """

    images: int = 0
    least: float = math.inf
    largest: float = 0.0
    bins: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(len(depth_summary.EDGES) - 1, np.int64))

    def add(self, labels: Labels) -> None:
        """Adds one image; relative depth has no metres."""
        metres = np.asarray(labels[METRES])
        known = metres[metres > 0]
        if not known.size:
            return
        self.images += 1
        self.least, self.largest = min(self.least, float(known.min())), max(self.largest, float(known.max()))
        self.bins = self.bins + depth_summary.histogram(known)

    def merge(self, other: DepthRange) -> None:
        """Adds the sums of other images."""
        self.images += other.images
        self.least, self.largest = min(self.least, other.least), max(self.largest, other.largest)
        self.bins = self.bins + other.bins

    def summary(self) -> dict[str, float] | None:
        """Returns the least, median (to 2.3 %) and largest metres, and the images; None without any."""
        if not self.images:
            return None
        middle = depth_summary.percentiles(self.bins)["p50"]  # of a bin, which the metres may not fill
        median = min(max(middle, self.least), self.largest)
        return {"least": self.least, "median": median, "largest": self.largest, "images": self.images}


def sampled(directory: str, written: Manifest) -> dict[str, float] | None:
    """Returns the `DepthRange.summary` of some records of each shard; None without metres."""
    if TASK not in written.origins:
        return None
    paths = [os.path.join(directory, shard["file"]) for shard in written.shards if shard["records"]]
    total, spec = DepthRange(), tasks.discover()[TASK]
    config = spec.Config(enabled=True)
    for path in paths[:: max(1, len(paths) // SAMPLED)]:
        for _, serialized in itertools.islice(recordset.numbered(path), max(1, SAMPLED // len(paths))):
            if TASK in record.origins_of(opening.parsed(serialized)):
                total.add(record.read_labels(serialized, {TASK: spec}, {TASK: config})[TASK].labels)
    return total.summary()


def line(metres: Mapping[str, float]) -> str:
    """Returns the summary as a phrase."""
    least, median, largest = (f"{metres[key]:.3g}" for key in ("least", "median", "largest"))
    return f"{least} m to {largest} m, median {median} m, in {metres['images']:,} images"


def rows(summaries: Mapping[str, Mapping[str, object]]) -> Sequence[tuple[str, ...]]:
    """Returns a table row for each task with metres."""
    found = []
    for task, of_task in summaries.items():
        metres = of_task.get(METRES)
        if isinstance(metres, dict):
            found.append((task, *(f"{metres[key]:.3g}" for key in ("least", "median", "largest"))))
    return found
