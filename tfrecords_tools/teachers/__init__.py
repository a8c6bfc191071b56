"""What labels images: a trained run, an export, a Model Garden export, any SavedModel with an adapter.

`describe` reads what a teacher is and costs little, `Description.load` makes it ready to work and costs its weights.
Labelling has three steps, so that they can overlap: `frames.view` fits an image into the network's input,
`Teacher.forward` runs the network on a batch, `Teacher.labels` brings one image's predictions back into its own frame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from must_tf.common.errors import UserError
from must_tf.spec import Labels
from must_tf.tasks.segmentation.labels import IGNORE
from tfrecords_tools.teachers.frames import Frame, view

BATCH_SIZE = 8  # images in one forward pass; fixed, so that it is compiled once


class About(NamedTuple):
    """What a teacher is, as far as its labels are concerned; known without its weights in memory.

    Attributes:
      path: as the user named it.
      tasks: those that it labels here.
      id: 12 hex digits over weights and config: equal exactly when the labels are.
      classes: {task: names in id order}, of the tasks that have names.
      facts: for the manifest: "kind", "step" or None, "input_size" in pixels (one side, or height and width),
        "floors" {task: lowest score}, "units" {task: words}, "trained_on" {task: {"images", "objects", "classes"}}.
    """

    path: str
    tasks: tuple[str, ...]
    id: str
    classes: dict[str, list[str]]
    facts: dict[str, Any] = {}

    @property
    def origin(self) -> str:
        """Who says so, in a record."""
        return f"pseudo:{self.id}"


class Teacher(Protocol):
    """Ready to label. All methods may be called from several threads at once."""

    @property
    def about(self) -> About:
        """What it is."""
        ...

    @property
    def frame(self) -> Frame:
        """How an image is brought into the network."""
        ...

    def forward(self, pixels: np.ndarray, info: np.ndarray) -> Any:
        """One forward pass.

        Args:
          pixels: uint8 [BATCH_SIZE, H, W, 3], views in this teacher's frame.
          info: int32 [BATCH_SIZE, 4], as in `frames.View`.

        Returns:
          Nested arrays, each [BATCH_SIZE, ...].
        """
        ...

    def labels(self, predictions: Any, info: np.ndarray, source_id: str) -> dict[str, Labels]:
        """Labels by task, kept and in the original image's frame.

        Args:
          predictions: one row of what `forward` returned.
          info: int32 [4] of the image's view.
          source_id: the image's.

        Raises:
          UserError: a prediction is no finite number.
        """
        ...


class Description(Protocol):
    """One kind's description; can be pickled, so that every worker loads its own."""

    @property
    def about(self) -> About:
        """What it is."""
        ...

    def load(self) -> Teacher:
        """The teacher with its weights.

        Raises:
          UserError: they do not fit.
        """
        ...


def describe(path: str, tasks: Sequence[str]) -> Description:
    """What lies at `path`.

    Raises:
      UserError: nothing that can label these tasks.
    """
    from tfrecords_tools.teachers import adapter, export, model_garden, run_directory  # each brings its own imports

    kinds = (adapter, export, model_garden, run_directory)
    for kind in kinds:
        if kind.is_here(path):
            found = kind.describe(path, tasks)
            for task, names in found.about.classes.items():
                check_classes(f"--teacher {task}={path}", task, len(names))
            return found
    looked_for = "; ".join(kind.LOOKED_FOR.format(path=path) for kind in kinds)
    raise UserError(f"--teacher {tasks[0]}={path}: no teacher is there. Looked for: {looked_for}.")


def check_tasks(path: str, tasks: Sequence[str], able: Sequence[str], what: str) -> None:
    """Raises UserError unless a teacher can label all of `tasks`; `what` says how it comes to those it can."""
    for task in tasks:
        if task not in able:
            raise UserError(f"--teacher {task}={path}: {what} {task}, but for {', '.join(able)}.")


def check_classes(where: str, task: str, count: int) -> None:
    """Raises UserError where a teacher has more classes than a record can tell apart; `where` says whose they are."""
    if task == "segmentation" and count > IGNORE:
        raise UserError(
            f"{where}: {count} classes, but records store one byte a pixel, for at most {IGNORE} classes. Export the "
            "teacher with the rest united into those, or label segmentation by another."
        )


def stacked(rows: Sequence[Any]) -> Any:
    """BATCH_SIZE rows; where there are fewer, the first again and again."""
    return np.stack([*rows, *[rows[0]] * (BATCH_SIZE - len(rows))])


def label(teacher: Teacher, images: Sequence[tf.Tensor], ids: Sequence[str]) -> list[dict[str, Labels]]:
    """The three steps for a few images, one after the other.

    Args:
      teacher: who labels.
      images: uint8 [h, w, 3] of any sizes; at most BATCH_SIZE.
      ids: their source ids.
    """
    views = [view(image, teacher.frame) for image in images]
    info = stacked([one.info for one in views])
    found = teacher.forward(stacked([one.pixels for one in views]), info)
    rows = [tf.nest.map_structure(lambda x, row=row: x[row], found) for row in range(len(images))]
    return [teacher.labels(row, one.info, source_id) for row, one, source_id in zip(rows, views, ids, strict=True)]


def united_classes(
    records: Mapping[str, Sequence[str]], teachers: Sequence[About]
) -> tuple[dict[str, list[str]], list[tuple[str, str]]]:
    """The records' class names with the teachers', and (teacher's path, task) of those that name them otherwise."""
    classes = {task: list(names) for task, names in records.items()}
    differing: list[tuple[str, str]] = []
    for about in teachers:
        for task, names in about.classes.items():
            if classes.setdefault(task, names) != names:
                differing.append((about.path, task))
    return classes, differing
