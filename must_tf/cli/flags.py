"""Flags of must-train, must-export, must-predict and must serve.

They are read before TensorFlow is imported, so that help and misspelt flags are answered at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Literal

from must_tf.common.command_line import argument, flag, parse
from must_tf.serving.limits import MAX_BATCH_PIXELS, MAX_IMAGE_PIXELS

Mode = Literal["train", "eval", "train_and_eval", "continuous_eval"]
Layout = Literal["serving", "triton"]
Masks = Literal["box", "full"]


@dataclasses.dataclass(frozen=True)
class TrainFlags:
    """Trains and evaluates a teacher, a student or a transfer."""

    experiment: Annotated[str, flag("--experiment", "must_student, must_teacher_<task> or must_transfer_<task>.")]
    model_dir: Annotated[str, flag("--model_dir", "Run directory for checkpoints, params.yaml, logs and pictures.")]
    mode: Annotated[Mode, flag("--mode", "eval measures the last checkpoint, continuous_eval each new one.")] = (
        "train_and_eval"
    )
    config_file: Annotated[list[str], flag("--config_file", "YAML file; can be repeated, later ones win.", "FILE")] = (
        dataclasses.field(default_factory=list)
    )
    params_override: Annotated[str, flag("--params_override", "a.b=1,a.c=2 or YAML; applied last.")] = ""
    dry_run: Annotated[bool, flag("--dry_run", "Build the run, print the plan, draw one batch, and stop.")] = False
    extend: Annotated[
        bool, flag("--extend", "Continue a finished run to a larger trainer.train_steps, or one that stopped early.")
    ] = False
    overwrite: Annotated[bool, flag("--overwrite", "Delete the run in --model_dir and start again.")] = False
    tpu: Annotated[str, flag("--tpu", "Name or address of a TPU.")] = ""


@dataclasses.dataclass(frozen=True)
class ExportFlags:
    """Exports a trained run for serving: a SavedModel, its model card, clients, and a warm-up request."""

    model_dir: Annotated[str, flag("--model_dir", "Run directory of a training.")]
    out: Annotated[str, flag("--out", "New folder for the SavedModel. With --name, the folder of all models.")]
    name: Annotated[str, flag("--name", "Write <out>/<name>/<version>, the next free version, as servers expect.")] = ""
    layout: Annotated[Layout, flag("--layout", "triton adds config.pbtxt and Triton's folder; needs --name.")] = (
        "serving"
    )
    tasks: Annotated[str, flag("--tasks", "Only these, like depth,masks. Default: all of the model.")] = ""
    masks: Annotated[Masks, flag("--masks", "box: a grid over each box. full: a PNG of the image's size.")] = "box"
    threshold: Annotated[float, flag("--threshold", "Lowest score of objects.")] = 0.0
    max_detections: Annotated[int, flag("--max_detections", "Objects per image. 0: as trained.")] = 0
    max_image_pixels: Annotated[int, flag("--max_image_pixels", "Larger images are refused.")] = MAX_IMAGE_PIXELS
    max_batch_pixels: Annotated[int, flag("--max_batch_pixels", "Largest batch, as padded.")] = MAX_BATCH_PIXELS
    formats: Annotated[
        str, flag("--formats", "Also TFLite and ONNX files: tflite,onnx, or some of TFLite's precisions.")
    ] = ""
    calibration: Annotated[str, flag("--calibration", "Records for int8 and the comparison. Default: validation.")] = ""
    check: Annotated[bool, flag("--check", "Compare the export with evaluation on validation images.")] = False
    measure_memory: Annotated[
        bool, flag("--measure_memory", "Predict the largest batch; its memory is in the card.")
    ] = False


@dataclasses.dataclass(frozen=True)
class PredictFlags:
    """Predicts all tasks of a model for photos, and writes pictures, maps and COCO's JSON.

    Run the same command again to continue. Exit code: 0, 1 if some photos could not be read, 2 if the command could not
    run.
    """

    model: Annotated[str, flag("--model", "A run directory, one of its best checkpoints, or an export.")]
    images: Annotated[str, flag("--images", "A folder, a glob or a file. Video frames: a folder.", "PATH")]
    out: Annotated[str, flag("--out", "Folder for the predictions; a new one, or one of the same command.")]
    threshold: Annotated[float, flag("--threshold", "Lowest score of objects.")] = 0.5
    batch_size: Annotated[int, flag("--batch_size", "Photos in one forward pass.")] = 8
    tasks: Annotated[str, flag("--tasks", "Only these, like depth,masks. Default: all of the model.")] = ""


@dataclasses.dataclass(frozen=True)
class ServeFlags:
    """Serves exports over HTTP: TensorFlow Serving's REST protocol, KServe's protocol v2, and a page to try them.

    Callers need a token if the environment variable MUST_SERVE_TOKEN is set. Limits on pixels are those of the export.
    """

    exports: Annotated[list[str], argument("EXPORT...", "Exports, or folders of exports by name.")]
    port: Annotated[int, flag("--port", "0: any free port.")] = 8501
    host: Annotated[str, flag("--host", "Address to listen at; 0.0.0.0 for all of the machine.")] = "127.0.0.1"
    batch_size: Annotated[int, flag("--batch_size", "Photos in one call of the model.")] = 8
    queue: Annotated[int, flag("--queue", "Photos that may wait; others get 503.")] = 64
    connections: Annotated[int, flag("--connections", "Connections at the same time; others get 503.")] = 512
    max_request_bytes: Annotated[int, flag("--max_request_bytes", "Larger requests get 413.")] = 32 << 20
    max_request_seconds: Annotated[float, flag("--max_request_seconds", "Slower requests get 408 or 504.")] = 60.0
    reload_seconds: Annotated[float, flag("--reload_seconds", "Time between looks for newer versions.")] = 5.0


def parse_train(arguments: Sequence[str]) -> TrainFlags:
    """Parses the flags of must-train, which have Model Garden's names."""
    example = (
        "--experiment=must_teacher_depth --model_dir=runs/depth --mode=train "
        "--params_override='task.train_data.input_path=records/train/*.tfrecord'"
    )
    return parse(TrainFlags, arguments, "train.py", example)


def parse_export(arguments: Sequence[str]) -> ExportFlags:
    """Parses the flags of must-export."""
    return parse(ExportFlags, arguments, "export.py", "--model_dir=runs/student --out=exports/student")


def parse_predict(arguments: Sequence[str]) -> PredictFlags:
    """Parses the flags of must-predict."""
    example = "--model runs/student --images photos --out predictions"
    return parse(PredictFlags, arguments, "must predict", example)


def parse_serve(arguments: Sequence[str]) -> ServeFlags:
    """Parses the flags of must serve."""
    return parse(ServeFlags, arguments, "must serve", "exports/student --port 8501")
