"""Folders of exports.

<out>/                                     without a name: the SavedModel itself
<out>/<name>/<version>/                    TensorFlow Serving, KServe and `must serve`; versions count from 1
<out>/<name>/<version>/model.savedmodel/   Triton, with <out>/<name>/config.pbtxt
"""

from __future__ import annotations

import os
import re
from typing import Literal, NamedTuple

import tensorflow as tf

from must_tf.common import folder_lock, own_folder, run_files
from must_tf.common.errors import UserError

Layout = Literal["serving", "triton"]
SAVED_MODEL = "saved_model.pb"
TRITON = "model.savedmodel"
CONFIG = "config.pbtxt"  # of Triton, beside the versions
UNFINISHED = ".partial"  # the end of the name of a version's folder until it is complete
NAMES = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Destination(NamedTuple):
    """The place of a new export. `name` is "" and `version` 0 if it has no version folder."""

    path: str  # of the SavedModel
    name: str
    version: int
    folder: str  # appears as a whole when the export is complete


def destination(out: str, name: str, layout: Layout) -> Destination:
    """Returns the place of a new export. With a name, it gets the next free version.

    Raises:
      UserError: the folder exists, or the name or the layout is unsuitable.
    """
    if problem := run_files.pattern_problem(out):
        raise UserError(f"--out={problem}")
    if not name:
        if layout != "serving":
            raise UserError(f"--layout={layout} needs the model's name. Give --name.")
        if tf.io.gfile.exists(out):
            raise UserError(f"--out={out} exists already. Choose another folder or remove it first.")
        return Destination(out, "", 0, out)
    if not NAMES.fullmatch(name):
        raise UserError(f"--name={name!r} is part of addresses: use letters, digits, '.', '_' and '-'.")
    root = os.path.join(out, name)
    if tf.io.gfile.exists(os.path.join(root, SAVED_MODEL)):
        raise UserError(f"{root} is an export without versions. Choose another --name or --out.")
    if not versions(root):
        own_folder.require(root, (), known=(CONFIG, f"*{UNFINISHED}", f"*{folder_lock.NAME}"))
    version = max(_numbers(root), default=0) + 1
    folder = os.path.join(root, str(version))
    return Destination(os.path.join(folder, TRITON) if layout == "triton" else folder, name, version, folder)


def unloadable(path: str, error: Exception) -> str:
    """Returns why an export cannot be loaded, and what to do."""
    return run_files.pattern_problem(path) or f"{path}: the export cannot be loaded ({error}). Export the run again."


def versions(root: str) -> dict[int, str]:
    """Returns the SavedModels in a model's folder by version, the oldest first. An export without versions is 1."""
    if tf.io.gfile.exists(os.path.join(root, SAVED_MODEL)):
        return {1: root}
    found = {}
    for number in sorted(_numbers(root)):
        for path in (os.path.join(root, str(number)), os.path.join(root, str(number), TRITON)):
            if tf.io.gfile.exists(os.path.join(path, SAVED_MODEL)):
                found[number] = path
    return found


def _numbers(root: str) -> list[int]:
    """Returns the version numbers of the folders in a model's folder."""
    names = tf.io.gfile.listdir(root) if tf.io.gfile.isdir(root) else []
    return [int(name.rstrip("/")) for name in names if name.rstrip("/").isdecimal()]
