"""Any SavedModel as a teacher, once a recipe says what goes in and what its outputs mean."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from must_tf.common.errors import UserError, nearest
from must_tf.data import record
from must_tf.data.geometry import Frame as Place
from must_tf.evaluation.predictions import kept
from must_tf.spec import ImageInfo, Labels
from must_tf.tasks import discover
from tfrecords_tools.teachers import BATCH_SIZE, About, failure
from tfrecords_tools.teachers.frames import Frame
from tfrecords_tools.teachers.names import Names
from tfrecords_tools.teachers.outputs import Output
from tfrecords_tools.teachers.trained import check_finite

Shape = tuple[int, ...]  # -1: any
EXAMPLE_PARSERS = {"ParseExample", "ParseExampleV2", "ParseSingleExample"}
# What a signature gets, by `Entry.encoding`, in words.
GIVEN = {"tensor": "pixels", "image": "PNG images", "example": "tf.train.Examples of PNG images"}
FAST_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1]


class Signature(NamedTuple):
    """What a signature takes and gives: {name: (shape, dtype)}."""

    name: str
    inputs: dict[str, tuple[Shape, tf.DType]]
    outputs: dict[str, tuple[Shape, tf.DType]]
    parses_examples: bool  # somewhere in the graph


class Entry(NamedTuple):
    """How pixels go in: (range[0] + (range[1] - range[0]) * pixel / 255 - mean) / std, or as an encoded image.

    Attributes:
      name: of the signature's input.
      encoding: "tensor", "image" (files), or "example" (serialised tf.train.Examples).
      dtype: the tensor's, as a name.
      batch: images that it takes at once; 0: any number.
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


class Recipe(NamedTuple):
    """All that is needed to label with a SavedModel. `outputs`, `names` and `configs` are by task."""

    about: About
    folder: str
    signature: str
    frame: Frame
    entry: Entry
    outputs: dict[str, Output]
    names: dict[str, Names]
    depth_loss: str = "silog"  # "ssi": its depth is relative
    resized: str = ""  # Model Garden's output that says by how much the export itself resized

    def load(self) -> SavedModelTeacher:
        """See `teachers.Description`."""
        return SavedModelTeacher(self)


class SavedModelTeacher:
    """A loaded SavedModel."""

    def __init__(self, recipe: Recipe):
        self.about, self.frame = recipe.about, recipe.frame
        self._recipe, self._batch = recipe, recipe.entry.batch or BATCH_SIZE
        self._configs = configs_of(recipe.about, recipe.depth_loss)
        self._run = _runner(recipe, self._batch)
        self._restore = tf.function(self._restored, reduce_retracing=True, autograph=False)

    def forward(self, pixels: np.ndarray, info: np.ndarray) -> Any:
        """See `teachers.Teacher`. What the network takes at once may be fewer images, or more."""
        del info
        parts = []
        for start in range(0, len(pixels), self._batch):
            part = pixels[start : start + self._batch]
            filled = np.concatenate([part, np.repeat(part[:1], self._batch - len(part), axis=0)])
            values = self._called(_encoded(filled, self._recipe.entry))
            self._check_batch(values)
            parts.append({name: value[: len(part)] for name, value in values.items()})
        whole = {name: _rows([part[name] for part in parts]) for name in parts[0]}
        self._check_scale(whole.pop(self._recipe.resized, None))
        return whole

    def _called(self, images: tf.Tensor) -> dict[str, np.ndarray]:
        """What the signature says of them. Others wrote it: that it fails is no fault of this program."""
        try:
            return {name: value.numpy() for name, value in self._run(images).items()}
        except (tf.errors.NotFoundError, tf.errors.ResourceExhaustedError):
            raise  # whoever writes the shard tells of files and of memory
        except tf.errors.OpError as error:
            given = GIVEN[self._recipe.entry.encoding]
            raise UserError(
                f"{self.about.path}: the signature {self._recipe.signature!r} fails on the {given} that it gets "
                f"({failure.reason(error)}). Say under `input` of an adapter file what it takes, or export it again. "
                "Finished shards are kept."
            ) from error

    def _check_batch(self, found: Mapping[str, np.ndarray]) -> None:
        """Each output has a row for each image."""
        for name, value in found.items():
            if value.shape[:1] != (self._batch,):
                raise UserError(
                    f"{self.about.path}: output {name!r} has the shape {list(value.shape)} for {self._batch} images; "
                    "its first axis must be theirs. Export it with a batch axis."
                )

    def _check_scale(self, image_info: np.ndarray | None) -> None:
        """Model Garden's exports say how much they resized: nothing, if they get their own input size."""
        if image_info is not None and not np.allclose(image_info[:, 2], 1.0, atol=1e-3):
            size = [int(side) for side in image_info[0, 1]]
            raise UserError(
                f"{self.about.path} was exported for images of {size}, not of {list(self.frame[:2])}. Say so: in an "
                f"adapter file, input: {{size: {size}}}"
            )

    def labels(self, predictions: Any, info: np.ndarray, source_id: str) -> dict[str, Labels]:
        """See `teachers.Teacher`."""
        self._check_meaning(predictions, source_id)
        restored = self._restore(predictions, tf.constant(info, tf.int32))
        restored = tf.nest.map_structure(lambda x: x.numpy(), restored)
        names = self._recipe.names
        known = {task: names[task].known(task, one) if task in names else one for task, one in restored.items()}
        known = {task: one for task, one in known.items() if one}
        check_finite(self.about, known, source_id)
        labels = kept(known, ImageInfo(source_id, int(info[0]), int(info[1])), self._configs)
        return {task: names[task].seen(task, one) if task in names else one for task, one in labels.items()}

    def _check_meaning(self, predictions: Mapping[str, np.ndarray], source_id: str) -> None:
        """Raises UserError where an output cannot be what it is said to be."""
        for task, output in self._recipe.outputs.items():
            doubt = output.doubt(predictions, len(self._recipe.names[task].names) if task in self._recipe.names else 0)
            if doubt:
                raise UserError(
                    f"--teacher {task}={self.about.path}: of image {source_id!r} {doubt}. Nothing was written of this "
                    "shard."
                )

    def _restored(self, found: Mapping[str, tf.Tensor], info: tf.Tensor) -> dict[str, Any]:
        """Predictions of one image by task, in the original image's frame."""
        canvas = tf.constant(self.frame[:2], tf.float32)
        restored = {}
        for task, output in self._recipe.outputs.items():
            predictions, cells = output.read(found, (self.frame.height, self.frame.width))
            scaled = tf.cast(info[2:], tf.float32) * tf.constant(cells, tf.float32) / canvas
            restored[task] = discover()[task].restore(predictions, Place(info[:2], scaled, cells[0]))
        return restored


def configs_of(about: About, depth_loss: str) -> dict[str, Any]:
    """The configs under which these labels would have been predicted here."""
    configs = {task: discover()[task].Config(classes=tuple(about.classes.get(task, ()))) for task in about.tasks}
    if "depth" in configs:
        configs["depth"].loss = depth_loss
    return configs


def _runner(recipe: Recipe, batch: int) -> Any:
    """The network with its input's normalisation, compiled once: pixels or files -> the outputs that are used."""
    try:
        loaded = tf.saved_model.load(recipe.folder)
    except (tf.errors.OpError, OSError, ValueError) as error:
        raise UserError(f"{recipe.folder} cannot be loaded ({error}). Export it again.") from error
    used = {name for output in recipe.outputs.values() for name in output.uses()}
    entry, frame = recipe.entry, recipe.frame
    spec = tf.TensorSpec([batch], tf.string)
    if entry.encoding == "tensor":
        spec = tf.TensorSpec([batch, frame.height, frame.width, 3], tf.uint8)

    def run(pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        given = _normalised(pixels, entry) if entry.encoding == "tensor" else pixels
        # By way of `loaded`: a signature alone does not keep its variables alive.
        found = loaded.signatures[recipe.signature](**{entry.name: given})
        return {name: value for name, value in found.items() if name in used or name == recipe.resized}

    return tf.function(run, input_signature=[spec], autograph=False)


def _normalised(pixels: tf.Tensor, entry: Entry) -> tf.Tensor:
    if entry.dtype != "uint8":
        low, high = entry.range
        values = low + (high - low) / 255.0 * tf.cast(pixels, tf.float32)
        pixels = tf.cast((values - tf.constant(entry.mean)) / tf.constant(entry.std), entry.dtype)
    return tf.transpose(pixels, [0, 3, 1, 2]) if entry.channels_first else pixels


def _rows(parts: Sequence[np.ndarray]) -> np.ndarray:
    """The rows of all parts [B, ...]; as objects [B] where they differ in shape, as those of a detector may that gives
    each image as many boxes as it finds there."""
    if len({part.shape[1:] for part in parts}) == 1:
        return np.concatenate(parts)
    return np.fromiter((row for part in parts for row in part), object)


def _encoded(pixels: np.ndarray, entry: Entry) -> tf.Tensor:
    """uint8 [B, H, W, 3] as the network takes them.

    PNG loses nothing, and TensorFlow's decoders of JPEG, of PNG and of any image all read it; at level 1 it costs
    little beside a network.
    """
    if entry.encoding == "tensor":
        return tf.constant(pixels)
    files = [cv2.imencode(".png", image[..., ::-1], FAST_PNG)[1].tobytes() for image in pixels]
    if entry.encoding == "example":
        features = [tf.train.Features(feature={"image/encoded": record.bytes_feature([file])}) for file in files]
        files = [tf.train.Example(features=one).SerializeToString() for one in features]
    return tf.constant(files)


def folder_of(path: str) -> str:
    """Where the SavedModel of this path lies: there, or in `saved_model` below; empty: nowhere."""
    folders = (path, os.path.join(path, "saved_model"))
    return next((one for one in folders if tf.io.gfile.exists(os.path.join(one, "saved_model.pb"))), "")


def read_signature(folder: str, name: str) -> Signature:
    """What a signature takes and gives, without loading any weights.

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
        raise UserError(f"{path} is damaged ({error}). Export it again.") from None
    known = [key for key in graph.signature_def if not key.startswith("__")]
    if name not in known:
        raise UserError(
            f"{folder} has no signature {name!r}.{nearest(name, known)} There are: {', '.join(known) or 'none'}."
        )
    found = graph.signature_def[name]
    bodies = [graph.graph_def.node, *(function.node_def for function in graph.graph_def.library.function)]
    parses = any(node.op in EXAMPLE_PARSERS for body in bodies for node in body)
    return Signature(name, _described(found.inputs), _described(found.outputs), parses)


def _described(tensors: Any) -> dict[str, tuple[Shape, tf.DType]]:
    return {
        name: (tuple(int(one.size) for one in info.tensor_shape.dim), tf.as_dtype(info.dtype))
        for name, info in sorted(tensors.items())
    }


def digest(folder: str, recipe: Any) -> str:
    """12 hex digits over the graph, the weights and what is made of them; the path plays no part."""
    result = hashlib.sha256(repr(recipe).encode())
    below = sorted(
        os.path.join(parent, name)[len(folder) :]
        for parent, _, names in tf.io.gfile.walk(folder)
        for name in names
        if name == "saved_model.pb" or os.path.basename(parent) in ("variables", "assets")
    )
    for name in below:
        result.update(name.encode())
        with tf.io.gfile.GFile(folder + name, "rb") as file:
            while chunk := file.read(1 << 20):
                result.update(chunk)
    return result.hexdigest()[:12]
