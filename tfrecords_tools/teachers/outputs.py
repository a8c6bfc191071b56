"""How the outputs of another network are read as predictions of a task: classes of an image, and maps.

`detections.py` has those of objects. Reading takes three steps, for one image:

- `Output.problem` checks that the values are what the adapter file says, see `checks.py`;
- `Output.read` prepares them in NumPy, like the non-maximum suppression of a raw detector;
- `Output.restored` maps them back into the original image's frame, in a graph.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from must_tf.data import geometry
from must_tf.spec import TaskSpec, Tensors
from must_tf.tasks.segmentation.labels import IGNORE
from tfrecords_tools.teachers import checks
from tfrecords_tools.teachers.frames import Placed

Arrays = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Output:
    """The outputs of one task. Subclasses may add fields at the end only, see `recipe.FIRST_FIELDS`."""

    def uses(self) -> tuple[str, ...]:
        """Returns the names of the outputs that are read."""
        raise NotImplementedError

    def problem(self, arrays: Arrays, name_count: int) -> str:
        """Returns why one image's outputs contradict the adapter file, or "". `name_count` is of the class names."""
        raise NotImplementedError

    def note(self, arrays: Arrays) -> str:
        """Returns what is repaired in one image's outputs, or ""."""
        del arrays
        return ""

    def read(self, arrays: Arrays) -> Arrays:
        """Returns the arrays that `restored` takes."""
        return {name: arrays[name] for name in self.uses()}

    def restored(self, spec: TaskSpec, tensors: Mapping[str, tf.Tensor], placed: Placed) -> Tensors:
        """Returns the predictions of the task `spec` in the original image's frame."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class _Named(Output):
    """A single output."""

    name: str

    def uses(self) -> tuple[str, ...]:
        """See `Output`."""
        return (self.name,)


@dataclasses.dataclass(frozen=True)
class Distribution(_Named):
    """Classification, [C]."""

    is_logits: bool

    def problem(self, arrays: Arrays, name_count: int) -> str:
        """See `Output`."""
        values = arrays[self.name]
        wrong = checks.shape_problem(self.name, values, "[C]")
        wrong = wrong or checks.class_problem(self.name, values.shape[-1], name_count)
        return wrong or _meaning_problem(self.name, values, -1, self.is_logits)

    def note(self, arrays: Arrays) -> str:
        """See `Output`."""
        return "" if self.is_logits else checks.sum_note(self.name, arrays[self.name], -1)

    def restored(self, spec: TaskSpec, tensors: Mapping[str, tf.Tensor], placed: Placed) -> Tensors:
        """See `Output`."""
        del spec, placed
        return {"probability": _probability(tensors[self.name], self.is_logits)}


@dataclasses.dataclass(frozen=True)
class ClassMap(_Named):
    """Segmentation, [h, w, C]."""

    is_logits: bool
    channels_first: bool = False

    def problem(self, arrays: Arrays, name_count: int) -> str:
        """See `Output`."""
        values = arrays[self.name]
        wrong = checks.shape_problem(self.name, values, "[C, h, w]" if self.channels_first else "[h, w, C]")
        wrong = wrong or checks.class_problem(self.name, values.shape[self._axis()], name_count)
        if wrong:
            return wrong + checks.layout_hint(values, self.channels_first, name_count)
        return _meaning_problem(self.name, values, self._axis(), self.is_logits)

    def _axis(self) -> int:
        return 0 if self.channels_first else -1

    def note(self, arrays: Arrays) -> str:
        """See `Output`."""
        return "" if self.is_logits else checks.sum_note(self.name, arrays[self.name], self._axis())

    def restored(self, spec: TaskSpec, tensors: Mapping[str, tf.Tensor], placed: Placed) -> Tensors:
        """See `Output`."""
        values = _channels_last(tensors[self.name], self.channels_first)
        return _restored_map(spec, "probability", _probability(values, self.is_logits), placed)


@dataclasses.dataclass(frozen=True)
class ClassId(_Named):
    """Classification without confidence: the id of the class, [] or [1]. `classes`: their number."""

    classes: int

    def problem(self, arrays: Arrays, name_count: int) -> str:
        """See `Output`."""
        values = arrays[self.name]
        if values.size != 1:
            return checks.shape_problem(self.name, values, "[1]")
        return checks.whole_number_problem("outputs.classification", self.name, values, name_count - 1)

    def note(self, arrays: Arrays) -> str:
        """See `Output`."""
        del arrays
        return checks.certain_note(self.name)

    def restored(self, spec: TaskSpec, tensors: Mapping[str, tf.Tensor], placed: Placed) -> Tensors:
        """See `Output`."""
        del spec, placed
        return {"probability": tf.one_hot(tf.cast(tf.reshape(tensors[self.name], []), tf.int32), self.classes)}


@dataclasses.dataclass(frozen=True)
class ClassIdMap(_Named):
    """Segmentation without confidence: class ids [h, w], optionally with an axis of size 1 before or after."""

    def problem(self, arrays: Arrays, name_count: int) -> str:
        """See `Output`. 255 marks pixels without a class, as in VOC's own maps."""
        values = arrays[self.name]
        wrong = _plane_problem(self.name, values)
        known = values[values != IGNORE]
        return wrong or checks.whole_number_problem("outputs.segmentation", self.name, known, name_count - 1)

    def note(self, arrays: Arrays) -> str:
        """See `Output`."""
        del arrays
        return checks.certain_note(self.name)

    def restored(self, spec: TaskSpec, tensors: Mapping[str, tf.Tensor], placed: Placed) -> Tensors:
        """See `Output`. A pixel has the class of the cell under its centre."""
        del spec
        classes = tf.cast(_plane(tensors[self.name]), tf.int32)
        offset = placed.frame.offset(placed.shown)
        for axis, side in enumerate((placed.frame.height, placed.frame.width)):
            per_pixel = tf.cast(placed.shown[axis] / placed.original[axis], tf.float32)
            centres = (tf.range(-(-placed.original[axis] // placed.step), dtype=tf.float32) + 0.5) * placed.step
            centres = tf.minimum(centres, tf.cast(placed.original[axis], tf.float32) - 0.5)  # beyond may be padding
            cells = (centres * per_pixel + tf.cast(offset[axis], tf.float32)) * (classes.shape[axis] / side)
            last = classes.shape[axis] - 1
            classes = tf.gather(classes, tf.clip_by_value(tf.cast(cells, tf.int32), 0, last), axis=axis)
        return {"classes": classes, "confidence": tf.ones_like(classes, tf.float32)}


@dataclasses.dataclass(frozen=True)
class DepthMap(_Named):
    """Depth, [h, w], optionally with an axis of size 1 before or after. `key`: "metres" or "inverse_depth"."""

    key: str

    def problem(self, arrays: Arrays, name_count: int) -> str:
        """See `Output`."""
        del name_count
        return _plane_problem(self.name, arrays[self.name])

    def restored(self, spec: TaskSpec, tensors: Mapping[str, tf.Tensor], placed: Placed) -> Tensors:
        """See `Output`."""
        return _restored_map(spec, self.key, tf.cast(_plane(tensors[self.name]), tf.float32), placed)


@dataclasses.dataclass(frozen=True)
class NormalMap(_Named):
    """Normals, [h, w, 3]. Multiplying by `axes` gives x right, y down, z forward."""

    axes: tuple[float, ...]
    channels_first: bool = False

    def problem(self, arrays: Arrays, name_count: int) -> str:
        """See `Output`."""
        del name_count
        values = arrays[self.name]
        wrong = checks.shape_problem(self.name, values, "[3, h, w]" if self.channels_first else "[h, w, 3]")
        return wrong + checks.layout_hint(values, self.channels_first, 3) if wrong else ""

    def restored(self, spec: TaskSpec, tensors: Mapping[str, tf.Tensor], placed: Placed) -> Tensors:
        """See `Output`."""
        values = tf.cast(_channels_last(tensors[self.name], self.channels_first), tf.float32)
        normals = tf.math.l2_normalize(values * tf.constant(self.axes), axis=-1)
        return _restored_map(spec, "normals", normals, placed)


def _meaning_problem(name: str, values: np.ndarray, axis: int, is_logits: bool) -> str:
    check = checks.logit_problem if is_logits else checks.probability_problem
    return check(name, values, axis)


def _probability(values: tf.Tensor, is_logits: bool) -> tf.Tensor:
    """Returns distributions along the last axis."""
    values = tf.cast(values, tf.float32)
    return tf.nn.softmax(values) if is_logits else values / tf.reduce_sum(values, -1, keepdims=True)


def _channels_last(values: tf.Tensor, channels_first: bool) -> tf.Tensor:
    return tf.transpose(values, [1, 2, 0]) if channels_first else values


def _plane_problem(name: str, values: np.ndarray) -> str:
    fits = any(not checks.shape_problem(name, values, form) for form in ("[1, h, w]", "[h, w, 1]"))
    return "" if fits else checks.shape_problem(name, values, "[h, w]")


def _plane(values: tf.Tensor) -> tf.Tensor:
    """Returns [h, w] of a map that may have an axis of size 1 before or after."""
    if values.shape.rank != 3:
        return values
    return values[0] if values.shape[0] == 1 else values[..., 0]


def _restored_map(spec: TaskSpec, key: str, values: tf.Tensor, placed: Placed) -> Tensors:
    """Restores a map [gh, gw] or [gh, gw, C] of cells that cover the network's input."""
    cells = (int(values.shape[0]), int(values.shape[1]))
    counts, canvas = tf.constant(cells, tf.float32), tf.constant(placed.frame[:2], tf.float32)
    if placed.frame.place == "centre":
        values = _moved(values, tf.cast(placed.frame.offset(placed.shown), tf.float32) * counts / canvas)
    scaled = tf.cast(placed.shown, tf.float32) * counts / canvas
    return spec.restore({key: values}, geometry.Frame(placed.original, scaled, cells[0], placed.step))


def _moved(values: tf.Tensor, cells: tf.Tensor) -> tf.Tensor:
    """Moves a map up and to the left by a number of cells [2], bilinear if that is not whole."""
    planes = values[..., None] if values.shape.rank == 2 else values
    moved: Any = tf.raw_ops.ScaleAndTranslate(
        images=tf.cast(planes, tf.float32)[None],
        size=tf.shape(planes)[:2],
        scale=tf.ones([2]),
        translation=-cells,
        kernel_type="triangle",
        antialias=False,
    )[0]
    moved = tf.ensure_shape(moved, planes.shape)
    return moved[..., 0] if values.shape.rank == 2 else moved
