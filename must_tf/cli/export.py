"""The command `must-export`: a trained run as a SavedModel that needs no code of this project."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from must_tf.cli.flags import ExportFlags, parse_export
from must_tf.common import files
from must_tf.common.errors import UserError, exit_on_user_error
from must_tf.config import values as config_values
from must_tf.model.student import enabled
from must_tf.runs import fingerprint, restore, trained_on
from must_tf.serving import saved_model


def about(trained: restore.Trained, model_dir: str) -> dict[str, Any]:
    """Returns the content of must_tf.json: what a client or `must-records label` must know about the model.

    `teacher_id` identifies the model in the labels that it writes, `tasks` holds the settings of its heads,
    `trained_on` counts the labels that it was trained on, and `licences` are those of the models that made the pseudo
    labels among them.
    """
    configs = enabled(trained.config)
    return {
        "teacher_id": trained.id,
        "step": trained.step,
        "input_size": trained.config.input_size,
        "classes": {name: list(task.classes) for name, task in configs.items()},
        "tasks": {name: config_values.plain(task.as_dict()) for name, task in configs.items()},
        "trained_on": trained_on.counted(trained.config),
        "licences": fingerprint.licences(model_dir),
    }


def main(arguments: Sequence[str]) -> None:
    """Parses the flags and exports."""
    run(parse_export(arguments))


def run(flags: ExportFlags) -> None:
    """Writes the SavedModel completely or not at all."""
    if tf.io.gfile.exists(flags.out):
        raise UserError(f"--out={flags.out} exists already. Choose another folder or remove it first.")
    trained = restore.load(flags.model_dir)
    server = saved_model.Server(trained.model, trained.config)
    unfinished = flags.out.rstrip("/") + ".partial"
    if tf.io.gfile.exists(unfinished):
        tf.io.gfile.rmtree(unfinished)
    tf.saved_model.save(server, unfinished, signatures=server.signatures())
    files.write_json(os.path.join(unfinished, saved_model.NAME), about(trained, flags.model_dir))
    tf.io.gfile.rename(unfinished, flags.out)
    print(f"exported step {trained.step} of {flags.model_dir} to {flags.out}: {', '.join(enabled(trained.config))}")


def cli(flags: ExportFlags) -> None:
    """Exports and ends the process with an exit code."""
    sys.exit(exit_on_user_error(lambda: run(flags)))
