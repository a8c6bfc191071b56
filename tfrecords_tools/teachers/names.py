"""Maps the class ids of another model to ids of this project.

An empty name marks an id that is not a class. The ids of the remaining names are numbered without gaps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from must_tf.common import text_files as texts
from must_tf.common.errors import UserError
from must_tf.spec import first_id
from must_tf.tasks import discover
from must_tf.tasks.segmentation.labels import IGNORE
from tfrecords_tools.sources import class_files, files

# The least share of a distribution that named classes must have. Below it, rounding decides which of them is largest.
LEAST_SHARE = 0.01
# IoU from which two boxes of classes that have become one show one object: YOLO's usual limit for boxes of one class.
SAME_OBJECT = 0.65
NO_NAME = ("???", "n/a")  # in the label maps of COCO's detectors, of ids that are not used


class ClassNames(NamedTuple):
    """The names of a model's class ids in id order, without a detector's background.

    COCO's ids have gaps, and a segmentation model may have a background class: their name is "". Boxes of such a class
    are dropped, its pixels become "ignore", and its share of a distribution is spread over the other classes. If they
    have almost no share, the image shows none of the classes and gets no classification label.
    """

    names: tuple[str, ...]
    numbered: tuple[str, ...] = ()  # names that were repeated, and have a number now

    @property
    def classes(self) -> list[str]:
        """The names that are not empty, each once: ids of the same name are one class."""
        return list(dict.fromkeys(name for name in self.names if name))

    def without(self, unused: Collection[str]) -> ClassNames:
        """Returns the names with "" for those that are no classes."""
        return self._replace(names=tuple("" if name in unused else name for name in self.names))

    def renamed(self, rename: Mapping[str, str]) -> ClassNames:
        """Returns the names with those of `rename` replaced."""
        return self._replace(names=tuple(rename.get(name, name) for name in self.names))

    def renumber_predictions(self, task: str, restored: dict[str, np.ndarray], where: str) -> dict[str, np.ndarray]:
        """Gives boxes and distributions this project's ids; an empty result means no label.

        Args:
          task: that was predicted.
          restored: its predictions in the original image's frame.
          where: names the teacher in messages.

        Raises:
          UserError: an id has no name.
        """
        if "boxes" in restored:
            ids = self._renumbered(task, 0, restored["classes"], where)
            left_out = (ids <= 0) | self._repeated(restored, ids)
            return restored | {"classes": ids, "scores": np.where(left_out, 0.0, restored["scores"])}
        if restored.get("probability", np.zeros([])).ndim == 1:
            is_class = [bool(name) for name in self.names]
            probability = np.zeros([len(self.classes)], restored["probability"].dtype)
            np.add.at(probability, self._places(), restored["probability"][is_class])
            share = probability.sum()
            return {} if share < LEAST_SHARE else restored | {"probability": probability / share}
        return restored

    def renumber_labels(self, task: str, labels: dict[str, Any], where: str) -> dict[str, Any]:
        """Gives the pixels of a segmentation this project's ids; other labels are returned as they are.

        Raises:
          UserError: an id has no name.
        """
        if task != "segmentation":
            return labels
        classes = self._renumbered(task, IGNORE, labels["classes"], where)
        return {"classes": classes, "confidence": np.where(classes == IGNORE, 0.0, labels["confidence"])}

    def _renumbered(self, task: str, no_class: int, ids: np.ndarray, where: str) -> np.ndarray:
        """Returns int32 of any shape; `no_class` for ids without a class."""
        first = first_id(discover()[task])
        highest = first + len(self.names) - 1
        beyond = ids[(ids > highest) & (ids != no_class)]
        if beyond.size:
            raise UserError(
                f"{where}: class id {beyond[0]} was predicted, but the {len(self.names)} class names end at id "
                f"{highest}. Name every class of the model in the adapter file, or correct its first_class."
            )
        renumbered = np.full([max(highest, no_class) + 1], no_class, np.int32)
        numbers = [number for number, name in enumerate(self.names) if name]
        renumbered[np.array(numbers, int) + first] = np.array(self._places(), int) + first
        return renumbered[np.maximum(ids, 0)]

    def _repeated(self, restored: Mapping[str, np.ndarray], ids: np.ndarray) -> np.ndarray:
        """Tests which boxes [N] show an object that has a better box, of another class that has the same name now.

        The model has suppressed them class by class, and a van may have a box as a car and one as a truck.
        """
        boxes, before = restored["boxes"], restored["classes"]
        repeated = np.zeros(len(ids), bool)
        if len(self.classes) == sum(map(bool, self.names)):
            return repeated
        area = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)
        there = np.flatnonzero((ids > 0) & (np.arange(len(ids)) < restored.get("count", len(ids))))
        order = there[np.argsort(-restored["scores"][there], kind="stable")]
        for rank, place in enumerate(order):
            others = order[rank + 1 :]
            high, low = np.minimum(boxes[others, 2:], boxes[place, 2:]), np.maximum(boxes[others, :2], boxes[place, :2])
            shared = np.prod(np.maximum(high - low, 0), axis=1)
            near = shared > SAME_OBJECT * (area[others] + area[place] - shared)
            merged = (ids[others] == ids[place]) & (before[others] != before[place])
            repeated[others] |= near & merged & ~repeated[place]
        return repeated

    def _places(self) -> list[int]:
        """Returns the places in `classes` of the names that are not empty."""
        places = {name: place for place, name in enumerate(self.classes)}
        return [places[name] for name in self.names if name]


def read_names(source: str | Sequence[str], where: str, first: int = 1, number_repeated: bool = False) -> ClassNames:
    """Reads class names from a list or a file.

    Args:
      source: the names, a text file with one name per line, or a label map, see `sources.class_files`.
      where: the key, for messages.
      first: the id of the first name, for files that have ids.
      number_repeated: number names that are repeated, instead of refusing them. ImageNet has two classes "crane", the
        bird and the machine, and two "maillot": they become "crane 1", "crane 2", "maillot 1" and "maillot 2".

    Raises:
      UserError: the file does not exist, or a name is repeated.
    """
    if isinstance(source, str):
        if not tf.io.gfile.exists(source):
            raise UserError(
                f"{where}: {source} does not exist. Give a list of names, or a file with one name per line."
            )
        source = _names_in(source, where, first)
    names = ["" if name.lower() in NO_NAME else name for name in source]
    repeated = sorted({name for name in names if name and names.count(name) > 1})
    if repeated and not number_repeated:
        raise UserError(f"{where}: class names must be unique, but {', '.join(repeated)} is repeated.")
    return ClassNames(tuple(_numbered(names, repeated)), tuple(repeated))


def _names_in(path: str, where: str, first: int) -> Sequence[str]:
    """Returns the names in a file, by id. An empty line of a plain list stands for an id that is not a class."""
    content = files.read_text(path, where)
    if class_files.is_list(content):
        lines = texts.ENDS.split(content.removesuffix("\n").removesuffix("\r"))
        return [line.strip() for line in lines if not line.startswith(class_files.COMMENT)]
    entries = class_files.parse(content, f"{where}: {path}")
    return class_files.names_by_id(entries, first if class_files.is_label_map(content) else 0)


def _numbered(names: Sequence[str], repeated: Collection[str]) -> Iterator[str]:
    """Yields the names, numbered if they are repeated."""
    seen: Counter[str] = Counter()
    for name in names:
        seen[name] += 1
        yield f"{name} {seen[name]}" if name in repeated else name
