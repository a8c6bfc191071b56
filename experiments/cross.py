"""Runs the recipe across datasets, on generated scenes: `make cross`, sized for 12 minutes on two cores.

There are three datasets of different looks and sizes, each labelled for another task, and three teachers. Each dataset
gets pseudo labels from the teachers of the other two. Every image then has every task, with ground truth where it
existed. One student trains on the union, in which every image is equally likely. The same at full size is
experiments/paper/student_united.yaml.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import NamedTuple

from experiments.loop import execute
from experiments.plan import Plan, PlannedRun, steps
from experiments.quickstart import scenes
from must_tf.common.errors import exit_on_user_error

# The tasks with ground truth in each dataset. The names are those of the scenes' domains.
REAL = {"classification": ("classification",), "detection": ("detection", "masks"), "geometry": ("depth",)}
ALL = tuple(task for tasks in REAL.values() for task in tasks)
OFF = ("task.tasks.segmentation.enabled=false", "task.tasks.normals.enabled=false")


class Size(NamedTuple):
    """Sizes of everything. The datasets differ in size, as real ones do; the largest is sampled most often."""

    images: Mapping[str, int]  # by dataset
    heldout: int
    teacher_steps: int
    student_steps: int
    config: tuple[str, ...]  # YAML files beside this one


SIZE = Size({"classification": 600, "detection": 400, "geometry": 300}, 160, 300, 400, ("quickstart/scenes.yaml",))


def plan(folder: str, size: Size) -> Plan:
    """Returns the whole recipe, to run in a folder."""
    records = {name: scenes(name, count, 1, "--tasks", ",".join(REAL[name])) for name, count in size.images.items()}
    return Plan(
        folder=folder,
        title="must_tf across datasets: three datasets, three teachers, one student",
        records=records | {"heldout": scenes("wild", size.heldout, 2, "--tasks", ",".join(ALL))},
        teachers=tuple(_teacher(name, size) for name in REAL),
        label={name: tuple(f"teacher-{other}" for other in REAL if other != name) for name in REAL},
        student=PlannedRun(
            "student",
            "must_student",
            tuple(f"{name}-labelled" for name in REAL),
            ("heldout",),
            ALL,
            (*steps(size.student_steps), *OFF),
            (*size.config, "quickstart/student.yaml"),
        ),
    )


def _teacher(name: str, size: Size) -> PlannedRun:
    """Returns a teacher trained on its own dataset's ground truth. The last task's experiment also has the heads it
    needs.
    """
    tasks = REAL[name]
    return PlannedRun(
        f"teacher-{name}",
        f"must_teacher_{tasks[-1]}",
        (name,),
        ("heldout",),
        tasks,
        steps(size.teacher_steps),
        size.config,
    )


if __name__ == "__main__":
    sys.exit(exit_on_user_error(lambda: execute(plan("runs/cross", SIZE))))
