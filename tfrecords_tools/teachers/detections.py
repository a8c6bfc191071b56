"""How the outputs of another detector are read: three outputs, one packed output, or the raw output of a YOLO."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import scipy.special
import tensorflow as tf

from must_tf.data import geometry
from must_tf.spec import TaskSpec, Tensors
from must_tf.tasks.detection.model import FLOOR
from tfrecords_tools.teachers import checks
from tfrecords_tools.teachers.frames import Placed
from tfrecords_tools.teachers.outputs import Arrays, Output

# The places of box, score and class in a packed row.
COLUMNS = {
    "box score class": (slice(0, 4), 4, 5),
    "box class score": (slice(0, 4), 5, 4),
    "class score box": (slice(2, 6), 1, 0),
}
CANDIDATES = 3000  # boxes that non-maximum suppression looks at, those with the highest scores
SIGMOID = "Scores must be probabilities: export the model with its sigmoid or softmax"


@dataclasses.dataclass(frozen=True)
class DetectedObjects(Output):
    """Detection: boxes [D, 4], scores [D], class ids [D], their number, and `masks` [D, m, m] if asked for.

    Attributes:
      boxes, scores, classes, number, masks: names of outputs. Without `number`, all rows are detections.
      normalised: boxes are relative to the network's input; otherwise in its pixels.
      x_first: boxes are [x0, y0, x1, y1].
      first_class: the id of the first name.
      of_image: boxes are in pixels of the original image.
      least_score: detections with lower scores are left out.
      most: number of detections that are kept, those with the highest scores; 0 keeps all.
    """

    boxes: str
    scores: str
    classes: str
    number: str = ""
    normalised: bool = False
    x_first: bool = False
    first_class: int = 1
    masks: str = ""
    of_image: bool = False
    least_score: float = 0.0
    most: int = 0

    def uses(self) -> tuple[str, ...]:
        """See `Output`."""
        return tuple(name for name in (self.boxes, self.scores, self.classes, self.number, self.masks) if name)

    def problem(self, arrays: Arrays, name_count: int) -> str:
        """See `Output`."""
        del name_count
        forms = {self.boxes: "[D, 4]", self.scores: "[D]", self.classes: "[D]", self.masks: "[D, m, m]"}
        wrong = [checks.shape_problem(name, arrays[name], form) for name, form in forms.items() if name]
        if self.number and arrays[self.number].size != 1:
            wrong.append(checks.shape_problem(self.number, arrays[self.number], "[1]"))
        elif self.number:
            key, most = "outputs.detection.count", len(arrays[self.scores])
            wrong.append(checks.whole_number_problem(key, self.number, arrays[self.number], most))
        if any(wrong):
            return next(filter(None, wrong))
        count = int(arrays[self.number].item()) if self.number else None
        return self._value_problem({name: arrays[name][:count] for name in forms if name})

    def _value_problem(self, arrays: Arrays) -> str:
        """Returns what is wrong with the values of the detections, or ""."""
        boxes, scores = arrays[self.boxes], arrays[self.scores]
        wrong = [
            checks.whole_number_problem("outputs.detection.classes", self.classes, arrays[self.classes]),
            checks.range_problem(self.scores, scores, SIGMOID),
        ]
        if self.masks:
            remedy = "Masks must be probabilities: export the model with its sigmoid"
            wrong.append(checks.range_problem(self.masks, arrays[self.masks], remedy))
        return next(filter(None, [*wrong, checks.box_problem(self.boxes, boxes, scores, self.normalised)]), "")

    def restored(self, spec: TaskSpec, tensors: Mapping[str, tf.Tensor], placed: Placed) -> Tensors:
        """See `Output`."""
        boxes = tf.cast(tensors[self.boxes], tf.float32)
        if self.x_first:
            boxes = tf.gather(boxes, [1, 0, 3, 2], axis=-1)
        scores = tf.cast(tensors[self.scores], tf.float32)
        count = tf.size(scores) if not self.number else tf.cast(tf.reshape(tensors[self.number], []), tf.int32)
        predictions = {
            # Rows beyond the count may hold anything, even NaN, and are cut off.
            "boxes": self._in_image(boxes, placed)[:count],
            "scores": scores[:count],
            "classes": tf.cast(tensors[self.classes], tf.int32)[:count] - self.first_class + 1,
        }
        if self.masks:
            predictions["probability"] = tf.cast(tensors[self.masks], tf.float32)[:count]
        predictions = self._best(predictions)
        canvas = placed.frame.height
        frame = geometry.Frame(placed.original, tf.cast(placed.shown, tf.float32), canvas)
        return spec.restore(predictions | {"count": tf.size(predictions["scores"])}, frame)

    def _in_image(self, boxes: tf.Tensor, placed: Placed) -> tf.Tensor:
        """Returns boxes [D, 4] in pixels of the fitted image."""
        if self.of_image:
            return boxes * tf.tile(tf.cast(placed.shown / placed.original, tf.float32), [2])
        if self.normalised:
            boxes *= tf.constant([*placed.frame[:2], *placed.frame[:2]], tf.float32)
        if placed.frame.place == "centre":
            boxes -= tf.tile(tf.cast(placed.frame.offset(placed.shown), tf.float32), [2])
        return boxes

    def _best(self, predictions: Tensors) -> Tensors:
        """Returns the detections that reach `least_score`, at most `most`."""
        if self.least_score:
            wanted = ~(predictions["scores"] < self.least_score)
            predictions = {name: tf.boolean_mask(values, wanted) for name, values in predictions.items()}
        if self.most:
            order = tf.argsort(predictions["scores"], direction="DESCENDING", stable=True)[: self.most]
            predictions = {name: tf.gather(values, order) for name, values in predictions.items()}
        return predictions


@dataclasses.dataclass(frozen=True)
class PackedObjects(Output):
    """Detection in one output, [D, 6]. `columns` is a key of `COLUMNS`; `objects` says what the columns mean."""

    name: str
    columns: str
    objects: DetectedObjects

    def uses(self) -> tuple[str, ...]:
        """See `Output`."""
        return (self.name,)

    def problem(self, arrays: Arrays, name_count: int) -> str:
        """See `Output`."""
        wrong = checks.shape_problem(self.name, arrays[self.name], "[D, 6]")
        if wrong:
            return f"{wrong}. If it is the output of a YOLO before its NMS, name it as `raw` instead of `packed`"
        problem = self.objects.problem(self.read(arrays), name_count)
        is_other_order = "whole number" in problem or "not between 0 and 1" in problem
        return f"{problem}, or outputs.detection.columns" if is_other_order else problem

    def read(self, arrays: Arrays) -> Arrays:
        """See `Output`. Rows of padding, with a class of -1 and a score of 0, are left out."""
        rows = arrays[self.name]
        box, score, class_id = COLUMNS[self.columns]
        rows = rows[~((rows[:, class_id] == -1) & (rows[:, score] <= 0))]
        parts = (rows[:, box], rows[:, score], rows[:, class_id])
        return dict(zip((self.objects.boxes, self.objects.scores, self.objects.classes), parts, strict=True))

    def restored(self, spec: TaskSpec, tensors: Mapping[str, tf.Tensor], placed: Placed) -> Tensors:
        """See `Output`."""
        return self.objects.restored(spec, tensors, placed)


@dataclasses.dataclass(frozen=True)
class RawObjects(Output):
    """The raw output of a YOLO, [N, 4 + objectness + C]: a box, if `objectness` its score, and C class scores.

    A candidate's score is the product of its objectness and its highest class score. Non-maximum suppression removes
    boxes that overlap one of the same class with a higher score.

    Attributes:
      name: of the output.
      form: of the boxes. "grid": centre and size of YOLOX (Ge et al., https://arxiv.org/abs/2107.08430): the centre is
        relative to its cell, in cells, and the size is the logarithm of a number of cells; the rows are those of the
        grids of all strides, one after the other. "centre": centre and size. "corners": two corners. x comes first.
      objectness: column 4 is a score that there is any object.
      columns_first: the output is transposed, [4 + objectness + C, N].
      is_logits: scores are logits.
      strides: of "grid", pixels.
      overlap: IoU from which non-maximum suppression removes a box.
      canvas: height and width of the network's input.
      objects: how the resulting boxes are read.
    """

    name: str
    form: str
    objectness: bool
    columns_first: bool
    is_logits: bool
    strides: tuple[int, ...]
    overlap: float
    canvas: tuple[int, int]
    objects: DetectedObjects

    def uses(self) -> tuple[str, ...]:
        """See `Output`."""
        return (self.name,)

    def problem(self, arrays: Arrays, name_count: int) -> str:
        """See `Output`."""
        values, wanted = arrays[self.name], 4 + self.objectness + name_count
        form = f"[{wanted}, N]" if self.columns_first else f"[N, {wanted}]"
        wrong = checks.shape_problem(self.name, values, form)
        if wrong:
            return f"{wrong} for {name_count} class names{self._hint(values, wanted)}"
        rows = self._rows(values)
        if self.form == "grid" and len(rows) != len(self._grid()):
            return (
                f"output {self.name!r} has {len(rows)} boxes, but the strides {list(self.strides)} give "
                f"{len(self._grid())} for an input of {list(self.canvas)}. Correct outputs.detection.strides"
            )
        if not self.is_logits:
            wrong = checks.range_problem(self.name, rows[:, 4:], "If the scores are logits, write `means: logits`")
        boxes, scores, _ = self._decoded(rows)
        return wrong or checks.box_problem(self.name, boxes, scores, self.objects.normalised)

    def _hint(self, values: np.ndarray, wanted: int) -> str:
        """Returns which key is probably wrong, as the rest of a sentence."""
        if values.ndim != 2:
            return ""
        length, other = values.shape[::-1] if not self.columns_first else values.shape
        if other == wanted:
            layout = "rows" if self.columns_first else "columns"
            return f". If it is transposed, write `raw_layout: {layout}`"
        if length == wanted + 1 - 2 * self.objectness:
            return f". Write `objectness: {str(not self.objectness).lower()}`"
        return ""

    def read(self, arrays: Arrays) -> Arrays:
        """See `Output`. Decodes the boxes, and suppresses those that are not the best of their object."""
        boxes, scores, classes = self._decoded(self._rows(arrays[self.name]))
        likely = np.flatnonzero(~(scores < max(self.objects.least_score, FLOOR)))  # NaN stays, and is reported later
        likely = likely[np.argsort(-scores[likely], kind="stable")[:CANDIDATES]]
        chosen = likely[_best_of_each(boxes[likely], classes[likely], self.overlap)]
        parts = (boxes[chosen], scores[chosen], classes[chosen] + self.objects.first_class)
        return dict(zip((self.objects.boxes, self.objects.scores, self.objects.classes), parts, strict=True))

    def _rows(self, values: np.ndarray) -> np.ndarray:
        return (values.T if self.columns_first else values).astype(np.float32)

    def _decoded(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns boxes [N, 4] x0, y0, x1, y1, scores [N], and places in the class names [N]."""
        first, second = rows[:, :2], rows[:, 2:4]
        if self.form == "grid":
            grid = self._grid()
            with np.errstate(over="ignore"):
                first, second = (first + grid[:, :2]) * grid[:, 2:], np.exp(second) * grid[:, 2:]
        if self.form != "corners":
            first, second = first - second / 2, first + second / 2
        scores = scipy.special.expit(rows[:, 4:]) if self.is_logits else rows[:, 4:]
        named = scores[:, int(self.objectness) :]
        highest = named.max(axis=1) * (scores[:, 0] if self.objectness else 1)
        return np.concatenate([first, second], axis=1), highest, named.argmax(axis=1)

    def _grid(self) -> np.ndarray:
        """Returns float32 [N, 3]: column and row of each cell, and its stride."""
        grids = []
        for stride in self.strides:
            rows, columns = np.mgrid[: self.canvas[0] // stride, : self.canvas[1] // stride]
            grids.append(np.stack([columns.ravel(), rows.ravel(), np.full(rows.size, stride)], axis=1))
        return np.concatenate(grids).astype(np.float32)

    def restored(self, spec: TaskSpec, tensors: Mapping[str, tf.Tensor], placed: Placed) -> Tensors:
        """See `Output`."""
        return self.objects.restored(spec, tensors, placed)


def _best_of_each(boxes: np.ndarray, classes: np.ndarray, overlap: float) -> np.ndarray:
    """Returns the indices that remain of boxes [N, 4], sorted by score: greedy non-maximum suppression per class."""
    low, high = boxes[:, :2], boxes[:, 2:]
    area = np.prod(np.maximum(high - low, 0), axis=1)
    alive, kept = np.ones(len(boxes), bool), []
    for place in range(len(boxes)):
        if not alive[place]:
            continue
        kept.append(place)
        sides = np.minimum(high, high[place]) - np.maximum(low, low[place])
        shared = np.prod(np.maximum(sides, 0), axis=1)
        alive &= (shared <= overlap * (area + area[place] - shared)) | (classes != classes[place])
    return np.array(kept, int)
