"""The command `must-export`: a trained run as a SavedModel that needs no code of this project."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from must_tf.cli.flags import ExportFlags, parse_export
from must_tf.common import files, folder_lock, held_folders, own_folder
from must_tf.common.errors import UserError, exit_on_user_error, nearest
from must_tf.common.text import shown
from must_tf.config import values as config_values
from must_tf.model.student import enabled
from must_tf.runs import fingerprint, restore, trained_on
from must_tf.runs.restore import Trained
from must_tf.serving import checking, companions, layout, memory, model_card, saved_model
from must_tf.serving.formats import write as write_formats
from must_tf.serving.layout import Destination
from must_tf.serving.limits import Limits
from must_tf.serving.saved_model import Settings
from must_tf.tasks import discover

MARK = ".must-export"  # written first into an unfinished export: it may be removed


def about(trained: Trained, model_dir: str, settings: Settings = saved_model.DEFAULTS) -> dict[str, Any]:
    """Returns the content of must_tf.json: what a client or `must label` must know about the model.

    `teacher_id` identifies the model in the labels that it writes, `tasks` holds the settings of its heads,
    `trained_on` counts the labels that it was trained on, `licences` are those of the models that made the pseudo
    labels among them, and `serving` has the choices of the export.
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
        "serving": {
            "max_image_pixels": settings.limits.image,
            "max_batch_pixels": settings.limits.batch,
            "threshold": settings.threshold,
            "masks": settings.masks,
        },
    }


def main(arguments: Sequence[str]) -> None:
    """Parses the flags and exports."""
    run(parse_export(arguments))


def run(flags: ExportFlags) -> None:
    """Writes the export completely or not at all.

    Raises:
      UserError: a flag does not fit the model, the folder exists, or the export differs from evaluation.
    """
    settings = _settings(flags)
    formats = write_formats.parse(flags.formats, flags.calibration, flags.masks)
    target = layout.destination(flags.out, flags.name, flags.layout)
    trained = _selected(restore.load(flags.model_dir), flags)
    with folder_lock.held_beside(target.folder):
        if tf.io.gfile.exists(target.folder):
            raise UserError(f"{target.folder} was written by another process. Run the command again.")
        _export(trained, flags, (settings, target, formats))


def _export(trained: Trained, flags: ExportFlags, how: tuple[Settings, Destination, Any]) -> None:
    settings, target, formats = how
    unfinished = target.folder.rstrip("/") + layout.UNFINISHED
    _begin(unfinished)
    path = unfinished + target.path[len(target.folder) :]
    outputs = _save(path, trained, settings)
    name = target.name or os.path.basename(os.path.abspath(flags.out))
    companions.write(path, name, companions.sample())
    files.write_json(os.path.join(path, saved_model.NAME), about(trained, flags.model_dir, settings))
    try:
        if flags.check:
            print(checking.run(path, trained, settings))
        peaks = memory.measure(path, settings.limits) if flags.measure_memory else None
        card = model_card.text(trained, flags.model_dir, outputs, settings, peaks)
        if formats:
            lines = write_formats.write(path, trained, formats, flags.calibration, settings.threshold)
            card += "\n" + "\n".join(lines) + "\n"
    except UserError:
        tf.io.gfile.rmtree(unfinished)
        raise
    files.write_whole(os.path.join(path, model_card.NAME), shown(card).encode())
    _publish(unfinished, target, outputs)
    print(f"exported step {trained.step} of {flags.model_dir} to {target.path}: {', '.join(enabled(trained.config))}")


def _begin(unfinished: str) -> None:
    """Makes a new folder. Removes what a killed export has left there; anybody else's folder is refused."""
    own_folder.require(unfinished, (MARK,))
    if tf.io.gfile.exists(unfinished):
        tf.io.gfile.rmtree(unfinished)
    files.write_whole(os.path.join(unfinished, MARK), b"")


def _settings(flags: ExportFlags) -> Settings:
    """Returns the export's settings.

    Raises:
      UserError: a number is out of range.
    """
    if not 0 <= flags.threshold <= 1:
        raise UserError(f"--threshold={flags.threshold:g} must be from 0 to 1. It is the lowest score of objects.")
    for flag in ("max_detections", "max_image_pixels", "max_batch_pixels"):
        if getattr(flags, flag) < (flag != "max_detections"):
            raise UserError(f"--{flag}={getattr(flags, flag)} is too small. Give a positive number.")
    limits = Limits(flags.max_image_pixels, flags.max_batch_pixels)
    return Settings(limits, flags.threshold, flags.masks)


def _selected(trained: Trained, flags: ExportFlags) -> Trained:
    """Returns the model with the chosen heads only, and the chosen number of objects.

    Raises:
      UserError: the model does not have a task.
    """
    configs = enabled(trained.config)
    tasks = [task.strip() for task in flags.tasks.split(",") if task.strip()]
    for task in tasks:
        if task not in configs:
            raise UserError(f"--tasks: {flags.model_dir} has no head for {task!r}.{nearest(task, configs)}")
    wanted = {*tasks, *(need for task in tasks for need in discover()[task].needs)} if tasks else set(configs)
    for name in configs.keys() - wanted:
        configs[name].enabled = False
    trained.model.heads = {name: head for name, head in trained.model.heads.items() if name in wanted}
    if not flags.max_detections:
        return trained
    if "detection" not in wanted:
        raise UserError(
            "--max_detections: the export has no detection. Leave the flag out, or add the task to --tasks."
        )
    configs["detection"].max_detections = flags.max_detections
    return trained._replace(id=restore.identity(flags.model_dir, trained.config))


def _save(path: str, trained: Trained, settings: Settings) -> dict[str, tf.TensorSpec]:
    """Writes the SavedModel. Returns the outputs of its signature for image files, with a batch axis."""
    server = saved_model.Server(trained.model, trained.config, settings)
    signatures = server.signatures()
    held_folders.require()
    tf.saved_model.save(server, path, signatures=signatures)
    outputs = signatures["image_bytes"].structured_outputs
    return {name: tf.TensorSpec([None, *value.shape[1:]], value.dtype) for name, value in outputs.items()}


def _publish(unfinished: str, target: Destination, outputs: dict[str, tf.TensorSpec]) -> None:
    """Gives the finished export its name, and writes Triton's settings before."""
    held_folders.require()
    tf.io.gfile.stat(os.path.join(unfinished, MARK))  # fails if its first files were removed, or their disk is gone
    if target.path != target.folder:
        root = os.path.dirname(target.folder)
        config = companions.triton_config(target.name, outputs)
        files.write_whole(os.path.join(root, layout.CONFIG), config.encode())
    tf.io.gfile.rename(unfinished, target.folder)
    tf.io.gfile.remove(os.path.join(target.folder, MARK))


def cli(flags: ExportFlags) -> None:
    """Exports and ends the process with an exit code."""
    sys.exit(exit_on_user_error(lambda: run(flags)))
