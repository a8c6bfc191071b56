"""Studies how the confidence threshold of pseudo labels affects a student: `make thresholds`.

One teacher learns boxes, masks and segmentation from labelled scenes and labels other scenes. Students train on these
pseudo labels only. They differ in one setting: the threshold below which boxes and pixels are ignored. All are
evaluated on held-out scenes with ground truth. The study ends with a table and thresholds.json. If it is interrupted,
or run again with more seeds, it resumes. One seed takes about 12 minutes on two cores; the spread over
seeds needs several.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from must_tf.common import process_setup
from must_tf.common.errors import UserError, exit_on_user_error

if TYPE_CHECKING:
    from experiments.study import Study
    from must_tf.loop.steps import Step

THRESHOLDS = (0.3, 0.5, 0.7)
TASKS = ("detection", "masks", "segmentation")
HEADS = {
    "classification": {"enabled": False},
    "depth": {"enabled": False},
    "normals": {"enabled": False},
}
LABELLED, UNLABELLED, HELDOUT = 500, 500, 160  # images
TEACHER_STEPS, STUDENT_STEPS = 300, 200
TEACHER = "teacher"


class ThresholdStudent(NamedTuple):
    """A student of the study, by its threshold and seed."""

    threshold: float
    seed: int

    @property
    def name(self) -> str:
        """The name of its run."""
        return f"student-{self.threshold}-{self.seed}"


def prepared(study: Study) -> list[Step]:
    """Returns the steps before the students. The teacher is a student trained on ground truth, with the same heads."""
    return [
        study.scenes("labelled", LABELLED, 1, TASKS),
        study.scenes("unlabelled", UNLABELLED, 3),
        study.scenes("heldout", HELDOUT, 2, TASKS),
        study.training(TEACHER, "must_student", "labelled", TEACHER_STEPS, {"task": {"tasks": HEADS}}),
        study.labels("unlabelled", TEACHER, TASKS),
    ]


def training(study: Study, student: ThresholdStudent) -> Step:
    """Returns the training of a student."""
    heads = {
        **HEADS,
        "detection": {"score_threshold": student.threshold},
        "masks": {"score_threshold": student.threshold},
        "segmentation": {"confidence_threshold": student.threshold},
    }
    settings = {"task": {"tasks": heads, "train_data": {"seed": student.seed}}}
    return study.training(student.name, "must_student", "unlabelled-labelled", STUDENT_STEPS, settings)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the study, prints the table and writes thresholds.json."""
    parser = argparse.ArgumentParser(prog="experiments.threshold_study", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1, help="number of students per threshold")
    parser.add_argument("--out", default="runs/thresholds", help="output folder")
    flags = parser.parse_args(arguments)
    if flags.seeds < 1:
        raise UserError(f"--seeds {flags.seeds}: must be at least 1.")
    # Seed by seed, so that an interrupted study has comparable results.
    seeds = range(1, flags.seeds + 1)
    students = [ThresholdStudent(threshold, seed) for seed in seeds for threshold in THRESHOLDS]
    process_setup.prepare()
    with process_setup.importing():
        from experiments import threshold_table
        from experiments.study import Study

    study = Study(flags.out, "thresholds")
    study.execute([*prepared(study), *(training(study, student) for student in students)])
    threshold_table.write(study, students)


if __name__ == "__main__":
    sys.exit(exit_on_user_error(main))
