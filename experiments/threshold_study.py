"""Studies how the confidence threshold of pseudo labels affects a student: `make thresholds`.

One teacher learns boxes, masks and segmentation from labelled scenes and labels other scenes. Students train on these
pseudo labels only. They differ in one setting: the threshold below which boxes and pixels are ignored. All are
evaluated on held-out scenes with ground truth. The study ends with a table and thresholds.json. If it is interrupted,
or run again with more seeds, it resumes. One seed takes about 12 minutes on two cores; the spread over
seeds needs several.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from experiments.loop import follow, prepared, student
from experiments.plan import CONFIG, Plan, PlannedRun, scenes, steps
from must_tf.common.errors import UserError, exit_on_user_error

THRESHOLDS = (0.3, 0.5, 0.7)
TASKS = ("detection", "masks", "segmentation")
OFF = tuple(f"task.tasks.{name}.enabled=false" for name in ("classification", "depth", "normals"))
LABELLED, UNLABELLED, HELDOUT = 500, 500, 160  # images
TEACHER_STEPS, STUDENT_STEPS = 300, 200


def plan(folder: str, threshold: float, seed: int) -> Plan:
    """Returns the plan of one student. The steps before it are the same for all students."""
    believed = (
        f"task.tasks.detection.score_threshold={threshold}",
        f"task.tasks.masks.score_threshold={threshold}",
        f"task.tasks.segmentation.confidence_threshold={threshold}",
    )
    return Plan(
        folder=folder,
        records={
            "labelled": scenes("wild", LABELLED, 1, "--tasks", ",".join(TASKS)),
            "unlabelled": scenes("wild", UNLABELLED, 3),
            "heldout": scenes("wild", HELDOUT, 2, "--tasks", ",".join(TASKS)),
        },
        teachers=(_run("teacher", "labelled", TEACHER_STEPS),),
        label={"unlabelled": ("teacher",)},
        student=_run(
            f"student-{threshold}-{seed}",
            "unlabelled-labelled",
            STUDENT_STEPS,
            (*believed, f"task.train_data.seed={seed}"),
        ),
    )


def _run(name: str, train: str, count: int, override: tuple[str, ...] = ()) -> PlannedRun:
    """Returns a run of these three tasks. The teacher is a student trained on ground truth, with the same heads and
    settings.
    """
    return PlannedRun(name, "must_student", (train,), ("heldout",), TASKS, (*steps(count), *OFF, *override), CONFIG)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the study, prints the table and writes thresholds.json."""
    parser = argparse.ArgumentParser(prog="experiments.threshold_study", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1, help="number of students per threshold")
    parser.add_argument("--out", default="runs/thresholds", help="output folder")
    flags = parser.parse_args(arguments)
    if flags.seeds < 1:
        raise UserError(f"--seeds {flags.seeds}: must be at least 1.")
    # Seed by seed, so that an interrupted study has comparable results.
    asked = [(threshold, seed) for seed in range(1, flags.seeds + 1) for threshold in THRESHOLDS]
    plans = {one: plan(flags.out, *one) for one in asked}
    first = plans[asked[0]]
    follow(first, [*prepared(first), *map(student, plans.values())])
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # imports TensorFlow, which is needed only to count
    from experiments import threshold_table

    threshold_table.write(plans)


if __name__ == "__main__":
    sys.exit(exit_on_user_error(main))
