"""Uses the task `tests/contract/brightness.py` in every command and prints all results as one JSON object."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from typing import Any

import numpy as np
import tensorflow as tf

import must_tf
from must_tf.cli import export, predict, train
from must_tf.common.errors import UserError
from must_tf.config import values
from must_tf.data import record, scenes
from must_tf.experiments import experiment_config
from must_tf.runs import directory
from must_tf.spec import ImageInfo
from must_tf.tasks import discover
from must_tf.training import preflight
from tests.support import tiny
from tests.support.session.graphs import eagerly
from tfrecords_tools.cli import main as records_cli

EXPERIMENT = "must_teacher_brightness"
Label = tuple[float, float, str]  # grey, certainty, origin


def one(index: int, label: Label | None) -> bytes:
    """Returns the record of a scene of 128 x 128 pixels."""
    image = scenes.render("wild", 5, index).image
    labelled = {}
    if label:
        grey, certainty, origin = label
        labels = {"grey": np.array([grey], np.float32), "certainty": np.array([certainty], np.float32)}
        labelled = {"brightness": record.Labelled(labels, origin)}
    return record.encode(tiny.image_bytes(image), ImageInfo(f"scene-{index}", 128, 128), labelled, discover())


def write(folder: str, labels: list[Label | None], first: int = 0) -> str:
    """Writes a dataset in two files and returns their pattern."""
    made = [one(first + place, label) for place, label in enumerate(labels)]
    return tiny.write_set(folder, [made[:2], made[2:]], ())


def photo(folder: str) -> str:
    """Writes a scene as a file and returns its path."""
    path = f"{folder}/photo.png"
    with open(path, "wb") as file:
        file.write(tiny.image_bytes(scenes.render("wild", 5, 0).image))
    return path


def command(*given: str) -> dict[str, Any]:
    """Runs must-records in this process. Returns its exit code and the JSON that it printed."""
    sys.argv = ["must-records", *given, "--json"]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        try:
            code = records_cli.main()
        except SystemExit as ended:
            code = int(ended.code or 0)
    return {"code": code, "json": json.loads(printed.getvalue())}


def settled(config: str, records: str, fields: dict[str, Any]) -> Any:
    """Returns the experiment's config with these fields of the task, after preflight."""
    override = tiny.data(records)
    override["task"]["tasks"] = {"brightness": fields}
    params = experiment_config.load(EXPERIMENT, [config])
    values.apply(params, override, "test")
    preflight.settle(params, "train")
    return params


def refused(config: str, records: str, fields: dict[str, Any]) -> str:
    """Returns the error of preflight; empty if there is none."""
    try:
        settled(config, records, fields)
    except UserError as error:
        return str(error)
    return ""


def trained(folder: str, config: str) -> dict[str, Any]:
    """Trains, exports and serves. Returns the results and the task's fields in the config."""
    records = write(f"{folder}/records", [(0.25, 1.0, "real:test"), None, (0.5, 1.0, "real:test")])
    run, fields = f"{folder}/run", {"scale": 0.5, "loss_weight": 3.0}
    override = tiny.data(records)
    override["task"]["tasks"] = {"brightness": fields}
    with eagerly():
        train.main(tiny.arguments(config, run, EXPERIMENT, override, "train_and_eval"))
    export.main([f"--model_dir={run}", f"--out={folder}/export"])
    result = must_tf.load(run).predict(scenes.render("wild", 5, 0).image)
    predict.main([f"--model={folder}/export", f"--images={photo(folder)}", f"--out={folder}/predicted"])
    with open(f"{folder}/predicted/predictions.jsonl") as file:
        line = json.load(file)
    signature = tf.saved_model.load(f"{folder}/export").signatures["tf_example"]
    outputs = signature(tf.constant([one(0, None)]))
    changes = {
        name: [str(change) for change in directory.changes(run, settled(config, records, fields | {name: value}))]
        for name, value in {"gamma": 2.0, "scale": 0.75, "certainty_threshold": 0.9}.items()
    }
    with open(f"{run}/evaluation.json") as file:
        evaluation = json.load(file)
    return {
        "experiments": experiment_config.experiments(),
        "weight": settled(config, records, fields | {"loss_weight": 7.0}).task.tasks.brightness.weight,
        "stored": values.read_yaml(f"{run}/params.yaml")["task"]["tasks"]["brightness"]["weight"],
        "outputs": {name: value.shape.as_list() for name, value in outputs.items()},
        "served": float(outputs["brightness/grey"][0, 0]),
        "evaluation": evaluation,
        "pictures": os.listdir(f"{run}/pictures"),
        "predicted": {key: value.tolist() for key, value in result["brightness"].items()},
        "line": {"image": line["image"], "brightness": line["brightness"], "files": list(line["files"])},
        "changes": changes,
        "records": records,
    }


def labelled(folder: str, records: str) -> dict[str, Any]:
    """Labels, then runs every command that reads records."""
    teacher = f"brightness={folder}/run"
    label = command(
        "label", "--records", records, "--teacher", teacher, "--out", f"{folder}/labelled", "--workers", "1"
    )
    glob = f"{folder}/labelled/*.tfrecord"
    others = write(f"{folder}/others", [(0.75, 1.0, "real:other")] * 3, first=10)
    configs = {"brightness": discover()["brightness"].Config()}
    read = [
        record.read_labels(serialized, discover(), configs)["brightness"]
        for serialized in tf.data.TFRecordDataset(sorted(tf.io.gfile.glob(glob))).as_numpy_iterator()
    ]
    return {
        "label": label,
        "origins": [each.origin.split(":")[0] for each in read],
        "stats": command("stats", "--records", glob, "--against", f"brightness={others}"),
        "unsure": command("stats", "--records", glob, "--set", "brightness.certainty_threshold=0.9", "--force"),
        "check": command("check", "--records", glob),
        "inspect": command("inspect", "--records", glob, "--page", f"{folder}/page.html", "--pick", "least-confident"),
        "page": os.path.getsize(f"{folder}/page.html"),
        "merge": command("merge", "--records", glob, "--records", others, "--out", f"{folder}/merged"),
        "export": command("export-coco", "--records", glob, "--out", f"{folder}/coco", "--images"),
    }


def spoiled(folder: str, config: str) -> dict[str, Any]:
    """Labels that the gate must refuse, and the check of a label that is out of range."""
    records = write(f"{folder}/nan", [(float("nan"), 0.75, "pseudo:abc"), (0.5, 0.75, "pseudo:abc")])
    stats = command("stats", "--records", records)
    return {
        "stats": stats["code"],
        "refused": refused(config, records, {}),
        "elsewhere": refused(config, records, {"certainty_threshold": 0.6}),
        "check": command("check", "--records", write(f"{folder}/bright", [(1.5, 1.0, "real:test")] * 2)),
    }


def use(folder: str, config: str) -> dict[str, Any]:
    """Everything."""
    made = trained(folder, config)
    return made | labelled(folder, made["records"]) | {"spoiled": spoiled(folder, config)}


if __name__ == "__main__":
    print("RESULT " + json.dumps(use(*sys.argv[1:])))
