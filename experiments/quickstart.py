"""Runs the whole loop on generated scenes, in about 20 minutes on two cores: `make quickstart`."""

from __future__ import annotations

import sys

from experiments.loop import execute
from experiments.plan import Plan, PlannedRun, steps
from must_tf.common.errors import exit_on_user_error

CONFIG = ("quickstart/scenes.yaml",)
ALL = ("classification", "detection", "masks", "segmentation", "depth", "normals")


def scenes(domain: str, count: int, seed: int, *more: str) -> list[str]:
    """Returns arguments of `must-records convert scenes`."""
    return ["scenes", "--domain", domain, "--count", str(count), "--seed", str(seed), *more]


def teacher(task: str, records: str, tasks: tuple[str, ...], count: int) -> PlannedRun:
    """Returns a teacher trained on its own dataset and evaluated on the held-out scenes."""
    return PlannedRun(f"teacher-{task}", f"must_teacher_{task}", (records,), ("heldout",), tasks, steps(count), CONFIG)


def transfer(name: str, experiment: str, *more: str) -> PlannedRun:
    """Returns a fine-tuning on surface normals of another look, with few labels."""
    return PlannedRun(name, experiment, ("other",), ("other-heldout",), ("normals",), (*steps(120), *more), CONFIG)


TEACHERS = (
    teacher("classification", "classification", ("classification",), 300),
    teacher("masks", "detection", ("detection", "masks"), 300),
    teacher("segmentation", "segmentation", ("segmentation",), 350),
    teacher("depth", "geometry", ("depth",), 300),
    teacher("normals", "geometry", ("normals",), 300),
)
PLAN = Plan(
    folder="runs/quickstart",
    title="must_tf quickstart: five teachers, one student",
    records={
        "classification": scenes("classification", 600, 1),
        "detection": scenes("detection", 600, 1),
        "segmentation": scenes("segmentation", 600, 1),
        "geometry": scenes("geometry", 600, 1),
        "wild": scenes("wild", 600, 1),
        "heldout": scenes("wild", 160, 2, "--tasks", "all"),
        "other": scenes("transfer", 60, 1),
        "other-heldout": scenes("transfer", 100, 2),
    },
    teachers=TEACHERS,
    label={"wild": tuple(one.name for one in TEACHERS)},
    student=PlannedRun(
        "student",
        "must_student",
        ("wild-labelled", "classification", "detection", "segmentation", "geometry"),
        ("heldout",),
        ALL,
        steps(380),
        (*CONFIG, "quickstart/student.yaml"),
    ),
    transfers=(
        transfer("transfer-scratch", "must_teacher_normals"),
        transfer("transfer", "must_transfer_normals", "task.init_checkpoint=runs/quickstart/student"),
    ),
)


if __name__ == "__main__":
    sys.exit(exit_on_user_error(lambda: execute(PLAN)))
