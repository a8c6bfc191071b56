"""Labels in a form that is the same for all tasks, for the record tools.

A label consists of things of one unit: objects, pixels, or the whole image. `LabelContent` lists them; a task's
`Summary` makes it. The defaults fit a task without classes and confidence: arrays of the image's size are maps in which
0 is unknown, and any other label is one thing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from must_tf.common.finite import is_finite

Labels = dict[str, Any]  # NumPy, one image, original frame
OBJECTS, IMAGES, PIXELS = "objects", "images", "pixels"
# The state of an image's label. EMPTY: it says that nothing is there. LOW: all of it is below the thresholds. LABELLED:
# there is something to train on. An unlabelled image has no state.
EMPTY, LOW, LABELLED = "empty", "low", "labelled"


class ImageInfo(NamedTuple):
    """The image that a label belongs to, and its size in pixels."""

    source_id: str
    height: int
    width: int


class LabelContent(NamedTuple):
    """The things that one label names. Arrays have one entry per thing: [N] objects, [1] image, or [h, w] pixels.

    A label of objects has one entry per object under every key, so that objects can be selected without knowing the
    task.

    Attributes:
      unit: OBJECTS, IMAGES or PIXELS; "" for a label of another kind.
      present: bool, False for ignored and unknown entries.
      classes: int, the place in the class names; None if the task has no classes.
      scores: float, the confidence; 1 if real. None if the task has no confidence.
      ignored: bool, entries that are there but that no model has to name, like crowds; None if there are none.
      eligible: bool, entries that some threshold of their class would let through; None means all. A mask that is below
        its own threshold, for example, is not eligible whatever the score of its box.
    """

    unit: str
    present: np.ndarray
    classes: np.ndarray | None = None
    scores: np.ndarray | None = None
    ignored: np.ndarray | None = None
    eligible: np.ndarray | None = None

    def there(self) -> np.ndarray:
        """Returns the entries that are present or ignored."""
        return self.present if self.ignored is None else self.present | self.ignored


def maps(labels: Labels, info: ImageInfo) -> dict[str, np.ndarray]:
    """Returns the label's arrays [h, w, ...]."""
    size = (info.height, info.width)
    return {key: value for key, value in labels.items() if np.ndim(value) > 1 and np.shape(value)[:2] == size}


def where(known: np.ndarray, labels: Labels, info: ImageInfo, unknown: Mapping[str, int]) -> Labels:
    """Returns the label's maps with the pixels outside of `known` [h, w] set to unknown, see `Summary.unknown`."""
    return {
        key: np.where(
            known.reshape(known.shape + (1,) * (value.ndim - 2)), value, np.array(unknown.get(key, 0), value.dtype)
        )
        for key, value in maps(labels, info).items()
    }


def with_score(labels: Labels, content: LabelContent, threshold: float) -> Labels:
    """Returns a label of objects without those whose score is below the threshold; other labels unchanged."""
    if content.unit != OBJECTS or content.scores is None:
        return labels
    wanted = content.scores >= threshold
    return {
        key: [one for one, is_wanted in zip(values, wanted, strict=True) if is_wanted]
        if isinstance(values, list)
        else values[wanted]
        for key, values in labels.items()
    }


def content_of_any(labels: Labels, info: ImageInfo, config: Any) -> LabelContent:
    """Returns the default content: the pixels that are known in any map, or a single entry if there is no map."""
    del config
    known = [np.any(value.reshape(*value.shape[:2], -1), axis=-1) for value in maps(labels, info).values()]
    if not known:
        return LabelContent("", np.ones([1], bool))
    return LabelContent(PIXELS, np.logical_or.reduce(known))


def problems_of_any(labels: Labels, info: ImageInfo, config: Any) -> Iterator[tuple[str, str]]:
    """Yields NaN and infinite values; the default."""
    del info, config
    for key, value in labels.items():
        if not is_finite({key: value}):
            yield "NaN or infinite values", key


def nothing_stored(
    features: Mapping[str, tf.train.Feature], info: ImageInfo, config: Any
) -> Iterator[tuple[str, str, str]]:
    """Yields nothing; the default."""
    del features, info, config
    yield from ()


def missing(features: Mapping[str, tf.train.Feature], key: str) -> Iterator[tuple[str, str, str]]:
    """Yields the problem that a labelled image has no file under this key."""
    if key not in features or not features[key].bytes_list.value or not features[key].bytes_list.value[0]:
        yield "label cannot be read", key, "missing"


def problems_of_maps(labels: Labels, info: ImageInfo, config: Any) -> Iterator[tuple[str, str]]:
    """Yields problems of labels that consist of maps: another size than the image's, NaN and infinity."""
    del config
    size = (info.height, info.width)
    for key, values in labels.items():
        if np.shape(values)[:2] != size:
            yield "map and image differ in size", f"{key} {np.shape(values)[:2]} for {size}"
            return
    wrong = sum(int((~np.isfinite(values)).sum()) for values in labels.values())
    if wrong:
        yield "NaN or infinite values", f"{wrong}"


class Agreement(NamedTuple):
    """A figure of how far two labels of the same image agree, for `tfrecords_tools/label/agreement.py`.

    Attributes:
      figure: its name.
      higher_is_better: its direction. Then 1 means that they are equal, otherwise 0 does.
      of: (labels, other labels, config) -> the figure of one image, which is averaged; None if it has none.
    """

    figure: str
    higher_is_better: bool
    of: Callable[[Labels, Labels, Any], float | None]


@dataclasses.dataclass(frozen=True)
class Summary:
    """How the record tools describe a task's labels; `must inspect`, `check` and `stats` use it.

    Attributes:
      kind: what `stats.json` calls labels of this kind.
      content: (labels, ImageInfo, config) -> LabelContent.
      problems: (labels, ImageInfo, config) -> (problem, where in the label), for `must check`. The labels come
        from a record and may have any values.
      add: (labels, config) -> {name: number or array} of one image. `stats` adds them up over the images.
      figures: ({name: sum}, number of images) -> metrics of the task's own in `stats.json`.
      measure: what `right` is, in words.
      right: {metric of the task's Metric: value} -> the share of right labels beside a truth; None if unknown. The
        default None counts labels whose class is right.
      unscored: labels -> {reason: bool array over the things} that the metric's protocol does not score, so that even
        the truth as prediction is not perfect.
      unknown: {key of a map: its value for unknown pixels}; 0 for keys that are not listed.
      limit: labelled record -> a word for the manifest's `limits` if the label does not say all, like "relative".
      unit: config -> the unit of the label's numbers in words; "" if the name of the key says it.
      floor: the score below which `keep` drops predictions; 0 keeps all.
      arrays: {name: (labels, ImageInfo, config) -> array or text}, the attributes of a prediction's `Result`, in pixels
        of the image. Tasks with the same objects may share names. May raise AttributeError for one config.
      agreement: how far two labels of an image agree. None: the F1 score of objects at IoU 0.5, or else the headline of
        the task's Metric.
      confidence: (labels, labels of the mirrored photo, config) -> float32 [h, w] in 0..1, how far the two agree in
        each pixel. `must label --confidence` adds it to the labels as "confidence". None: the labels have their own, or
        none.
      pngs: labels -> {name: uint8 or uint16 map [h, w] or [h, w, 3]}, which `must predict` writes as PNG files.
      stored: (record's features, ImageInfo, config) -> (problem, key, value): what keeps the label from being read or
        trained on, found without decoding anything. The keys have the types that the task parses.
    """

    kind: str = "map"
    content: Callable[[Labels, ImageInfo, Any], LabelContent] = content_of_any
    problems: Callable[[Labels, ImageInfo, Any], Iterator[tuple[str, str]]] = problems_of_any
    add: Callable[[Labels, Any], Mapping[str, Any]] = lambda labels, config: {}
    figures: Callable[[Mapping[str, Any], int], dict[str, Any]] = lambda sums, images: {}
    measure: str = ""
    right: Callable[[Mapping[str, float]], float | None] | None = None
    unscored: Callable[[Labels], Mapping[str, np.ndarray]] = lambda labels: {}
    unknown: Mapping[str, int] = dataclasses.field(default_factory=dict)
    limit: Callable[[tf.train.Example], str] = lambda example: ""
    unit: Callable[[Any], str] = lambda config: ""
    floor: float = 0.0
    arrays: Mapping[str, Callable[[Labels, ImageInfo, Any], Any]] = dataclasses.field(default_factory=dict)
    agreement: Agreement | None = None
    confidence: Callable[[Labels, Labels, Any], np.ndarray] | None = None
    pngs: Callable[[Labels], Mapping[str, np.ndarray]] = lambda labels: {}
    stored: Callable[[Mapping[str, tf.train.Feature], ImageInfo, Any], Iterator[tuple[str, str, str]]] = nothing_stored
