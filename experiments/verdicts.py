"""What the gate says of a good teacher, of an untrained one, and of one that learned shifted boxes: `make verdicts`.

All three learn detection from the same scenes and label the same others. `must-records stats` judges their labels,
first by figures alone and then beside the truth: a teacher that has learned shifted boxes well labels as many as a good
one, and only the truth tells; one that has not is unsure, and labels too few. Ends with a table, verdicts.json and exit
code 0 where the good teacher passes and the others do not.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from experiments.loop import follow, prepared
from experiments.plan import Plan, Run, steps
from experiments.quickstart import CONFIG, scenes
from must_tf.common.errors import exit_on_user_error

TASK = ("detection",)
SHIFT = 0.6  # of a box's width, to the right: IoU with the true box 0.4 / 1.6 = 0.25
STEPS = {"good": 300, "shifted": 300, "untrained": 1}
LEARNED = {"good": "labelled", "shifted": "shifted", "untrained": "labelled"}
LABELLED, SHOWN, HELDOUT = 500, 200, 100  # images


def plan(folder: str) -> Plan:
    """Three teachers, and a copy of the same scenes for each to label."""
    records = {
        "labelled": scenes("wild", LABELLED, 1, "--tasks", *TASK),
        "heldout": scenes("wild", HELDOUT, 2, "--tasks", *TASK),
        "truth": scenes("wild", SHOWN, 3, "--tasks", *TASK),
    }
    teachers = tuple(
        Run(name, "must_teacher_detection", (LEARNED[name],), ("heldout",), TASK, steps(count), CONFIG)
        for name, count in STEPS.items()
    )
    return Plan(
        folder=folder,
        title="must_tf: what the gate says",
        records=records | {f"shown-{name}": scenes("wild", SHOWN, 3) for name in STEPS},
        teachers=teachers,
        label={f"shown-{name}": (name,) for name in STEPS},
        student=teachers[0],
    )


def shift(source: str, out: str) -> None:
    """Writes the same set with every box moved to the right by `SHIFT` of its width, as far as the image goes."""
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


def judge(whole: Plan, name: str, *more: str) -> dict[str, Any]:
    """What `must-records stats` finds of a teacher's labels, and its exit code."""
    records = whole.path("records", f"shown-{name}-labelled", "*.tfrecord")
    command = [sys.executable, "-m", "tfrecords_tools", "stats", "--records", records, "--json", *more]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    (known,) = json.loads(done.stdout)["tasks"]["detection"]["teachers"].values()
    return {"exit_code": done.returncode, "reasons": known["failed"], "found": known["found"], "truth": known["truth"]}


def lines(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The table, and the reasons below it."""
    table = [f"{'teacher':12}{'boxes an image':>16}{'without truth':>16}{'with truth':>14}{'right at IoU 0.5':>18}"]
    for name, one in found.items():
        verdicts = ["unfit" if one[side]["exit_code"] else "passes" for side in ("alone", "truth")]
        density, right = one["alone"]["found"]["per_image"], one["truth"]["truth"].get("right")
        shown = "-" if right is None else f"{right:.3f}"
        table.append(f"{name:12}{density:16.2f}{verdicts[0]:>16}{verdicts[1]:>14}{shown:>18}")
    reasons = [f"  {name}: {reason}" for name, one in found.items() for reason in one["truth"]["reasons"]]
    return [*table, "", *reasons]


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains, labels, judges; prints the table."""
    parser = argparse.ArgumentParser(prog="experiments.verdicts", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", default="runs/verdicts", help="where everything goes")
    whole = plan(parser.parse_args(arguments).out)
    commands = list(prepared(whole))
    records = [one for one in commands if one[0].startswith("records")]
    follow(whole, records)
    shift(whole.path("records", "labelled"), whole.path("records", "shifted"))
    follow(whole, [one for one in commands if one not in records])
    truth = ("--truth", whole.path("records", "truth", "*.tfrecord"))
    found = {name: {"alone": judge(whole, name), "truth": judge(whole, name, *truth)} for name in STEPS}
    with open(whole.path("verdicts.json"), "w") as file:
        json.dump(found, file, indent=1)
    print("\n".join(lines(found)), flush=True)
    passed = {name: not one["truth"]["exit_code"] for name, one in found.items()}
    return 0 if passed == {"good": True, "shifted": False, "untrained": False} else 1


if __name__ == "__main__":
    sys.exit(exit_on_user_error(main))
