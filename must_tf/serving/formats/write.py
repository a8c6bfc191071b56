"""TFLite and ONNX files beside the SavedModel of an export: `must-export --formats tflite,onnx`.

model_<precision>.tflite, model.onnx   the network for one fitted image, with decoding and NMS
postprocess.py                         fits photos and restores outputs, with NumPy and Pillow
formats.json                           inputs, outputs, and the comparison with the SavedModel
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from must_tf.common import files
from must_tf.common.errors import UserError, nearest
from must_tf.data.input import CORES
from must_tf.runs.restore import Trained
from must_tf.serving import objects
from must_tf.serving.formats import measured, network, onnx_file, photos, postprocess, report, tflite
from must_tf.serving.formats.network import Network, Runner
from must_tf.serving.formats.photos import Photos

NAME = "formats.json"
ONNX = "model.onnx"
TFLITE = {precision: f"model_{precision}.tflite" for precision in tflite.PRECISIONS}
FORMATS = {"tflite": tuple(TFLITE.values()), "onnx": (ONNX,)} | {word: (name,) for word, name in TFLITE.items()}


def parse(formats: str, calibration: str, masks: objects.MaskFormat = "box") -> list[str]:
    """Returns the names of the files that --formats asks for.

    Raises:
      UserError: a format is unknown or lacks its packages, cannot have the masks, or there is nothing to calibrate.
    """
    words = [word.strip() for word in formats.split(",") if word.strip()]
    for word in words:
        if word not in FORMATS:
            raise UserError(f"--formats: {word!r} is not one of {', '.join(FORMATS)}.{nearest(word, FORMATS)}")
    names = list(dict.fromkeys(name for word in words for name in FORMATS[word]))
    if calibration and not names:
        raise UserError("--calibration is for TFLite and ONNX files. Give --formats, or leave it out.")
    if names and masks != "box":
        raise UserError(
            f"--masks={masks} cannot be combined with --formats: TFLite and ONNX do not write PNG files. Leave out "
            "--masks; `paste` of postprocess.py makes masks of the photo's size."
        )
    if ONNX in names:
        onnx_file.check()
    return names


def write(path: str, trained: Trained, names: list[str], calibration: str, threshold: float = 0.0) -> list[str]:
    """Writes the files beside the SavedModel at `path`, runs them, and prints a table.

    Args:
      path: of the export.
      trained: the exported model.
      names: of `parse`.
      calibration: globs of record files; "": the run's validation records.
      threshold: lowest score of objects.

    Returns:
      The lines that the model card gets.

    Raises:
      UserError: a converter cannot convert the model, or photos are missing.
    """
    config, int8 = trained.config, TFLITE["int8"]
    given = photos.collect(calibration, config.validation_data.input_path, int8 in names)
    whole = network.frozen(trained, threshold)
    runners = {
        name: _guarded(name, run) for name, run in _convert(path, whole, names, given, config.input_size).items()
    }
    source = inspect.getsource(postprocess)
    files.write_whole(os.path.join(path, "postprocess.py"), source.encode())
    _say("the comparison with the SavedModel")
    model = tf.saved_model.load(path)
    rows = measured.rows(path, model, runners, given, config.input_size)
    metrics = measured.metrics(measured.network(model, threshold), runners[int8], trained) if int8 in runners else {}
    compared = report.Compared(rows, min(len(given.files), photos.COMPARED), given.source, CORES, metrics)
    files.write_json(os.path.join(path, NAME), report.content(compared, whole))
    print(report.table(compared), flush=True)
    return report.card(compared, whole)


def _convert(path: str, whole: Network, names: list[str], given: Photos, side: int) -> dict[str, Runner]:
    """Writes the files. Returns their runners by name."""
    runners = {}
    with tempfile.TemporaryDirectory() as folder:
        if set(names) - {ONNX}:
            _say("the network for TFLite")
            tflite.save(whole, folder)
        for name in names:
            _say(name)
            content = _attempt(name, _converter(name, folder, whole, given, side))
            files.write_whole(os.path.join(path, name), content)
            load = onnx_file.runner if name == ONNX else tflite.runner
            runners[name] = _attempt(name, functools.partial(load, content))
    return runners


def _say(what: str) -> None:
    """Says what is being made: a converter takes minutes for a large network, and says nothing itself."""
    print(f"--formats: making {what}", file=sys.stderr, flush=True)


def _converter(name: str, folder: str, whole: Network, given: Photos, side: int) -> Callable[[], bytes]:
    if name == ONNX:
        return lambda: onnx_file.convert(whole)
    precision = next(word for word, file in TFLITE.items() if file == name)
    fitted = (photos.fitted(file, side)[:2] for file in given.files)
    return lambda: tflite.convert(folder, precision, list(whole.signature), fitted)


def _attempt(name: str, action: Callable[[], Any]) -> Any:
    """Runs a converter or a loader. Their errors have no common base."""
    try:
        return action()
    except Exception as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise UserError(
            f"--formats: {name} cannot be made of this model: {' '.join(lines[:1])[:300]}. Leave this format out."
        ) from error


def _guarded(name: str, run: Runner) -> Runner:
    return lambda image, image_shape: _attempt(name, lambda: run(image, image_shape))
