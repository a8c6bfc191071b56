"""Compares a teacher's labels with ground truth for the same images, matched by content or else by id.

The tasks' own metrics measure only labels above the thresholds. Pixels that are unknown in the teacher's map are left
out of the ground truth. So the metrics describe the labels that a student is trained on. In addition, by class:

    precision  the share of the class's pseudo labels that are right
    recall     the share of the class's ground truth that has a right pseudo label

A box or mask is right if it overlaps one of its class in the ground truth with an IoU of 0.5 or more, and no label with
a higher score has matched that one: COCO's matching (Lin et al., "Microsoft COCO", ECCV 2014). Those in crowds are not
judged, nor are masks of objects whose mask the ground truth does not have.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as mask_utils

from must_tf import tasks
from must_tf.common.errors import UserError
from must_tf.common.progress import Progress
from must_tf.data import label_reader, opening, record
from must_tf.data.record import Labelled
from must_tf.label_content import IMAGES, OBJECTS, PIXELS, LabelContent, where
from must_tf.shared.coco_eval import corners
from must_tf.spec import ImageInfo, Labels, TaskSpec, judged
from must_tf.tasks import discover
from must_tf.tasks.masks.labels import has_mask, paste
from tfrecords_tools.reading import bad_records, check_truth, located, recordset
from tfrecords_tools.reading.recordset import RecordSet
from tfrecords_tools.stats import sums
from tfrecords_tools.stats.sums import BINS, PSEUDO, REAL
from tfrecords_tools.writing import on_disk

OVERLAP = 0.5


class TruthOfImage(NamedTuple):
    """One image with real labels. `same_content` is False if only its id is that of the labelled image."""

    info: ImageInfo
    labels: Callable[[str], Labelled | None]  # of a task
    same_content: bool


class GroundTruth:
    """A dataset of real labels, read by image. Memory is constant: the index is on disk, records stay in files."""

    def __init__(self, dataset: RecordSet, wanted_tasks: Collection[str]):
        """Indexes the dataset. Images will have labels of the wanted tasks."""
        self.dataset = dataset
        configs = recordset.configs_of(dataset.manifest.classes)
        # If it has no labels for a task, it has no class names for it either.
        self._configs = {task: configs[task] for task in wanted_tasks if task in dataset.manifest.origins}
        self._reader = label_reader.shared(discover(), self._configs)
        self._index = on_disk.database()
        progress = Progress(dataset.records, "truth")
        with on_disk.room():
            self._index.execute("CREATE TABLE records (place INTEGER PRIMARY KEY, id TEXT, digest TEXT, path, offset)")
            statement = "INSERT INTO records (id, digest, path, offset) VALUES (?, ?, ?, ?)"
            self._index.executemany(statement, _rows(dataset.paths, progress))
            for column in ("id", "digest"):
                self._index.execute(f"CREATE INDEX {column}s ON records ({column})")
        progress.close()

    def image(self, source_id: str, sha256: str) -> TruthOfImage | None:
        """Returns the image with its real labels, or None if the dataset does not have it.

        The labels of a large image are read when they are asked for.

        An image is found by its content. If the dataset has it under several ids, it is the one with the same id. If no
        image has the content, because it was saved again, it is the last one with the same id.
        """
        by_content = "SELECT path, offset FROM records WHERE digest = ? ORDER BY id = ? DESC, place LIMIT 1"
        by_id = "SELECT path, offset FROM records WHERE id = ? ORDER BY place DESC LIMIT 1"
        same = self._index.execute(by_content, (sha256, source_id)).fetchone()
        place = same or self._index.execute(by_id, (source_id,)).fetchone()
        if place is None:
            return None
        serialized = located.read(*place)
        example = opening.parsed(serialized)
        info = record.info_of(example)
        if info.height * info.width <= label_reader.LARGE:
            return TruthOfImage(info, self._reader.read(serialized, example, REAL).get, same is not None)
        real = {task for task, origin in record.origins_of(example).items() if origin.startswith(REAL)}

        def read(task: str) -> Labelled | None:
            wanted = {task: self._configs[task]} if task in real & self._configs.keys() else {}
            return next((found for _, found in record.labels_in_turn(serialized, discover(), wanted)), None)

        return TruthOfImage(info, read, same is not None)


def _rows(paths: Sequence[str], progress: Progress) -> Iterator[tuple[str, str, str, int]]:
    """Yields id, SHA-256 of the image, file, and offset of every record."""
    for path in paths:
        for found in located.located(path):
            yield found.source_id, found.sha256, path, found.offset
            progress.advance()


class Judge:
    """Measures one teacher's labels for one task."""

    def __init__(self, spec: TaskSpec, config: Any):
        self.images, self.missing = 0, 0
        self.by_id = 0  # images whose ground truth has their id, and not their content
        self._spec, self._config, self._metric = spec, config, spec.Metric(config)
        classes = len(config.classes)
        self.right, self.judged = (np.zeros([classes, BINS], np.int64) for _ in range(2))
        self._believed = np.zeros([2, classes], np.int64)  # right, judged: only of those above the thresholds
        self._wanted = np.zeros(classes, np.int64)  # ground truth by class

    def add(self, pseudo: Labels, truth: Labelled, info: ImageInfo) -> None:
        """Adds one image: its pseudo labels and its ground truth."""
        self.images += 1
        pseudo, labels = judged(self._spec, pseudo, truth.annotated), truth.labels
        if "boxes" in labels:  # LVIS has objects of classes of which others may be missing
            labels = judged(self._spec, labels, truth.annotated)
        content, real = (self._spec.summary.content(side, info, self._config) for side in (pseudo, labels))
        believed = content.present & np.asarray(self._spec.believed(pseudo, self._config))
        if content.unit == OBJECTS:
            pseudo = self._add_objects(pseudo, labels, info)
        elif content.classes is not None and content.scores is not None:
            self._add_classes(content, real, believed)
            if content.unit == IMAGES and not (believed & np.isfinite(content.scores)).any():
                return
        if content.unit == PIXELS:  # pixels below the thresholds are left out of the ground truth
            labels = labels | where(believed, labels, info, self._spec.summary.unknown)
        self._metric.add(labels, pseudo, info)

    def _add(self, places: np.ndarray, scores: np.ndarray, right: np.ndarray) -> None:
        """Adds labels [N]: the places of their classes, their scores, and bool, True if right."""
        classes = len(self._config.classes)
        self.judged += sums.binned(places, scores, classes)
        self.right += sums.binned(places[right], scores[right], classes)

    def _add_objects(self, pseudo: Labels, truth: Labels, info: ImageInfo) -> Labels:
        """Adds objects. Returns those above the thresholds."""
        content = self._spec.summary.content(pseudo, info, self._config)
        if content.eligible is not None:  # no threshold of a class would let the others through
            pseudo = check_truth.chosen(pseudo, content.eligible)
            content = self._spec.summary.content(pseudo, info, self._config)
        believed = content.present & np.asarray(self._spec.believed(pseudo, self._config))
        right, judgeable = matched(pseudo, truth, info)
        if content.classes is not None and content.scores is not None:
            self._add(content.classes[judgeable], content.scores[judgeable], right[judgeable])
            self._count(content.classes, believed & judgeable, right)
            real = self._spec.summary.content(truth, info, self._config)
            self._want(real)
        return check_truth.chosen(pseudo, believed)

    def _want(self, real: LabelContent) -> None:
        if real.classes is not None:
            self._wanted += np.bincount(real.classes[real.present], minlength=len(self._wanted))

    def _count(self, places: np.ndarray, believed: np.ndarray, right: np.ndarray) -> None:
        for row, wanted in enumerate((believed & right, believed)):
            self._believed[row] += np.bincount(places[wanted], minlength=len(self._config.classes))

    def _add_classes(self, content: LabelContent, real: LabelContent, believed: np.ndarray) -> None:
        """Adds labels of pixels, or of the whole image."""
        self._want(real)
        if content.classes is None or content.scores is None or real.classes is None:
            return
        known = real.present & content.present & np.isfinite(content.scores)
        guess = content.classes[known]
        right = guess == real.classes[known]
        self._add(guess, content.scores[known], right)
        self._count(guess, believed[known], right)

    def result(self, names: Sequence[str]) -> dict[str, Any]:
        """Returns the teacher's `truth` entry of stats.json for this task; `names` are the task's classes."""
        entry: dict[str, Any] = {"images": self.images, "missing": self.missing, "by_id": self.by_id}
        if not self.images:
            return entry
        metrics = {name: float(value) for name, value in self._metric.result().items()}
        right, judged = self._believed
        if judged.any():
            entry["precision"] = _shares(right, judged, names)
            entry["recall"] = _shares(right, self._wanted, names)
        return entry | {"right": self._right(metrics), "measure": self._spec.summary.measure, "figures": metrics}

    def _right(self, metrics: Mapping[str, float]) -> float | None:
        """Returns the share of right labels, or None if there was nothing to judge."""
        if self._spec.summary.right:
            return self._spec.summary.right(metrics)
        right, judged = self._believed.sum(1)
        return float(right / judged) if judged else None


def matched(pseudo: Labels, truth: Labels, info: ImageInfo) -> tuple[np.ndarray, np.ndarray]:
    """Matches N pseudo objects with ground truth. Returns two arrays bool [N]: right, and can be judged."""
    right, judged = np.zeros(len(pseudo["boxes"]), bool), np.ones(len(pseudo["boxes"]), bool)
    if not len(pseudo["boxes"]) or not len(truth["boxes"]):
        return right, judged
    crowd = np.asarray(truth["is_crowd"], bool)
    known = has_mask(truth)
    overlaps = mask_utils.iou(_shapes(pseudo, info), _shapes(truth, info), crowd.astype(np.uint8).tolist())  # [N, G]
    same = np.asarray(pseudo["classes"])[:, None] == np.asarray(truth["classes"])[None]
    overlaps = np.where(same & known, overlaps, 0.0)
    near_unknown = np.zeros(len(right), bool)
    if not known.all():
        near_unknown = (same & ~known & (_box_overlaps(pseudo, truth, info) >= OVERLAP)).any(axis=1)
    free = ~crowd & known
    for place in np.argsort(-np.asarray(pseudo["scores"]), kind="stable"):
        best = int(np.argmax(np.where(free, overlaps[place], 0.0)))
        if free[best] and overlaps[place][best] >= OVERLAP:
            right[place], free[best] = True, False
        elif near_unknown[place] or (overlaps[place][crowd] >= OVERLAP).any():
            judged[place] = False
    return right, judged


def _box_overlaps(pseudo: Labels, truth: Labels, info: ImageInfo) -> np.ndarray:
    """Returns the IoU [N, G] of the boxes; with a crowd, the share of the pseudo object's box that lies in its box."""
    sides = [corners(labels["boxes"], info.height, info.width) for labels in (pseudo, truth)]
    return mask_utils.iou(*sides, np.asarray(truth["is_crowd"], np.uint8).tolist())


def _shapes(labels: Labels, info: ImageInfo) -> Any:
    """Returns boxes float64 [N, 4], or masks as RLE, in the form that pycocotools takes."""
    if "crops" in labels:
        full = paste(labels, info.height, info.width).astype(np.uint8)  # [N, h, w]
        return mask_utils.encode(np.asfortranarray(full.transpose(1, 2, 0)))
    return corners(labels["boxes"], info.height, info.width)


def _shares(part: np.ndarray, whole: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    return {name: float(count / total) for name, count, total in zip(names, part, whole, strict=True) if total}


def measure(dataset: RecordSet, truth: GroundTruth, configs: Mapping[str, Any]) -> dict[tuple[str, str], Judge]:
    """Compares the pseudo labels of these tasks with ground truth. Returns {(task, origin): judge}.

    This runs in one process, because ranking by score needs all images.

    Raises:
      UserError: the datasets have different class names, or no image in common.
    """
    _check_classes(dataset, truth.dataset)
    judges: dict[tuple[str, str], Judge] = {}

    def judge_of(task: str, origin: str) -> Judge:
        return judges.setdefault((task, origin), Judge(tasks.discover()[task], configs[task]))

    reader, progress = label_reader.shared(discover(), configs), Progress(dataset.records, "measure")
    for path in dataset.paths:
        for number, serialized in recordset.whole(path):
            with bad_records.reading(path, number):
                _measure(serialized, truth, reader, judge_of)
            progress.advance()
    progress.close()
    bad_records.settle_own()
    if judges and not any(judge.images for judge in judges.values()):
        raise UserError(
            f"--truth: {truth.dataset.directory} has no real labels for any image of {dataset.directory}: none has the "
            "same content, or the same id and size. Give records of the same images."
        )
    return judges


def _measure(
    serialized: bytes, truth: GroundTruth, reader: label_reader.LabelReader, judge_of: Callable[[str, str], Judge]
) -> None:
    example = opening.parsed(serialized)
    info = record.info_of(example)
    if not any(map(record.is_pseudo, record.origins_of(example).values())):
        return
    real = truth.image(info.source_id, record.content_of(example))
    fits = real is not None and real.info[1:] == info[1:]  # labels of another size do not
    for task, (labels, origin, _) in reader.read_in_turn(serialized, example, PSEUDO):
        judge = judge_of(task, origin)
        found = real.labels(task) if real is not None and fits else None
        if real is None or found is None:
            judge.missing += 1
        else:
            judge.by_id += not real.same_content
            judge.add(labels, found, info)
        del labels, found  # before the next task's are read


def _check_classes(dataset: RecordSet, truth: RecordSet) -> None:
    for task, names in dataset.manifest.classes.items():
        other = truth.manifest.classes.get(task, names)
        if list(other) != list(names):
            raise UserError(
                f"--truth: the class names of {task} in {os.path.join(truth.directory, 'manifest.json')} differ from "
                f"those in {dataset.directory}. Give records with the same classes."
            )
