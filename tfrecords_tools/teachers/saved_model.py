"""Any SavedModel as a teacher, given a recipe for its input and its outputs."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from must_tf.common.errors import UserError, nearest
from must_tf.data import geometry, record
from must_tf.evaluation.predictions import kept
from must_tf.spec import ImageInfo, Labels, TaskConfig
from must_tf.tasks import discover
from tfrecords_tools.teachers import BATCH_SIZE, About
from tfrecords_tools.teachers.frames import InputFrame
from tfrecords_tools.teachers.names import ClassNames
from tfrecords_tools.teachers.outputs import Arrays, DetectedObjects, Output
from tfrecords_tools.teachers.trained import check_finite

Shape = tuple[int, ...]  # -1: any
EXAMPLE_PARSERS = {"ParseExample", "ParseExampleV2", "ParseSingleExample"}
# The signature's input in messages, by `InputFormat.encoding`.
INPUT_WORDS = {"tensor": "pixels", "image": "PNG images", "example": "tf.train.Examples of PNG images"}
FAST_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1]
# Lines of a TensorFlow error that do not name the cause: headings, where a node was defined (indented), the node, and
# the number of failures. "(0)" is the first cause.
AROUND_CAUSE = re.compile(r"\s+(?!\s|\(0\))|Graph execution error|Detected at node|<stack traces|Node: |\d+ root error")


class Signature(NamedTuple):
    """The inputs and outputs of a signature: {name: (shape, dtype)}."""

    name: str
    inputs: dict[str, tuple[Shape, tf.DType]]
    outputs: dict[str, tuple[Shape, tf.DType]]
    parses_examples: bool  # somewhere in the graph


class InputFormat(NamedTuple):
    """How pixels enter the network.

    Either as numbers, (range[0] + (range[1] - range[0]) * pixel / 255 - mean) / std, or as encoded images.

    Attributes:
      name: of the signature's input.
      encoding: "tensor", "image" (files), or "example" (serialised tf.train.Examples).
      dtype: name of the tensor's type.
      batch: number of images that it takes; 0: any.
      channels_first: NCHW.
    """

    name: str
    encoding: str = "tensor"
    dtype: str = "uint8"
    batch: int = 0
    channels_first: bool = False
    range: tuple[float, ...] = (0.0, 255.0)
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)


# The names of renamed classes in a teacher's id. Ids are stored with the labels, so these names never change.
NAMES_IN_ID: dict[type, str] = {
    InputFrame: "Frame",
    InputFormat: "Entry",
    ClassNames: "Names",
    DetectedObjects: "Objects",
}


class Recipe(NamedTuple):
    """Everything that is needed to label with a SavedModel. `outputs` and `names` are by task."""

    about: About
    folder: str
    signature: str
    frame: InputFrame
    input: InputFormat
    outputs: dict[str, Output]
    names: dict[str, ClassNames]
    depth_loss: str = "silog"  # "ssi": its depth is relative
    resize_output: str = ""  # Model Garden's output that tells how much the export itself has resized

    def load(self) -> SavedModelTeacher:
        """See `teachers.Description`."""
        return SavedModelTeacher(self)


class SavedModelTeacher:
    """A loaded SavedModel."""

    def __init__(self, recipe: Recipe):
        self.about, self.frame = recipe.about, recipe.frame
        self._recipe, self._batch = recipe, recipe.input.batch or BATCH_SIZE
        self._configs = configs_of(recipe.about, recipe.depth_loss)
        self._run = _runner(recipe, self._batch)
        self._restore = tf.function(self._restored, reduce_retracing=True, autograph=False)

    def forward(self, pixels: np.ndarray, info: np.ndarray) -> Arrays:
        """See `teachers.Teacher`. The network may take fewer or more images at once than BATCH_SIZE."""
        del info
        parts = []
        for start in range(0, len(pixels), self._batch):
            part = pixels[start : start + self._batch]
            filled = np.concatenate([part, np.repeat(part[:1], self._batch - len(part), axis=0)])
            arrays = self._call(_encoded(filled, self._recipe.input))
            self._check_batch(arrays)
            parts.append({name: array[: len(part)] for name, array in arrays.items()})
        whole = {name: _rows([part[name] for part in parts]) for name in parts[0]}
        self._check_scale(whole.pop(self._recipe.resize_output, None))
        return whole

    def _call(self, images: tf.Tensor) -> dict[str, np.ndarray]:
        """Runs the signature. An error in it is reported as the user's, because the model is."""
        try:
            return {name: tensor.numpy() for name, tensor in self._run(images).items()}
        except (tf.errors.NotFoundError, tf.errors.ResourceExhaustedError):
            raise  # missing files and lack of memory are reported by `label.job.write_shard`
        except tf.errors.OpError as error:
            raise UserError(
                f"{self.about.path}: the signature {self._recipe.signature!r} fails on "
                f"{INPUT_WORDS[self._recipe.input.encoding]} ({root_cause(error)}). Correct `input` in the adapter "
                "file, or export the model again. Finished shards are kept."
            ) from error

    def _check_batch(self, arrays: Arrays) -> None:
        """Raises UserError unless each output has a row for each image."""
        for name, array in arrays.items():
            if array.shape[:1] != (self._batch,):
                raise UserError(
                    f"{self.about.path}: output {name!r} has shape {list(array.shape)} for {self._batch} images, so "
                    "its first axis is not the batch. Export the model with a batch axis."
                )

    def _check_scale(self, image_info: np.ndarray | None) -> None:
        """Raises UserError if a Model Garden export has resized its input, which already has the right size."""
        if image_info is not None and not np.allclose(image_info[:, 2], 1.0, atol=1e-3):
            size = [int(side) for side in image_info[0, 1]]
            raise UserError(
                f"{self.about.path} was exported for input size {size}, not {list(self.frame[:2])}. Write "
                f"`input: {{size: {size}}}` into an adapter file."
            )

    def labels(self, predictions: Arrays, info: np.ndarray, source_id: str) -> dict[str, Labels]:
        """See `teachers.Teacher`."""
        self._check_meaning(predictions, source_id)
        restored = self._restore(predictions, tf.constant(info, tf.int32))
        restored = tf.nest.map_structure(lambda x: x.numpy(), restored)
        for task, names in self._recipe.names.items():
            restored[task] = names.renumber_predictions(task, restored[task], self._option(task))
        restored = {task: values for task, values in restored.items() if values}
        check_finite(self.about, restored, source_id)
        labels = kept(restored, ImageInfo(source_id, int(info[0]), int(info[1])), self._configs)
        for task in self._recipe.names.keys() & labels.keys():
            names = self._recipe.names[task]
            labels[task] = names.renumber_labels(task, labels[task], self._option(task))
        return labels

    def _option(self, task: str) -> str:
        return f"--teacher {task}={self.about.path}"

    def _check_meaning(self, predictions: Arrays, source_id: str) -> None:
        """Raises UserError if an output cannot be what the adapter file says."""
        names = self._recipe.names
        for task, output in self._recipe.outputs.items():
            problem = output.problem(predictions, len(names[task].names) if task in names else 0)
            if problem:
                raise UserError(f"{self._option(task)}: image {source_id!r}: {problem}. This shard was not written.")

    def _restored(self, predictions: Mapping[str, tf.Tensor], info: tf.Tensor) -> dict[str, dict[str, tf.Tensor]]:
        """Returns the predictions of one image by task, in the original image's frame."""
        canvas = tf.constant(self.frame[:2], tf.float32)
        restored = {}
        for task, output in self._recipe.outputs.items():
            values, cells = output.read(predictions, (self.frame.height, self.frame.width))
            scaled = tf.cast(info[2:], tf.float32) * tf.constant(cells, tf.float32) / canvas
            restored[task] = discover()[task].restore(values, geometry.Frame(info[:2], scaled, cells[0]))
        return restored


def configs_of(about: About, depth_loss: str) -> dict[str, TaskConfig]:
    """Returns task configs with which a model of this project would have predicted these labels."""
    configs = {task: discover()[task].Config(classes=tuple(about.classes.get(task, ()))) for task in about.tasks}
    if "depth" in configs:
        configs["depth"].override({"loss": depth_loss})
    return configs


def _runner(recipe: Recipe, batch: int) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """Returns the compiled network with its input's normalisation: pixels or files -> the outputs that are used."""
    try:
        loaded = tf.saved_model.load(recipe.folder)
    except (tf.errors.OpError, OSError, ValueError) as error:
        raise UserError(f"{recipe.folder}: the SavedModel cannot be loaded ({error}). Export it again.") from error
    used = {name for output in recipe.outputs.values() for name in output.uses()}
    pixel_format, frame = recipe.input, recipe.frame
    spec = tf.TensorSpec([batch], tf.string)
    if pixel_format.encoding == "tensor":
        spec = tf.TensorSpec([batch, frame.height, frame.width, 3], tf.uint8)

    def run(images: tf.Tensor) -> dict[str, tf.Tensor]:
        value = _normalised(images, pixel_format) if pixel_format.encoding == "tensor" else images
        # Called through `loaded`, because a signature alone does not keep its variables alive.
        outputs = loaded.signatures[recipe.signature](**{pixel_format.name: value})
        return {name: output for name, output in outputs.items() if name in used or name == recipe.resize_output}

    return tf.function(run, input_signature=[spec], autograph=False)


def _normalised(pixels: tf.Tensor, pixel_format: InputFormat) -> tf.Tensor:
    if pixel_format.dtype != "uint8":
        low, high = pixel_format.range
        values = low + (high - low) / 255.0 * tf.cast(pixels, tf.float32)
        values = (values - tf.constant(pixel_format.mean)) / tf.constant(pixel_format.std)
        pixels = tf.cast(values, pixel_format.dtype)
    return tf.transpose(pixels, [0, 3, 1, 2]) if pixel_format.channels_first else pixels


def _rows(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Concatenates parts [B, ...] along the batch.

    Parts of different shapes become an array of objects [B]: a detector may give each image its own number of boxes.
    """
    if len({part.shape[1:] for part in parts}) == 1:
        return np.concatenate(parts)
    return np.fromiter((row for part in parts for row in part), object)


def _encoded(pixels: np.ndarray, pixel_format: InputFormat) -> tf.Tensor:
    """Encodes uint8 [B, H, W, 3] for the network.

    PNG is lossless, and all of TensorFlow's decoders (of JPEG, of PNG and of any image) read it. Compression level 1
    costs little compared with a network.
    """
    if pixel_format.encoding == "tensor":
        return tf.constant(pixels)
    files = [cv2.imencode(".png", image[..., ::-1], FAST_PNG)[1].tobytes() for image in pixels]
    if pixel_format.encoding == "example":
        features = [tf.train.Features(feature={"image/encoded": record.bytes_feature([file])}) for file in files]
        files = [tf.train.Example(features=feature).SerializeToString() for feature in features]
    return tf.constant(files)


def root_cause(error: tf.errors.OpError) -> str:
    """Returns the line of a TensorFlow error that says what went wrong; in a graph's error it is not the first."""
    lines = [line for line in error.message.splitlines() if line and not AROUND_CAUSE.match(line)]
    return (lines[0] if lines else error.message).strip().rstrip(".")


def folder_of(path: str) -> str:
    """Returns the folder of the SavedModel: `path` or `path`/saved_model; "" if neither holds one."""
    folders = (path, os.path.join(path, "saved_model"))
    return next((folder for folder in folders if tf.io.gfile.exists(os.path.join(folder, "saved_model.pb"))), "")


def read_signature(folder: str, name: str) -> Signature:
    """Reads the inputs and outputs of a signature, without the weights.

    Raises:
      UserError: the SavedModel is damaged, or has no such signature.
    """
    content = saved_model_pb2.SavedModel()
    path = os.path.join(folder, "saved_model.pb")
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            content.ParseFromString(file.read())
        graph = content.meta_graphs[0]
    except (DecodeError, IndexError) as error:
        raise UserError(f"{path} is damaged ({error}). Export the model again.") from None
    known = [key for key in graph.signature_def if not key.startswith("__")]
    if name not in known:
        raise UserError(
            f"{folder}: the SavedModel has no signature {name!r}.{nearest(name, known)} "
            f"Its signatures: {', '.join(known) or 'none'}."
        )
    signature = graph.signature_def[name]
    bodies = [graph.graph_def.node, *(function.node_def for function in graph.graph_def.library.function)]
    parses = any(node.op in EXAMPLE_PARSERS for body in bodies for node in body)
    return Signature(name, _described(signature.inputs), _described(signature.outputs), parses)


def _described(tensors: Mapping[str, Any]) -> dict[str, tuple[Shape, tf.DType]]:
    return {
        name: (tuple(int(axis.size) for axis in info.tensor_shape.dim), tf.as_dtype(info.dtype))
        for name, info in sorted(tensors.items())
    }


def teacher_id(folder: str, meaning: object) -> str:
    """Returns 12 hex digits over the graph, the weights, and `meaning`: how they are used. Paths play no part."""
    result = hashlib.sha256(id_text(meaning).encode())
    relative_paths = sorted(
        os.path.join(parent, name)[len(folder) :]
        for parent, _, names in tf.io.gfile.walk(folder)
        for name in names
        if name == "saved_model.pb" or os.path.basename(parent) in ("variables", "assets")
    )
    for relative_path in relative_paths:
        result.update(relative_path.encode())
        with tf.io.gfile.GFile(folder + relative_path, "rb") as file:
            while chunk := file.read(1 << 20):
                result.update(chunk)
    return result.hexdigest()[:12]


def id_text(value: Any) -> str:
    """Returns `repr(value)` with the class names of `NAMES_IN_ID`."""
    if hasattr(value, "_fields"):
        name = NAMES_IN_ID.get(type(value), type(value).__name__)
        fields = (f"{field}={id_text(getattr(value, field))}" for field in value._fields)
        return f"{name}({', '.join(fields)})"
    if isinstance(value, list):
        return f"[{', '.join(map(id_text, value))}]"
    if isinstance(value, tuple):
        comma = "," if len(value) == 1 else ""
        return f"({', '.join(map(id_text, value))}{comma})"
    return repr(value)
