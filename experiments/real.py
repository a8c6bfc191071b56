"""Runs the whole loop on small real photos: `make real DATA=folder`.

Expects in DATA: coco_small/ (images/{train2017,val2017}, annotations/, panoptic/train2017), rgbd_small/ (rgb, depth,
normal; files learn_* and test_*) and cifar10_small/{train,test}/<class>/.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from experiments.loop import execute
from experiments.plan import Plan, PlannedRun, steps
from must_tf.common.errors import UserError, exit_on_user_error

CONFIG = ("real/photos.yaml",)
ALL = ("classification", "detection", "masks", "segmentation", "depth", "normals")


def records(data: str) -> dict[str, list[str]]:
    """Returns the arguments of `must-records convert` for every dataset."""
    coco, rgbd, cifar = (os.path.join(data, name) for name in ("coco_small", "rgbd_small", "cifar10_small"))

    def photos(split: str) -> list[str]:
        annotations = os.path.join(coco, "annotations", f"instances_{split}.json")
        return ["coco", "--images", os.path.join(coco, "images", split), "--annotations", annotations]

    return {
        "coco-train": [*photos("train2017"), "--panoptic", os.path.join(coco, "panoptic", "train2017")],
        "coco-val": photos("val2017"),
        "rgbd-train": ["rgbd", "--root", rgbd, "--match", "learn_*"],
        "rgbd-val": ["rgbd", "--root", rgbd, "--match", "test_*"],
        # As many as in the other datasets: they are sampled by size, and 4,000 thumbnails would leave 4 % for photos.
        "cifar-train": ["classes", "--root", os.path.join(cifar, "train"), "--limit", "20"],
        "cifar-val": ["classes", "--root", os.path.join(cifar, "test"), "--limit", "10"],
    }


def teacher(task: str, sets: tuple[str, str], tasks: tuple[str, ...], count: int) -> PlannedRun:
    """Returns a teacher; `sets` names its training and validation datasets."""
    train, validation = ((name,) for name in sets)
    return PlannedRun(f"teacher-{task}", f"must_teacher_{task}", train, validation, tasks, steps(count), CONFIG)


def plan(data: str) -> Plan:
    """Returns the plan: a teacher per dataset, pseudo labels on COCO and RGB-D photos, and a student on the union."""
    teachers = (
        teacher("classification", ("cifar-train", "cifar-val"), ("classification",), 150),
        teacher("masks", ("coco-train", "coco-val"), ("detection", "masks"), 150),
        # Only the training photos have panoptic labels, so this teacher is evaluated on photos that it was trained on.
        teacher("segmentation", ("coco-train", "coco-train"), ("segmentation",), 150),
        teacher("depth", ("rgbd-train", "rgbd-val"), ("depth",), 150),
        teacher("normals", ("rgbd-train", "rgbd-val"), ("normals",), 150),
    )
    # All teachers label each dataset, because only some of the COCO photos have panoptic labels.
    names = tuple(one.name for one in teachers)
    return Plan(
        folder="runs/real",
        title="must_tf on real photos: five teachers, one student",
        records=records(data),
        teachers=teachers,
        label=dict.fromkeys(("coco-train", "coco-val", "rgbd-train"), names),
        student=PlannedRun(
            "student",
            "must_student",
            ("coco-train-labelled", "rgbd-train-labelled", "cifar-train"),
            ("coco-val", "rgbd-val", "cifar-val"),
            ALL,
            (*steps(200), "task.pictures=12"),
            CONFIG,
        ),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Checks that the photos exist, then runs the loop."""
    parser = argparse.ArgumentParser(prog="experiments.real", description="The whole loop on small real photos.")
    parser.add_argument("--data", required=True, help="folder with coco_small, rgbd_small and cifar10_small")
    data = parser.parse_args(arguments).data
    missing = [name for name in ("coco_small", "rgbd_small", "cifar10_small") if not os.path.isdir(f"{data}/{name}")]
    if missing:
        raise UserError(f"{data} lacks {', '.join(missing)}. See the docstring of experiments/real.py.")
    execute(plan(data))


if __name__ == "__main__":
    sys.exit(exit_on_user_error(main))
