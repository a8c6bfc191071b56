"""Ends a training early: after `task.patience` evaluations in a row without a new best/overall.

Which evaluations count follows from the files of the run directory: evaluations.jsonl, the step of best/overall, and
the step from which `--extend` continued (run.json). So a killed run stops at the same step as one that was not killed.
"""

from __future__ import annotations

import os

from must_tf.common import run_files
from must_tf.evaluation import evaluator
from must_tf.model.student import StudentConfig
from must_tf.runs import best, fingerprint


def message(model_dir: str, task: StudentConfig, step: int) -> str:
    """Returns why the run ends at this step, or "" if it goes on."""
    waited, kept = _waited(model_dir, task, step), _best_step(model_dir)
    if not task.patience or waited < task.patience:
        return ""
    since = f"since step {kept}" if kept >= 0 else "at all"
    return f"stopped at step {step}: {waited} evaluations without a new best/overall {since} (task.patience)"


def _waited(model_dir: str, task: StudentConfig, step: int) -> int:
    """Returns the number of steps up to this one that were evaluated since the last best/overall or --extend."""
    last = best.last_evaluation(model_dir, task)
    since = max(_best_step(model_dir), fingerprint.extended_from(model_dir))
    return len(
        {
            evaluation["step"]
            for evaluation in evaluator.history(model_dir)
            if last and best.comparable(evaluation, last) and since < evaluation["step"] <= step
        }
    )


def _best_step(model_dir: str) -> int:
    """Returns the step of best/overall; -1 if there is none."""
    kept = best.kept(os.path.join(model_dir, run_files.BEST, run_files.OVERALL))
    return kept["step"] if kept else -1
