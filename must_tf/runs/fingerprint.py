"""run.json: the training data that a run was started with, the licences of the models that labelled it, and where the
run was continued after it had stopped early.
"""

from __future__ import annotations

import hashlib
import os
from typing import Any

import tensorflow as tf

from must_tf.common import files, run_files
from must_tf.data import input as input_lib
from must_tf.data import manifest

PATH = "task.train_data.input_path"
TRAIN_DATA, LICENCES, EXTENDED = "train_data", "licences", "extended_from"  # keys of the file

Content = dict[str, Any]  # {"records": number of images, "sha256": hash over the record files}


def content(data: input_lib.Data) -> Content:
    """Returns a fingerprint of the records that does not depend on where they are."""
    paths = input_lib.files(data.input_path, PATH)
    folders = sorted({os.path.dirname(path) for path in paths})
    manifests = {folder: manifest.read(folder) for folder in folders}
    hashes = {
        os.path.join(folder, shard["file"]): shard["sha256"]
        for folder, described in manifests.items()
        for shard in described.shards
    }
    # In the order in which the files are read, which decides the order of training.
    digest = hashlib.sha256("\n".join(hashes.get(path, path) for path in paths).encode()).hexdigest()
    return {"records": sum(described.records for described in manifests.values()), "sha256": digest}


def write(directory: str, data: input_lib.Data, extended: int = -1) -> None:
    """Writes the fingerprint of the training data.

    Args:
      directory: the run directory.
      data: to train on.
      extended: the step at which the run had stopped early and now goes on from; -1 if it had not.
    """
    described: dict[str, Any] = {TRAIN_DATA: content(data), LICENCES: _licences(data)}
    extended = max(extended, extended_from(directory))
    if extended >= 0:
        described[EXTENDED] = extended
    files.write_json(os.path.join(directory, run_files.CONTENT), described)


def stored(directory: str) -> Content | None:
    """Returns the fingerprint of the data that the run was started with, or None if the run has none."""
    return _read(directory).get(TRAIN_DATA)


def licences(directory: str) -> list[str]:
    """Returns the licences of the models whose pseudo labels a run was trained on, as their adapters state them."""
    return [str(licence) for licence in _read(directory).get(LICENCES, ())]


def _licences(data: input_lib.Data) -> list[str]:
    folders = {os.path.dirname(path) for path in input_lib.files(data.input_path, PATH)}
    teachers = [teacher for folder in folders for teacher in manifest.read(folder).teachers.values()]
    return sorted({teacher["licence"] for teacher in teachers if teacher.get("licence")})


def extended_from(directory: str) -> int:
    """Returns the last step from which `--extend` went on with a run that had stopped early; -1 if there is none."""
    return int(_read(directory).get(EXTENDED, -1))


def _read(directory: str) -> dict[str, Any]:
    path = os.path.join(directory, run_files.CONTENT)
    if not tf.io.gfile.exists(path):
        return {}
    return files.read_json(path)
