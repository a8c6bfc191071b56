"""How far a teacher agrees with itself on a mirrored and on a zoomed photo: a measure of quality without ground truth.

A teacher that knows a photo's content predicts the mirrored photo's as the mirror image of it. One that is outside of
the domain that it was trained on does so less than on photos of that domain. The figures say nothing about mistakes
that a teacher makes every time.

Each sampled photo is fitted to the teacher's input size and labelled. The labels are turned into those of the mirrored
and of the enlarged photo by the tasks' own `targets`, as in training, and then serve as the truth for the teacher's
labels of that photo. The figure is the F1 score of objects at IoU 0.5, `Summary.agreement` if the task has one, or else
the headline of the task's metric.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from must_tf.common.errors import UserError
from must_tf.data import framing, geometry, map_png, opening, record
from must_tf.data import input as input_lib
from must_tf.evaluation import batch_picture
from must_tf.label_content import OBJECTS
from must_tf.pseudo_gate import rules
from must_tf.shared.picture_grid import GridRow
from must_tf.spec import ImageInfo, Labels, TaskConfig, TaskSpec
from must_tf.tasks import discover
from tfrecords_tools import teachers
from tfrecords_tools.label import parallelism
from tfrecords_tools.reading import check_truth
from tfrecords_tools.reading.recordset import RecordSet
from tfrecords_tools.stats.against_truth import matched
from tfrecords_tools.teachers import BATCH_SIZE, Teacher

SAMPLE = 64  # photos; with fewer, one photo in ten that differs would change a figure by more than its noise
MOST_SIDE = 640  # pixels of the photos, however large the teacher's input is
ZOOM = 1.25  # shows two thirds of the area: most objects stay whole, and all are at another place and size
ORIGIN = "pseudo:itself"
SPREAD = 8  # of this many records at most one is read, so that a sample of a large shard reads only a part of it
F1 = "f1"
KEPT = 6  # teachers whose graphs are kept, one for each task
_kept: dict[str, _Graphs] = {}  # those that were needed last come last

Found = dict[str, dict[str, Any]]  # {task: {"figure", "higher_is_better", "images", "mirrored", "zoomed"}}


class _View(NamedTuple):
    flip: bool | tf.Tensor
    zoom: float | tf.Tensor

    def warp(self, original: tf.Tensor, side: int) -> geometry.Warp:
        """Returns the warp of a photo whose longer side is `side`; an enlarged photo is cut around its centre."""
        scaled = geometry.fitted_size(original, side, self.zoom)
        return geometry.Warp(original, self.flip, scaled, (scaled - original) // 2, side)


VIEWS = dict(zip(rules.VIEWS, (_View(True, 1.0), _View(False, ZOOM)), strict=True))


def sample(dataset: RecordSet, count: int, origin: str = "") -> list[bytes]:
    """Returns records that are spread over the shards. Others make up for shards that have too few.

    Args:
      dataset: the records.
      count: the most that are returned.
      origin: only records that have labels of this origin.
    """
    shards = list(dataset.paths)[:: max(1, len(dataset.paths) // count)][:count]
    each = -(-count // len(shards))
    sizes = {one["file"]: one["records"] for one in dataset.manifest.shards}
    found: list[bytes] = []
    for place, path in enumerate(shards):
        share = max(each, -(-(count - len(found)) // (len(shards) - place)))
        step = max(1, min(SPREAD, sizes.get(path.rpartition("/")[2], share) // share))
        most = min(share, count - len(found))
        of_shard = _of_shard(path, step, most, origin)
        if step > 1 and 0 < len(of_shard) < most:  # records of the origin are rare in this shard
            of_shard = _of_shard(path, 1, most, origin)
        found += of_shard
    return found


def _of_shard(path: str, step: int, most: int, origin: str) -> list[bytes]:
    records = record.without_autotune(tf.data.TFRecordDataset(path).shard(step, 0)).as_numpy_iterator()
    wanted: list[bytes] = []
    if framing.whole_records(path) is not None:
        raise UserError(f"{path} is truncated or damaged: a record is longer than the file. Convert it again.")
    for serialized in records:
        if len(wanted) == most:
            break
        if not origin or origin in record.origins_of(opening.parsed(serialized)).values():
            wanted.append(serialized)
    return wanted


def measure(teacher: Teacher, photos: Sequence[bytes], tick: Callable[[int], None] = lambda count: None) -> Found:
    """Measures how far a teacher agrees with itself.

    Args:
      teacher: to measure.
      photos: records; their labels are not used.
      tick: called with numbers of photos that are done.

    Returns:
      {task: {"figure": its name, "higher_is_better", "images": number, "mirrored": value, "zoomed": value}}; only tasks
      for which both values are known.
    """
    configs = {task: teacher.configs[task] for task in teacher.about.tasks}
    tallies = {(task, view): _Tally(discover()[task], configs[task]) for task in configs for view in VIEWS}
    labeller = _Labeller(teacher, configs)
    batches = [photos[start : start + BATCH_SIZE] for start in range(0, len(photos), BATCH_SIZE)]
    with ThreadPoolExecutor(parallelism.passes()) as threads:
        for batch, pairs in zip(batches, threads.map(labeller.pairs, batches), strict=True):
            for view, row, found in pairs:
                _add(tallies, view, row, found)
            tick(len(batch))
    return {task: figures for task in configs if (figures := _figures([tallies[task, view] for view in VIEWS]))}


def _add(tallies: dict[tuple[str, str], _Tally], view: str, row: GridRow, found: dict[str, Labels]) -> None:
    info = ImageInfo(row.source_id, *row.image.shape[:2])
    for task in row.labels.keys() & found.keys():
        tallies[task, view].add(row.labels[task], found[task], info)


def _figures(tallies: Sequence[_Tally]) -> dict[str, Any]:
    values = [tally.value() for tally in tallies]
    if None in values:
        return {}
    name, higher = tallies[0].figure()
    known = {"figure": name, "higher_is_better": higher, "images": min(tally.images for tally in tallies)}
    return known | dict(zip(VIEWS, values, strict=True))


class _Graphs(NamedTuple):
    """Graphs that are traced once for all photos: tracing takes longer than a few of them."""

    element: Callable[..., dict[str, Any]]  # of a record, for all views
    fitted: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]  # a square with the photo, and the photo's size in it


def _graphs(side: int, configs: dict[str, TaskConfig]) -> _Graphs:
    """Returns graphs for an input size and tasks, which the process keeps: teachers are measured on many datasets."""
    key = repr((side, [(task, config.as_dict()) for task, config in configs.items()]))
    _kept[key] = _kept.pop(key) if key in _kept else _traced(side, configs)
    for oldest in [*_kept][:-KEPT]:
        del _kept[oldest]
    return _kept[key]


def _traced(side: int, configs: dict[str, TaskConfig]) -> _Graphs:
    reader = input_lib.Reader({task: discover()[task] for task in configs}, configs, side)

    @tf.function(
        input_signature=[tf.TensorSpec([], kind) for kind in (tf.string, tf.bool, tf.float32)], autograph=False
    )
    def element(serialized: tf.Tensor, flip: tf.Tensor, zoom: tf.Tensor) -> dict[str, Any]:
        view = _View(flip, zoom)
        return reader.element(serialized, tf.constant(0), lambda original: view.warp(original, side))

    @tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
    def fitted(content: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image = record.decode_image(content)
        warp = geometry.fit(tf.shape(image)[:2], side)
        return geometry.warp_image(image, warp), warp.scaled

    return _Graphs(element, fitted)


class _Labeller:
    """Labels photos and their views."""

    def __init__(self, teacher: Teacher, configs: dict[str, TaskConfig]):
        self._teacher, self._configs = teacher, configs
        self._side = min(MOST_SIDE, max(teacher.frame.height, teacher.frame.width))
        self._side += -self._side % 32  # maps have cells of 4 pixels, and the input of a network a multiple of 32
        self._graphs = _graphs(self._side, configs)

    def pairs(self, photos: Sequence[bytes]) -> list[tuple[str, GridRow, dict[str, Labels]]]:
        """Returns the view, the row with its photo and expected labels, and the teacher's labels of that photo."""
        ids = [f"photo {place}" for place in range(len(photos))]
        with tf.device("CPU:0"):
            bases = [self._fitted(photo) for photo in photos]
        labels = teachers.label(self._teacher, [tf.constant(base) for base in bases], ids)
        return [pair for view in VIEWS for pair in self._of_view(view, bases, labels)]

    def _fitted(self, serialized: bytes) -> np.ndarray:
        """Returns the photo uint8 [h, w, 3] with its longer side at the teacher's input size."""
        example = opening.parsed(serialized)
        opening.require(example, {}, {})
        image, (height, width) = (each.numpy() for each in self._graphs.fitted(opening.image_of(example)))
        return image[:height, :width]

    def _of_view(
        self, view: str, bases: Sequence[np.ndarray], labels: Sequence[dict[str, Labels]]
    ) -> Iterator[tuple[str, GridRow, dict[str, Labels]]]:
        with tf.device("CPU:0"):
            rows = [self._row(view, base, of_base) for base, of_base in zip(bases, labels, strict=True)]
        found = teachers.label(self._teacher, [tf.constant(row.image) for row in rows], [row.source_id for row in rows])
        yield from ((view, row, of_view) for row, of_view in zip(rows, found, strict=True))

    def _row(self, view: str, base: np.ndarray, labels: dict[str, Labels]) -> GridRow:
        """Returns a view of a photo, with the labels that it has if those of the photo are right."""
        png = map_png.encode(base)
        labelled = {task: record.Labelled(values, ORIGIN) for task, values in labels.items()}
        serialized = record.encode(png, ImageInfo("photo", *base.shape[:2]), labelled, discover())
        element = self._graphs.element(tf.constant(serialized), *map(tf.constant, VIEWS[view]))
        return batch_picture.row_of(element, self._configs)


class _Tally:
    """Sums up one task's figure over the photos of one view."""

    def __init__(self, spec: TaskSpec, config: TaskConfig):
        self._spec, self._config = spec, config
        self._is_objects = False
        self._right, self._total = 0.0, 0.0  # of objects: pairs, and half of both numbers; else: sum, and images
        self._metric = spec.Metric(config)
        self.images = 0

    def add(self, expected: Labels, found: Labels, info: ImageInfo) -> None:
        """Adds one photo."""
        agreement, content = self._spec.summary.agreement, self._spec.summary.content(found, info, self._config)
        self.images += 1
        if agreement:
            value = agreement.of(expected, found, self._config)
            self._right += value or 0.0
            self._total += value is not None
        elif content.unit == OBJECTS:
            self._is_objects = True
            found = check_truth.chosen(found, content.present & np.asarray(self._spec.believed(found, self._config)))
            right, _ = matched(found, expected, info)
            self._right += int(right.sum())
            self._total += (len(found["boxes"]) + len(expected["boxes"])) / 2
        else:
            self._metric.add(expected, found, info)

    def figure(self) -> tuple[str, bool]:
        """Returns the figure's name, and whether higher is better."""
        agreement = self._spec.summary.agreement
        if agreement:
            return agreement.figure, agreement.higher_is_better
        return (F1, True) if self._is_objects else (self._metric.headline, self._metric.higher_is_better)

    def value(self) -> float | None:
        """Returns the figure; None if nothing could be compared."""
        if self._spec.summary.agreement or self._is_objects:
            return self._right / self._total if self._total else None
        return self._metric.result().get(self._metric.headline)
