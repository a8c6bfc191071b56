"""How the outputs of another network are read as predictions of a task.

`Output.read` takes all outputs of one image and the size of the network's input. It returns the task's predictions and
how many cells, down and across, cover the input.

`Output.problem` guards against a wrong word in an adapter file: probabilities that are logits, for example, would give
labels that look certain and are not. NaN and infinity pass here; `trained.check_finite` reports them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from must_tf.spec import Tensors

RANGE_TOLERANCE = 0.01  # for bfloat16 and interpolated values
SUM_TOLERANCE = 0.05  # for a thousand classes in bfloat16, each rounded
CONFIDENT = 0.5  # boxes from this score on must make sense; below it, a detector may predict anything
NORMALISED_MOST = 2.0  # a box that is not clipped to the image reaches a little beyond 1

Cells = tuple[int, int]
Reading = tuple[Tensors, Cells]
Arrays = Mapping[str, np.ndarray]


class Output(Protocol):
    """The outputs of one task."""

    def uses(self) -> tuple[str, ...]:
        """Returns the names of the outputs that are read."""
        ...

    def problem(self, arrays: Arrays, name_count: int) -> str:
        """Returns why one image's outputs contradict the adapter file, or "". `name_count` is of the class names."""
        ...

    def read(self, tensors: Mapping[str, tf.Tensor], canvas: Cells) -> Reading:
        """Returns the predictions and their cells, see the module's docstring."""
        ...


class Distribution(NamedTuple):
    """Classification, [C]."""

    name: str
    is_logits: bool

    def uses(self) -> tuple[str, ...]:
        """See `Output`."""
        return (self.name,)

    def problem(self, arrays: Arrays, name_count: int) -> str:
        """See `Output`."""
        values = arrays[self.name]
        wrong = _shape_problem(self.name, values, "[C]") or _class_problem(self.name, values.shape[-1], name_count)
        return wrong or ("" if self.is_logits else probability_problem(self.name, values, -1))

    def read(self, tensors: Mapping[str, tf.Tensor], canvas: Cells) -> Reading:
        """See `Output`."""
        return {"probability": _probability(tensors[self.name], self.is_logits)}, canvas


class ClassMap(NamedTuple):
    """Segmentation, [h, w, C]."""

    name: str
    is_logits: bool
    channels_first: bool = False

    def uses(self) -> tuple[str, ...]:
        """See `Output`."""
        return (self.name,)

    def problem(self, arrays: Arrays, name_count: int) -> str:
        """See `Output`."""
        values, axis = arrays[self.name], 0 if self.channels_first else -1
        form = "[C, h, w]" if self.channels_first else "[h, w, C]"
        wrong = _shape_problem(self.name, values, form) or _class_problem(self.name, values.shape[axis], name_count)
        if wrong:
            return wrong + _layout_hint(values, self.channels_first, name_count)
        return "" if self.is_logits else probability_problem(self.name, values, axis)

    def read(self, tensors: Mapping[str, tf.Tensor], canvas: Cells) -> Reading:
        """See `Output`."""
        del canvas
        values = _channels_last(tensors[self.name], self.channels_first)
        return {"probability": _probability(values, self.is_logits)}, _cells(values)


class DepthMap(NamedTuple):
    """Depth, [h, w], optionally with an axis of size 1 before or after. `key`: "metres" or "inverse_depth"."""

    name: str
    key: str

    def uses(self) -> tuple[str, ...]:
        """See `Output`."""
        return (self.name,)

    def problem(self, arrays: Arrays, name_count: int) -> str:
        """See `Output`."""
        del name_count
        values = arrays[self.name]
        fits = any(not _shape_problem(self.name, values, form) for form in ("[1, h, w]", "[h, w, 1]"))
        return "" if fits else _shape_problem(self.name, values, "[h, w]")

    def read(self, tensors: Mapping[str, tf.Tensor], canvas: Cells) -> Reading:
        """See `Output`."""
        del canvas
        values = tensors[self.name]
        if values.shape.rank == 3:
            values = values[0] if values.shape[0] == 1 else values[..., 0]
        return {self.key: tf.cast(values, tf.float32)}, _cells(values)


class NormalMap(NamedTuple):
    """Normals, [h, w, 3]. Multiplying by `axes` gives x right, y down, z forward."""

    name: str
    axes: tuple[float, ...]
    channels_first: bool = False

    def uses(self) -> tuple[str, ...]:
        """See `Output`."""
        return (self.name,)

    def problem(self, arrays: Arrays, name_count: int) -> str:
        """See `Output`."""
        del name_count
        values = arrays[self.name]
        wrong = _shape_problem(self.name, values, "[3, h, w]" if self.channels_first else "[h, w, 3]")
        return wrong + _layout_hint(values, self.channels_first, 3) if wrong else ""

    def read(self, tensors: Mapping[str, tf.Tensor], canvas: Cells) -> Reading:
        """See `Output`."""
        del canvas
        values = tf.cast(_channels_last(tensors[self.name], self.channels_first), tf.float32)
        return {"normals": tf.math.l2_normalize(values * tf.constant(self.axes), axis=-1)}, _cells(values)


class DetectedObjects(NamedTuple):
    """Detection: boxes [D, 4], scores [D], class ids [D], their number, and `masks` [D, m, m] if asked for."""

    boxes: str
    scores: str
    classes: str
    number: str = ""  # of detections; empty: all rows are detections
    normalised: bool = False  # relative to the network's input; otherwise in its pixels
    x_first: bool = False
    first_class: int = 1  # the id of the first name
    masks: str = ""

    def uses(self) -> tuple[str, ...]:
        """See `Output`."""
        return tuple(name for name in (self.boxes, self.scores, self.classes, self.number, self.masks) if name)

    def problem(self, arrays: Arrays, name_count: int) -> str:
        """See `Output`."""
        del name_count
        forms = {self.boxes: "[D, 4]", self.scores: "[D]", self.classes: "[D]", self.masks: "[D, m, m]"}
        wrong = [_shape_problem(name, arrays[name], form) for name, form in forms.items() if name]
        if self.number and arrays[self.number].size != 1:
            wrong.append(_shape_problem(self.number, arrays[self.number], "[1]"))
        elif self.number:
            wrong.append(_whole_number_problem("count", self.number, arrays[self.number], len(arrays[self.scores])))
        if any(wrong):
            return next(filter(None, wrong))
        count = int(arrays[self.number].item()) if self.number else None
        return self._value_problem({name: arrays[name][:count] for name in forms if name})

    def _value_problem(self, arrays: Arrays) -> str:
        """Returns what is wrong with the values of the detections, or ""."""
        boxes, scores = arrays[self.boxes], arrays[self.scores]
        wrong = [
            _whole_number_problem("classes", self.classes, arrays[self.classes]),
            _range_problem(
                self.scores, scores, "Scores must be probabilities: export the model with its sigmoid or softmax"
            ),
        ]
        if self.masks:
            remedy = "Masks must be probabilities: export the model with its sigmoid"
            wrong.append(_range_problem(self.masks, arrays[self.masks], remedy))
        return next(filter(None, [*wrong, box_problem(self.boxes, boxes, scores, self.normalised)]), "")

    def read(self, tensors: Mapping[str, tf.Tensor], canvas: Cells) -> Reading:
        """See `Output`."""
        boxes = tf.cast(tensors[self.boxes], tf.float32)
        if self.x_first:
            boxes = tf.gather(boxes, [1, 0, 3, 2], axis=-1)
        if self.normalised:
            boxes *= tf.constant([*canvas, *canvas], tf.float32)
        scores = tf.cast(tensors[self.scores], tf.float32)
        count = tf.size(scores) if not self.number else tf.cast(tf.reshape(tensors[self.number], []), tf.int32)
        predictions = {
            # Rows beyond the count may hold anything, even NaN, and are cut off.
            "boxes": boxes[:count],
            "scores": scores[:count],
            "classes": tf.cast(tensors[self.classes], tf.int32)[:count] - self.first_class + 1,
            "count": count,
        }
        if self.masks:
            predictions["probability"] = tf.cast(tensors[self.masks], tf.float32)[:count]
        return predictions, canvas


def _probability(values: tf.Tensor, is_logits: bool) -> tf.Tensor:
    values = tf.cast(values, tf.float32)
    return tf.nn.softmax(values) if is_logits else values


def _channels_last(values: tf.Tensor, channels_first: bool) -> tf.Tensor:
    return tf.transpose(values, [1, 2, 0]) if channels_first else values


def _cells(values: tf.Tensor) -> Cells:
    return int(values.shape[0]), int(values.shape[1])


def _shape_problem(name: str, values: np.ndarray, form: str) -> str:
    """Compares a shape with a form like "[h, w, 3]": numbers must match, a letter stands for any number."""
    sides = form.strip("[]").split(", ")
    fits = len(sides) == values.ndim and all(
        not side.isdecimal() or int(side) == length for side, length in zip(sides, values.shape, strict=True)
    )
    return "" if fits else f"output {name!r} has shape {list(values.shape)} for one image instead of {form}"


def _layout_hint(values: np.ndarray, channels_first: bool, channels: int) -> str:
    """Suggests the other layout if its channel axis has the right length."""
    if values.ndim != 3 or values.shape[-1 if channels_first else 0] != channels:
        return ""
    layout = "last, write `layout: NHWC`" if channels_first else "first, write `layout: NCHW`"
    return f". If the channels come {layout}"


def _range_problem(name: str, values: np.ndarray, remedy: str) -> str:
    """Checks that values lie between 0 and 1."""
    values = values[np.isfinite(values)]
    wrong = values[(values < -RANGE_TOLERANCE) | (values > 1.0 + RANGE_TOLERANCE)]
    return f"output {name!r} contains {wrong.flat[0]:.3g}, which is not between 0 and 1. {remedy}" if wrong.size else ""


def probability_problem(name: str, values: np.ndarray, axis: int) -> str:
    """Returns why values are not probability distributions along `axis`, or ""."""
    remedy = "If these are logits, write `means: logits`"
    sums = values.sum(axis=axis, dtype=np.float32)
    wrong = sums[np.abs(sums - 1.0) > SUM_TOLERANCE]
    sum_problem = (
        f"the classes of output {name!r} sum to {wrong.flat[0]:.3g} instead of 1. {remedy}" if wrong.size else ""
    )
    return _range_problem(name, values, remedy) or sum_problem


def _class_problem(name: str, channels: int, name_count: int) -> str:
    """Checks that there is a name for every channel."""
    if channels == name_count:
        return ""
    return f'{name_count} class names, but output {name!r} has {channels} channels. Use "" for one that is not a class'


def _whole_number_problem(key: str, name: str, values: np.ndarray, most: float = np.inf) -> str:
    """Checks that ids or counts are whole numbers from 0 to `most`. A cast would turn even NaN into a number."""
    wrong = values[~(np.isfinite(values) & (values >= 0) & (values <= most) & (values == np.rint(values)))]
    limit = f" to {most:g}" if np.isfinite(most) else ""
    if not wrong.size:
        return ""
    return (
        f"output {name!r} contains {wrong.flat[0]:.3g} instead of a whole number from 0{limit}. "
        f"Correct outputs.detection.{key}"
    )


def box_problem(name: str, values: np.ndarray, scores: np.ndarray, normalised: bool) -> str:
    """Returns why boxes [D, 4] are not in the unit that the adapter says, or "".

    Judged by the confident boxes whose sides are positive.
    """
    sides = values[:, 2:] - values[:, :2]
    confident = values[(scores >= CONFIDENT) & (sides > 0).all(axis=-1)]
    if not confident.size:
        return ""
    most = confident.max()
    if normalised and most > NORMALISED_MOST:
        return f"output {name!r} reaches {most:.3g} times the input. If these are pixels, write `coordinates: pixels`"
    if not normalised and most <= 1.0:
        return (
            f"output {name!r} lies within one pixel. If boxes are relative to the input, "
            "write `coordinates: normalised`"
        )
    return ""
