"""`export.py --model_dir=DIR --out=DIR`: a trained run as a SavedModel that needs TensorFlow alone."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from must_tf.common import files
from must_tf.common.errors import UserError, exit_on_user_error
from must_tf.config import values as config_values
from must_tf.model.student import enabled
from must_tf.runs import restore, trained_on
from must_tf.serving import saved_model


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The flags."""
    parser = argparse.ArgumentParser(
        prog="export.py",
        description="Exports a trained run for serving.",
        epilog="example: export.py --model_dir=runs/student --out=exports/student",
        allow_abbrev=False,
    )
    parser.add_argument("--model_dir", required=True, help="the run directory of train.py")
    parser.add_argument("--out", required=True, help="the SavedModel's folder; must not exist")
    return parser.parse_args(arguments)


def about(trained: restore.Trained) -> dict[str, Any]:
    """The content of must_tf.json: what a client or `must-records label` must know of the model.

    `teacher_id` names it in what it labels, `tasks` are the settings of its heads, `trained_on` what it learned from.
    """
    configs = enabled(trained.config)
    return {
        "teacher_id": trained.id,
        "step": trained.step,
        "input_size": trained.config.input_size,
        "classes": {name: list(task.classes) for name, task in configs.items()},
        "tasks": {name: config_values.plain(task.as_dict()) for name, task in configs.items()},
        "trained_on": trained_on.counted(trained.config),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes the SavedModel, whole or not at all."""
    flags = parse(sys.argv[1:] if arguments is None else arguments)
    if tf.io.gfile.exists(flags.out):
        raise UserError(f"--out={flags.out} exists already. Give another folder, or remove it first.")
    trained = restore.load(flags.model_dir)
    server = saved_model.Server(trained.model, trained.config)
    unfinished = flags.out.rstrip("/") + ".partial"
    if tf.io.gfile.exists(unfinished):
        tf.io.gfile.rmtree(unfinished)
    tf.saved_model.save(server, unfinished, signatures=server.signatures())
    files.write_json(os.path.join(unfinished, saved_model.NAME), about(trained))
    tf.io.gfile.rename(unfinished, flags.out)
    print(f"exported step {trained.step} of {flags.model_dir} to {flags.out}: {', '.join(enabled(trained.config))}")


def cli() -> None:
    """The command `must-export`."""
    sys.exit(exit_on_user_error(main))
