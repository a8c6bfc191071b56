"""Shows the gate's verdicts on a good teacher, an untrained one, and one that learned shifted boxes: `make verdicts`.

All three train on boxes of the same scenes and label the same other scenes. `must stats` judges their labels
twice: from the labels only, and against ground truth. A teacher that learned shifted boxes well labels as many objects
as a good one, and only the ground truth reveals it. One that learned them badly has low scores and labels too few. The
command ends with a table and verdicts.json. Its exit code is 0 if only the good teacher passes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from must_tf.common import process_setup, tables
from must_tf.common.errors import exit_on_user_error

if TYPE_CHECKING:
    from experiments.study import Study
    from must_tf.loop.steps import Step

TASK = ("detection",)
SHIFT = 0.6  # share of a box's width, to the right: the IoU with the true box is 0.4 / 1.6 = 0.25
STEPS = {"good": 300, "shifted": 300, "untrained": 1}
LEARNED = {"good": "labelled", "shifted": "shifted", "untrained": "labelled"}
LABELLED, SHOWN, HELDOUT = 500, 200, 100  # images


def converted(study: Study) -> list[Step]:
    """Returns the conversions: a copy of the same scenes for each teacher to label, and their ground truth."""
    return [
        study.scenes("labelled", LABELLED, 1, TASK),
        study.scenes("heldout", HELDOUT, 2, TASK),
        study.scenes("truth", SHOWN, 3, TASK),
        *(study.scenes(f"shown-{name}", SHOWN, 3) for name in STEPS),
    ]


def labelled(study: Study) -> list[Step]:
    """Returns the steps after the conversions: the three teachers, and their labels."""
    return [
        *(study.training(name, "must_teacher_detection", LEARNED[name], count, {}) for name, count in STEPS.items()),
        *(study.labels(f"shown-{name}", name, TASK) for name in STEPS),
    ]


def shift(source: str, out: str) -> None:
    """Copies a dataset with every box moved to the right by `SHIFT` of its width, up to the edge of the image."""
    import tensorflow as tf

    from must_tf.data import manifest
    from tfrecords_tools.writing import shards

    def moved() -> Iterator[bytes]:
        for serialized in tf.data.TFRecordDataset(files).as_numpy_iterator():
            example = tf.train.Example.FromString(serialized)
            low, high = (example.features.feature[f"image/object/bbox/x{end}"].float_list for end in ("min", "max"))
            by = [min(SHIFT * (right - left), 1.0 - right) for left, right in zip(low.value, high.value, strict=True)]
            low.value[:] = [left + more for left, more in zip(low.value, by, strict=True)]
            high.value[:] = [right + more for right, more in zip(high.value, by, strict=True)]
            yield example.SerializeToString(deterministic=True)

    known, command = manifest.read(source), ["experiments.verdicts"]
    files = [os.path.join(source, shard["file"]) for shard in known.shards]
    with shards.claimed(out, f"shifted by {SHIFT}", command):
        info = shards.write_shard(os.path.join(out, shards.names(1)[0]), moved())
        manifest.write(out, shards.combined_manifest([info], known.classes, command))


def judge(study: Study, name: str, *more: str) -> dict[str, Any]:
    """Returns what `must stats` reports about a teacher's labels, and its exit code."""
    records = study.files(f"shown-{name}-labelled")
    command = [sys.executable, "-m", "tfrecords_tools", "stats", "--records", records, "--json", *more]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    (known,) = json.loads(done.stdout)["tasks"]["detection"]["teachers"].values()
    return {"exit_code": done.returncode, "reasons": known["failed"], "found": known["found"], "truth": known["truth"]}


def lines(results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Formats the table, with the reasons below it."""
    rows = []
    for name, result in results.items():
        verdicts = ["unfit" if result[side]["exit_code"] else "passes" for side in ("alone", "truth")]
        density, right = result["alone"]["found"]["per_image"], result["truth"]["truth"].get("right")
        shown = "-" if right is None else f"{right:.3f}"
        rows.append((name, f"{density:.2f}", *verdicts, shown))
    reasons = [f"  {name}: {reason}" for name, result in results.items() for reason in result["truth"]["reasons"]]
    columns = ("teacher", "boxes an image", "labels only", "with ground truth", "right at IoU 0.5")
    return [*tables.table(columns, rows).splitlines(), "", *reasons]


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains, labels and judges; prints the table."""
    parser = argparse.ArgumentParser(prog="experiments.verdicts", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", default="runs/verdicts", help="output folder")
    out = parser.parse_args(arguments).out
    process_setup.prepare()
    with process_setup.importing():
        from experiments.study import Study
        from must_tf.common.files import write_json

    study = Study(out, "verdicts")
    study.execute(converted(study))
    shift(study.path("records", "labelled"), study.path("records", "shifted"))
    study.execute(labelled(study))
    truth = ("--truth", study.files("truth"))
    results = {name: {"alone": judge(study, name), "truth": judge(study, name, *truth)} for name in STEPS}
    write_json(study.path("verdicts.json"), results)
    print("\n".join(lines(results)), flush=True)
    passed = {name: not result["truth"]["exit_code"] for name, result in results.items()}
    return 0 if passed == {"good": True, "shifted": False, "untrained": False} else 1


if __name__ == "__main__":
    sys.exit(exit_on_user_error(main))
