"""Models that label images: a training run, an export, a Model Garden export, or any SavedModel, TFLite or ONNX file
with an adapter file.

`describe` reads what a teacher is, without its weights. `Description.load` loads the weights.
Labelling takes three steps, which can overlap: `frames.view` fits an image into the network's input,
`Teacher.forward` runs the network on a batch, `Teacher.labels` maps the predictions of one image back into its own
frame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from must_tf.common.errors import UserError, nearest_path
from must_tf.spec import Labels, TaskConfig
from must_tf.tasks.segmentation.labels import IGNORE
from tfrecords_tools.teachers.frames import InputFrame, view

BATCH_SIZE = 8  # images in one forward pass; fixed, so that the network is compiled once
Predictions = Mapping[str, Any]  # a nest of arrays: [BATCH_SIZE, ...] of a batch, [...] of one image


class About(NamedTuple):
    """The properties of a teacher that matter for its labels. Known without loading its weights.

    Attributes:
      path: as the user wrote it.
      tasks: those that this teacher is asked to label.
      id: 12 hex digits over weights and config. Two teachers have the same id exactly if they give the same labels.
      classes: {task: names in id order}, for the tasks that have class names.
      facts: for the manifest: "kind", "step" or None, "input_size" in pixels (one side, or height and width),
        "floors" {task: lowest score}, "units" {task: text}, "trained_on" {task: {"images", "objects", "classes"}},
        "licence", and "notes" about what was read in only one possible way.
      annotated: {task: ids of the classes that it knows}, for tasks of which it does not know all classes.
      domain: globs of the records that a run was validated on, which show photos like those that it was trained on.
    """

    path: str
    tasks: tuple[str, ...]
    id: str
    classes: dict[str, list[str]]
    facts: dict[str, Any] = {}
    domain: tuple[str, ...] = ()
    annotated: dict[str, tuple[int, ...]] = {}

    @property
    def origin(self) -> str:
        """The origin of this teacher's labels, as records store it."""
        return f"pseudo:{self.id}"


class Teacher(Protocol):
    """A teacher with its weights. All methods may be called from several threads at once."""

    @property
    def about(self) -> About:
        """The properties of this teacher."""
        ...

    @property
    def configs(self) -> Mapping[str, TaskConfig]:
        """The settings of its tasks, with class names."""
        ...

    @property
    def frame(self) -> InputFrame:
        """How an image is fitted into the network's input."""
        ...

    def forward(self, pixels: np.ndarray, info: np.ndarray) -> Predictions:
        """Runs the network once.

        Args:
          pixels: uint8 [BATCH_SIZE, H, W, 3], views in this teacher's frame.
          info: int32 [BATCH_SIZE, 4], as in `frames.View`.

        Returns:
          Nested arrays, each [BATCH_SIZE, ...].
        """
        ...

    def labels(self, predictions: Predictions, info: np.ndarray, source_id: str, step: int = 1) -> dict[str, Labels]:
        """Returns the labels of one image by task, in the original image's frame.

        Args:
          predictions: one row of the result of `forward`.
          info: int32 [4] of the image's view.
          source_id: of the image.
          step: pixels of the image per pixel of a map, downwards and to the right: 1, or 2 for maps of half the size.

        Raises:
          UserError: a prediction is NaN or infinite, or contradicts the adapter file.
        """
        ...

    def notes(self, predictions: Predictions) -> list[str]:
        """Returns what `labels` repairs in the predictions of one image, for the manifest's notes."""
        ...


class Description(Protocol):
    """A teacher without its weights. Can be pickled, so that every worker process loads its own copy."""

    @property
    def about(self) -> About:
        """The properties of this teacher."""
        ...

    def load(self) -> Teacher:
        """Loads the weights.

        Raises:
          UserError: the weights are missing, damaged or do not fit.
        """
        ...


def describe(path: str, tasks: Sequence[str]) -> Description:
    """Describes the teacher at `path`.

    Raises:
      UserError: there is no teacher, or it cannot label these tasks.
    """
    from tfrecords_tools.teachers import adapter, export, model_garden, networks, run_directory  # they import much

    kinds = (adapter, export, model_garden, run_directory)
    for kind in kinds:
        if kind.is_here(path):
            description = kind.describe(path, tasks)
            for task, names in description.about.classes.items():
                check_classes(f"--teacher {task}={path}", task, len(names))
            return description
    if networks.find(path):
        raise UserError(
            f"--teacher {tasks[0]}={path}: {adapter.described(path)} Describe them in an adapter file, like those in "
            f"experiments/adapters, and use --teacher {tasks[0]}=adapter.yaml."
        )
    looked_for = "; ".join(kind.LOOKED_FOR.format(path=path) for kind in kinds)
    hint = "" if tf.io.gfile.exists(path) else f" {path} does not exist.{nearest_path(path)}"
    raise UserError(f"--teacher {tasks[0]}={path}: there is no teacher.{hint} Looked for: {looked_for}.")


def check_tasks(path: str, tasks: Sequence[str], able: Sequence[str], kind: str) -> None:
    """Raises UserError unless the teacher can label all of `tasks`.

    Args:
      path: as the user wrote it.
      tasks: that it is asked to label.
      able: that it can label.
      kind: of teacher, for the message.
    """
    able_tasks = ", ".join(able) or "nothing"
    for task in tasks:
        if task not in able:
            raise UserError(f"--teacher {task}={path}: this {kind} cannot label {task}. It can label {able_tasks}.")


def check_classes(where: str, task: str, count: int) -> None:
    """Raises UserError if a teacher has more classes than a record can store. `where` names the teacher."""
    if task == "segmentation" and count > IGNORE:
        raise UserError(
            f"{where}: {count} classes, but records store the class in one byte per pixel, which allows {IGNORE}. "
            "Export the teacher with fewer classes, or use another teacher for segmentation."
        )


def stacked(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Stacks rows to a full batch. Missing rows up to BATCH_SIZE are copies of the first."""
    return np.stack([*rows, *[rows[0]] * (BATCH_SIZE - len(rows))])


def label(teacher: Teacher, images: Sequence[tf.Tensor], ids: Sequence[str]) -> list[dict[str, Labels]]:
    """Labels a few images, one step after the other.

    Args:
      teacher: that labels.
      images: uint8 [h, w, 3] of any sizes; at most BATCH_SIZE.
      ids: their source ids.
    """
    rows = predicted(teacher, images)
    return [teacher.labels(row, info, source_id) for (row, info), source_id in zip(rows, ids, strict=True)]


def predicted(teacher: Teacher, images: Sequence[tf.Tensor]) -> list[tuple[Predictions, np.ndarray]]:
    """Returns the predictions for a few images, as in `label`, each with the `info` that `Teacher.labels` takes."""
    views = [view(image, teacher.frame) for image in images]
    infos = stacked([image_view.info for image_view in views])
    batch = teacher.forward(stacked([image_view.pixels for image_view in views]), infos)
    rows = [tf.nest.map_structure(lambda x, row=row: x[row], batch) for row in range(len(images))]
    return [(row, image_view.info) for row, image_view in zip(rows, views, strict=True)]
