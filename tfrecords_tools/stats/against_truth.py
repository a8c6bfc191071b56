"""How often a teacher's labels are right: its records beside a labelled set of the same images, matched by `source_id`.

Only what is believed at the reading thresholds is measured, by the tasks' own metrics; where a map says nothing the
truth is not asked, so that figures are of the labels that a student is trained on. Beside them, by class:

    precision  of what is labelled as a class, the share that is right
    recall     of what is a class, the share that is labelled so

A box or mask is right that overlaps a true one of its class by an IoU of 0.5 that no surer one has taken, as COCO
matches them (Lin et al., "Microsoft COCO", ECCV 2014); those in crowds are not judged.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from pycocotools import mask as mask_utils

from must_tf import tasks
from must_tf.common.errors import UserError
from must_tf.common.progress import Progress
from must_tf.data import label_reader, record
from must_tf.data.record import Labelled
from must_tf.label_content import IMAGES, OBJECTS, PIXELS, LabelContent, where
from must_tf.shared.coco_eval import corners
from must_tf.spec import ImageInfo, Labels, TaskSpec, judged
from must_tf.tasks import discover
from must_tf.tasks.masks.labels import paste
from tfrecords_tools.reading import check_truth, recordset
from tfrecords_tools.reading.recordset import RecordSet
from tfrecords_tools.stats import sums
from tfrecords_tools.stats.dataset_pass import PSEUDO, REAL
from tfrecords_tools.stats.sums import BINS
from tfrecords_tools.writing import on_disk

OVERLAP = 0.5
FRAME = 16  # bytes that a TFRecord has around its content: 12 before it, 4 behind


class Truth:
    """A record set that is asked by id. Memory is flat: its index is on the disk, its records stay where they are."""

    def __init__(self, found: RecordSet, tasks_asked: Collection[str]):
        """Reads the set once; labels of these tasks will be asked for."""
        self.found = found
        configs = recordset.configs_of(found.manifest.classes)
        # Of a task that it has no labels for it does not name the classes either.
        self._reader = label_reader.shared(
            discover(), {task: configs[task] for task in tasks_asked if task in found.manifest.origins}
        )
        progress = Progress(found.records, "truth")
        self._places = on_disk.DiskTable(_places(found.paths, progress))
        progress.close()

    def labels(self, source_id: str) -> tuple[ImageInfo, dict[str, Labelled]] | None:
        """The image's real labels; None where the set does not have it."""
        if source_id not in self._places:
            return None
        path, offset, length = self._places[source_id]
        with tf.io.gfile.GFile(path, "rb") as file:
            file.seek(offset)
            serialized = file.read(length)
        example = tf.train.Example.FromString(serialized)
        return record.info_of(example), self._reader.read(serialized, example, REAL)


def _places(paths: Sequence[str], progress: Progress) -> Iterator[tuple[str, tuple[str, int, int]]]:
    """(source id, (file, offset, bytes)) of every record."""
    for path in paths:
        offset = 0
        for _, serialized in recordset.whole(path):
            example = tf.train.Example.FromString(serialized)
            yield record.info_of(example).source_id, (path, offset + FRAME - 4, len(serialized))
            offset += len(serialized) + FRAME
            progress.advance()


class Judge:
    """Measures one teacher's labels for one task."""

    def __init__(self, spec: TaskSpec, config: Any):
        self.images, self.missing = 0, 0
        self._spec, self._config, self._metric = spec, config, spec.Metric(config)
        classes = len(config.classes)
        self.right, self.judged = (np.zeros([classes, BINS], np.int64) for _ in range(2))
        self._believed = np.zeros([2, classes], np.int64)  # right, judged: of the believed alone
        self._wanted = np.zeros(classes, np.int64)

    def add(self, found: Labels, truth: Labelled, info: ImageInfo) -> None:
        """Adds one more image; the truth's labels are real."""
        self.images += 1
        found, labels = judged(self._spec, found, truth.annotated), truth.labels
        content, real = (self._spec.summary.content(one, info, self._config) for one in (found, labels))
        believed = content.present & np.asarray(self._spec.believed(found, self._config))
        if content.unit == OBJECTS:
            found = self._add_objects(found, labels, info)
        elif content.classes is not None and content.scores is not None:
            self._add_classes(content, real, believed)
            if content.unit == IMAGES and not (believed & np.isfinite(content.scores)).any():
                return
        if content.unit == PIXELS:  # the truth is unknown where nothing is believed
            labels = labels | where(believed, labels, info, self._spec.summary.unknown)
        self._metric.add(labels, found, info)

    def _add(self, ids: np.ndarray, scores: np.ndarray, right: np.ndarray) -> None:
        """Labels [N] by the place of their class, how sure they are, and whether they are right."""
        classes = len(self._config.classes)
        self.judged += sums.binned(ids, scores, classes)
        self.right += sums.binned(ids[right], scores[right], classes)

    def _add_objects(self, found: Labels, truth: Labels, info: ImageInfo) -> Labels:
        """Returns what is believed of `found`."""
        content = self._spec.summary.content(found, info, self._config)
        if content.eligible is not None:  # no threshold of a class brings the others
            found = check_truth.chosen(found, content.eligible)
            content = self._spec.summary.content(found, info, self._config)
        believed = content.present & np.asarray(self._spec.believed(found, self._config))
        right, judgeable = matched(found, truth, info)
        if content.classes is not None and content.scores is not None:
            self._add(content.classes[judgeable], content.scores[judgeable], right[judgeable])
            self._count(content.classes, believed & judgeable, right)
            real = self._spec.summary.content(truth, info, self._config)
            self._want(real)
        return check_truth.chosen(found, believed)

    def _want(self, real: LabelContent) -> None:
        if real.classes is not None:
            self._wanted += np.bincount(real.classes[real.present], minlength=len(self._wanted))

    def _count(self, places: np.ndarray, believed: np.ndarray, right: np.ndarray) -> None:
        for row, wanted in enumerate((believed & right, believed)):
            self._believed[row] += np.bincount(places[wanted], minlength=len(self._config.classes))

    def _add_classes(self, content: LabelContent, real: LabelContent, believed: np.ndarray) -> None:
        """Labels of pixels, or of the image."""
        self._want(real)
        if content.classes is None or content.scores is None or real.classes is None:
            return
        known = real.present & content.present & np.isfinite(content.scores)
        guess = content.classes[known]
        right = guess == real.classes[known]
        self._add(guess, content.scores[known], right)
        self._count(guess, believed[known], right)

    def result(self, names: Sequence[str]) -> dict[str, Any]:
        """Returns the metrics; `names` are the task's classes."""
        found: dict[str, Any] = {"images": self.images, "missing": self.missing}
        if not self.images:
            return found
        figures = {name: float(value) for name, value in self._metric.result().items()}
        right, judged = self._believed
        if judged.any():
            found["precision"] = _shares(right, judged, names)
            found["recall"] = _shares(right, self._wanted, names)
        return found | {"right": self._right(figures), "measure": self._spec.summary.measure, "figures": figures}

    def _right(self, figures: Mapping[str, float]) -> float | None:
        """The share of right labels; None if there was nothing to judge."""
        if self._spec.summary.right:
            return self._spec.summary.right(figures)
        right, judged = self._believed.sum(1)
        return float(right / judged) if judged else None


def matched(found: Labels, truth: Labels, info: ImageInfo) -> tuple[np.ndarray, np.ndarray]:
    """Which of the found objects [N] are right, and which can be judged: bool [N] each."""
    right, judged = np.zeros(len(found["boxes"]), bool), np.ones(len(found["boxes"]), bool)
    if not len(found["boxes"]) or not len(truth["boxes"]):
        return right, judged
    crowd = np.asarray(truth["is_crowd"], bool)
    overlaps = mask_utils.iou(_shapes(found, info), _shapes(truth, info), crowd.astype(np.uint8).tolist())  # [N, G]
    same = np.asarray(found["classes"])[:, None] == np.asarray(truth["classes"])[None]
    overlaps = np.where(same, overlaps, 0.0)
    free = ~crowd
    for place in np.argsort(-np.asarray(found["scores"]), kind="stable"):
        best = int(np.argmax(np.where(free, overlaps[place], 0.0)))
        if free[best] and overlaps[place][best] >= OVERLAP:
            right[place], free[best] = True, False
        elif (overlaps[place][crowd] >= OVERLAP).any():
            judged[place] = False
    return right, judged


def _shapes(labels: Labels, info: ImageInfo) -> Any:
    """Boxes float64 [N, 4], or masks as RLE, as pycocotools takes them."""
    if "crops" in labels:
        full = paste(labels, info.height, info.width).astype(np.uint8)  # [N, h, w]
        return mask_utils.encode(np.asfortranarray(full.transpose(1, 2, 0)))
    return corners(labels["boxes"], info.height, info.width)


def _shares(part: np.ndarray, whole: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    return {name: float(one / of) for name, one, of in zip(names, part, whole, strict=True) if of}


def measure(found: RecordSet, truth: Truth, configs: Mapping[str, Any]) -> dict[tuple[str, str], Judge]:
    """{(task, origin): its judge} of the pseudo labels of these tasks. One process: ranking needs all images at once.

    Raises:
      UserError: the sets name classes otherwise, or have no image in common.
    """
    _check_classes(found, truth.found)
    judges: dict[tuple[str, str], Judge] = {}

    def judge_of(task: str, origin: str) -> Judge:
        return judges.setdefault((task, origin), Judge(tasks.discover()[task], configs[task]))

    pseudo, progress = label_reader.shared(discover(), configs), Progress(found.records, "measure")
    for path in found.paths:
        for _, serialized in recordset.whole(path):
            _measure(serialized, truth, pseudo, judge_of)
            progress.advance()
    progress.close()
    if judges and not any(judge.images for judge in judges.values()):
        raise UserError(
            f"{truth.found.directory} has real labels for none of the images of {found.directory}. --truth names a set "
            "of the same images with the same ids: see must-records inspect --page of both."
        )
    return judges


def _measure(
    serialized: bytes, truth: Truth, pseudo: label_reader.LabelReader, judge_of: Callable[[str, str], Judge]
) -> None:
    example = tf.train.Example.FromString(serialized)
    info = record.info_of(example)
    found = pseudo.read(serialized, example, PSEUDO)
    known = truth.labels(info.source_id) if found else None
    for task, one in found.items():
        judge = judge_of(task, one.origin)
        if known is None or task not in known[1] or known[0][1:] != info[1:]:  # another size: nothing fits
            judge.missing += 1
        else:
            judge.add(one.labels, known[1][task], info)


def _check_classes(found: RecordSet, truth: RecordSet) -> None:
    for task, names in found.manifest.classes.items():
        other = truth.manifest.classes.get(task, names)
        if list(other) != list(names):
            raise UserError(
                f"{os.path.join(truth.directory, 'manifest.json')} names {task}'s classes otherwise than "
                f"{found.directory}; labels of different classes cannot be compared."
            )
