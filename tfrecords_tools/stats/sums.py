"""What is added up of one task's labels: sums and histograms, so that memory does not grow with the set.

As in `facts`, labels tell by their own arrays what they are; every kind is counted in what it is made of.

| kind | labels | counted |
|---|---|---|
| `objects`, `masks` | boxes with scores, and their crops | objects |
| `images` | one distribution of the image | images, by their likeliest class |
| `pixels` | class ids | pixels |
| `depth`, `normals`, `map` | values of every pixel | pixels |
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from must_tf.common.finite import is_finite
from must_tf.spec import ImageInfo, Labels
from tfrecords_tools.reading import label_summary
from tfrecords_tools.reading.thresholds import Levels

OBJECTS, MASKS, IMAGES, PIXELS, DEPTH, NORMALS, MAP = "objects", "masks", "images", "pixels", "depth", "normals", "map"
BINS = 100  # of scores from 0 to 1: thresholds are suggested in hundredths
# Of depth: 100 bins a decade, so that a percentile is right to 2.3 %.
NEAREST, DECADES, PER_DECADE = 1e-3, 6, 100  # metres
EDGES = NEAREST * 10 ** (np.arange(DECADES * PER_DECADE + 1) / PER_DECADE)
SAME_DEPTH = 0.01  # standard deviation over mean: a wall seen face to face varies by more across a photo
SAME_DIRECTION = 0.999  # length of the mean unit vector; vectors within about 2.6 degrees of each other


def _zeros(*shape: int) -> np.ndarray:
    return dataclasses.field(default_factory=lambda: np.zeros(shape, np.int64))


@dataclasses.dataclass
class Sums:
    """Sums over images. C classes by their place in the names.

    Attributes:
      kind: what the labels are; empty before the first.
      images: labelled ones. The next five are among them.
      empty: nothing is there, not even at the floor.
      unsure: something is there, but nothing that is believed on reading.
      not_finite: NaN or infinity.
      flat: a map that says the same everywhere.
      relative: depth without metres.
      boxes, hollow: objects whose boxes are believed, and those of them whose masks are not.
      pixels, valid: of maps, all and those that say something that is believed.
      sure: sum of the likeliest classes' probabilities.
      scores: [C, BINS] labels by class and score; no masks that are not believed whatever their box's score.
      believed: [C] labels at the reading threshold.
      counts: believed objects in an image -> images.
      metres: [600] pixels between `EDGES`.
      direction: [3] sum of the unit normals.
    """

    kind: str = ""
    images: int = 0
    empty: int = 0
    unsure: int = 0
    not_finite: int = 0
    flat: int = 0
    relative: int = 0
    boxes: int = 0
    hollow: int = 0
    pixels: int = 0
    valid: int = 0
    sure: float = 0.0
    scores: np.ndarray = _zeros(0, BINS)
    believed: np.ndarray = _zeros(0)
    counts: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    metres: np.ndarray = _zeros(len(EDGES) - 1)
    direction: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(3))

    def merge(self, other: Sums) -> None:
        """Adds another part's."""
        for field in dataclasses.fields(self):
            mine, theirs = getattr(self, field.name), getattr(other, field.name)
            if field.name == "kind":
                self.kind = mine or theirs
            elif isinstance(mine, np.ndarray) and mine.size < theirs.size:  # nothing was counted here yet
                setattr(self, field.name, theirs + (mine if mine.size else 0))
            elif not isinstance(theirs, np.ndarray) or theirs.size:
                setattr(self, field.name, mine + theirs)


def add(sums: Sums, labels: Labels, info: ImageInfo, levels: Levels) -> None:
    """One more image.

    Args:
      sums: of this task.
      labels: in the original image's frame.
      info: the image.
      levels: the scores from which on labels are believed.
    """
    sums.kind = kind_of(labels)
    sums.images += 1
    sums.not_finite += not is_finite(labels)
    if not sums.scores.size:
        sums.scores, sums.believed = (
            np.zeros([len(levels.classes), BINS], np.int64),
            np.zeros(len(levels.classes), np.int64),
        )
    if sums.kind == MAP:
        values = label_summary.map_of(labels, info)
        if values is not None:
            _add_known(sums, label_summary.known_pixels(labels, values))
        return
    ADDERS[sums.kind](sums, labels, levels)


def kind_of(labels: Labels) -> str:
    """Which row of the table above."""
    if "boxes" in labels:
        return MASKS if "crops" in labels else OBJECTS
    if label_summary.is_distribution(labels):
        return IMAGES
    found = {"classes": PIXELS, "metres": DEPTH, "normals": NORMALS}
    return next((kind for key, kind in found.items() if key in labels), MAP)


def believed_boxes(labels: Labels, levels: Levels) -> np.ndarray:
    """bool [N]: objects whose boxes training reads, as `detection.rules.believed` has it."""
    places = np.asarray(labels["classes"], int) - 1  # id 0 is the background
    return (labels["scores"] >= levels.classes[places]) & ~np.asarray(labels["is_crowd"], bool)


def believed_masks(labels: Labels, levels: Levels) -> np.ndarray:
    """bool [N]: objects whose mask is sure enough, however sure its box; all where there are no masks."""
    return np.broadcast_to(labels.get("mask_scores", 1.0) >= np.float32(levels.mask), [len(labels["boxes"])])


def believed_objects(labels: Labels, levels: Levels) -> np.ndarray:
    """bool [N]: objects that training reads; of masks as `masks.labels.believed` has it."""
    return believed_boxes(labels, levels) & believed_masks(labels, levels)


def believed_pixels(labels: Labels, levels: Levels) -> np.ndarray:
    """bool [h, w]: pixels that training reads."""
    known = label_summary.known_pixels(labels, labels["classes"])
    return known & (labels["confidence"] >= levels.classes[np.where(known, labels["classes"], 0)])


def binned(places: np.ndarray, scores: np.ndarray, classes: int) -> np.ndarray:
    """Counts [classes, BINS] of labels [N] by class and score; a score of 1.0 is in the last bin."""
    bins = np.clip((scores.astype(np.float64) * BINS + 1e-6).astype(np.int64), 0, BINS - 1)
    return np.bincount(places * BINS + bins, minlength=classes * BINS).reshape(classes, BINS)


def _add_objects(sums: Sums, labels: Labels, levels: Levels) -> None:
    places, scores = np.asarray(labels["classes"], int) - 1, np.asarray(labels["scores"])
    there = ~np.asarray(labels["is_crowd"], bool) & np.isfinite(scores)
    boxes, masks = believed_boxes(labels, levels), believed_masks(labels, levels)
    believed, kept = boxes & masks, there & masks
    sums.scores += binned(places[kept], scores[kept], len(levels.classes))
    sums.believed += np.bincount(places[believed], minlength=len(levels.classes))
    sums.counts[int(believed.sum())] += 1
    sums.boxes += int(boxes.sum())
    sums.hollow += int((boxes & ~masks).sum())
    _add_state(sums, bool(there.any()), bool(believed.any()))


def _add_state(sums: Sums, there: bool, believed: bool) -> None:
    sums.empty += not there
    sums.unsure += there and not believed


def believed_image(labels: Labels, levels: Levels) -> bool:
    """Whether training reads an image's class: the likeliest is likely enough, and nothing is NaN."""
    probability = np.asarray(labels["probability"])
    if not probability.size or not np.isfinite(probability).all():
        return False
    likeliest = int(probability.argmax())
    return bool(probability[likeliest] >= levels.classes[likeliest])


def _add_image(sums: Sums, labels: Labels, levels: Levels) -> None:
    probability = np.asarray(labels["probability"])
    known = bool(probability.size) and bool(np.isfinite(probability).all())
    believed = believed_image(labels, levels)
    _add_state(sums, known, believed)
    if known:
        likeliest = int(probability.argmax())
        sums.scores += binned(np.array([likeliest]), probability[[likeliest]], len(levels.classes))
        sums.believed[likeliest] += believed
        sums.sure += float(probability[likeliest])


def _add_pixels(sums: Sums, labels: Labels, levels: Levels) -> None:
    known = label_summary.known_pixels(labels, labels["classes"])
    believed = believed_pixels(labels, levels) if known.any() else known
    sums.scores += binned(labels["classes"][known], labels["confidence"][known], len(levels.classes))
    sums.believed += np.bincount(labels["classes"][believed], minlength=len(levels.classes))
    sums.pixels += known.size
    sums.valid += int(believed.sum())
    _add_state(sums, bool(known.any()), bool(believed.any()))


def _add_known(sums: Sums, known: np.ndarray) -> None:
    sums.pixels += known.size
    sums.valid += int(known.sum())
    sums.empty += not known.any()


def _add_depth(sums: Sums, labels: Labels, levels: Levels) -> None:
    del levels
    relative = bool(np.any(labels.get("inverse_depth", 0.0)))
    values = labels["inverse_depth" if relative else "metres"]
    known = np.isfinite(values) & (values > 0)
    _add_known(sums, known)
    sums.relative += relative
    if known.any():
        found = values[known].astype(np.float64)
        sums.flat += bool(found.std() < SAME_DEPTH * found.mean())
        if not relative:
            # A logarithm finds the bin in a tenth of the time that a search among the edges takes.
            places = np.floor(np.log10(found / NEAREST) * PER_DECADE).astype(int)
            last = len(sums.metres) - 1
            sums.metres += np.bincount(np.clip(places, 0, last), minlength=last + 1)


def _add_normals(sums: Sums, labels: Labels, levels: Levels) -> None:
    del levels
    axes = np.moveaxis(labels["normals"], -1, 0)  # [3, h, w]; one axis after the other is several times faster
    known = (axes[0] != 0) | (axes[1] != 0) | (axes[2] != 0)
    _add_known(sums, known)
    if known.any():
        total = np.array([axis.sum(dtype=np.float64) for axis in axes])  # unknown is 0,0,0
        sums.direction = sums.direction + total
        sums.flat += bool(np.linalg.norm(total) > SAME_DIRECTION * known.sum())


ADDERS: Mapping[str, Callable[[Sums, Labels, Levels], None]] = {
    OBJECTS: _add_objects,
    MASKS: _add_objects,
    IMAGES: _add_image,
    PIXELS: _add_pixels,
    DEPTH: _add_depth,
    NORMALS: _add_normals,
}
