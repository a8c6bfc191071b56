"""The files and folders of a run directory (`--model_dir`). Every module that reads or writes them takes the names from
here.

    params.yaml          the config, with everything that was filled in
    run.json             a fingerprint of the training data, and the step from which --extend continued
    checkpoint, ckpt-*   TensorFlow's checkpoints, and its list of them
    tensorflow.log       what TensorFlow's C++ side logged
    metrics.jsonl        one line per loop of training steps
    evaluation.json      the last evaluation
    evaluations.jsonl    one line per evaluation
    dry_run.png          the first training batch, drawn by --dry_run
    train/, validation/  TensorBoard events
    pictures/            evaluated images, labels beside predictions
    best/<task>/         the best checkpoint of a task; best/overall/ of all tasks together
    agreement.json       how far the run agrees with itself on its validation photos, once it has labelled
    failed/step-<n>/     the batch of a step whose loss or gradient was NaN or infinite
"""

import glob

PARAMS = "params.yaml"
CONTENT = "run.json"
CHECKPOINT = "checkpoint"
HIDDEN_CHECKPOINT = "checkpoint.aside"  # the name of `checkpoint` while --overwrite builds the new run
TENSORFLOW_LOG = "tensorflow.log"
METRICS = "metrics.jsonl"
EVALUATION = "evaluation.json"
AGREEMENT = "agreement.json"
EVALUATIONS = "evaluations.jsonl"
DRY_RUN = "dry_run.png"

TRAIN = "train"
VALIDATION = "validation"
PICTURES = "pictures"
BEST = "best"
OVERALL = "overall"  # in BEST, beside the tasks
FAILED = "failed"
# In failed/step-<n>/:
FAILED_BATCH = "batch.npz"
FAILED_RECORDS = "records.tfrecord"
FAILED_REPORT = "found.json"


def step_name(step: int) -> str:
    """Returns the name, without a suffix, that files and folders of one step have: step-0000100."""
    return f"step-{step:07d}"


def pattern_problem(directory: str) -> str:
    """Returns why no run can be in a folder of this name; an empty string if one can."""
    if not glob.has_magic(directory):
        return ""
    return (
        f"{directory}: TensorFlow takes *, ? and [ in the path of a checkpoint for a pattern. Give a path without them."
    )
