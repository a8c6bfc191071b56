"""A model of another project as a teacher, given a recipe for its input and its outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import tensorflow as tf

from must_tf.common.errors import UserError
from must_tf.data import record
from must_tf.evaluation.predictions import kept
from must_tf.spec import ImageInfo, Labels, TaskConfig
from must_tf.tasks import discover
from tfrecords_tools.teachers import BATCH_SIZE, About, networks
from tfrecords_tools.teachers.frames import Placed
from tfrecords_tools.teachers.network import Failure
from tfrecords_tools.teachers.outputs import Arrays
from tfrecords_tools.teachers.recipe import InputFormat, Recipe
from tfrecords_tools.teachers.trained import check_finite

# The input in messages, by `InputFormat.encoding`.
INPUT_WORDS = {"tensor": "pixels", "image": "PNG images", "example": "tf.train.Examples of PNG images"}
FAST_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1]


class Foreign(NamedTuple):
    """A model of another project, without its weights."""

    recipe: Recipe

    @property
    def about(self) -> About:
        """See `teachers.Description`."""
        return self.recipe.about

    def load(self) -> ForeignTeacher:
        """See `teachers.Description`."""
        return ForeignTeacher(self.recipe)


class ForeignTeacher:
    """A loaded model of another project."""

    def __init__(self, recipe: Recipe):
        self.about, self.frame = recipe.about, recipe.frame
        self._recipe, self._batch = recipe, recipe.input.batch or BATCH_SIZE
        self.configs = configs_of(recipe.about, recipe.depth_loss)
        self._run = networks.load(recipe, self._batch)
        self._restore = tf.function(self._restored, reduce_retracing=True, autograph=False)

    def forward(self, pixels: np.ndarray, info: np.ndarray) -> Arrays:
        """See `teachers.Teacher`. The network may take fewer or more images at once than BATCH_SIZE."""
        sizes = _sizes(self._recipe, info)
        parts = []
        for start in range(0, len(pixels), self._batch):
            part, of_part = (_filled(rows[start : start + self._batch], self._batch) for rows in (pixels, sizes))
            arrays = self._call(_encoded(part, self._recipe.input), of_part)
            self._check_batch(arrays)
            count = min(self._batch, len(pixels) - start)
            parts.append({name: array[:count] for name, array in arrays.items()})
        whole = {name: _rows([part[name] for part in parts]) for name in parts[0]}
        self._check_scale(whole.pop(self._recipe.resize_output, None))
        return whole

    def _call(self, images: np.ndarray, sizes: np.ndarray) -> dict[str, np.ndarray]:
        """Runs the network. An error in it is reported as the user's, because the model is."""
        try:
            return self._run(images, sizes)
        except Failure as failure:
            raise UserError(
                f"{self.about.path}: the signature {self._recipe.signature!r} fails on "
                f"{INPUT_WORDS[self._recipe.input.encoding]} ({failure}). Correct `input` in the adapter "
                "file, or export the model again. Finished shards are kept."
            ) from failure

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

    def labels(self, predictions: Arrays, info: np.ndarray, source_id: str, step: int = 1) -> dict[str, Labels]:
        """See `teachers.Teacher`."""
        self._check_meaning(predictions, source_id)
        prepared = {task: dict(output.read(predictions)) for task, output in self._recipe.outputs.items()}
        restored = self._restore(prepared, tf.constant(info, tf.int32), step)
        restored = tf.nest.map_structure(np.asarray, restored)
        for task, names in self._recipe.names.items():
            restored[task] = names.renumber_predictions(task, restored[task], self._option(task))
        restored = {task: values for task, values in restored.items() if values}
        check_finite(self.about, restored, source_id)
        labels = kept(restored, ImageInfo(source_id, int(info[0]), int(info[1])), self.configs)
        for task in self._recipe.names.keys() & labels.keys():
            names = self._recipe.names[task]
            labels[task] = names.renumber_labels(task, labels[task], self._option(task))
        return labels

    def notes(self, predictions: Arrays) -> list[str]:
        """See `teachers.Teacher`."""
        notes = {task: output.note(predictions) for task, output in self._recipe.outputs.items()}
        return [f"{task}: {note}" for task, note in notes.items() if note]

    def _option(self, task: str) -> str:
        return f"--teacher {task}={self.about.path}"

    def _check_meaning(self, predictions: Arrays, source_id: str) -> None:
        """Raises UserError if an output cannot be what the adapter file says."""
        names = self._recipe.names
        for task, output in self._recipe.outputs.items():
            problem = output.problem(predictions, len(names[task].names) if task in names else 0)
            if problem:
                raise UserError(f"{self._option(task)}: image {source_id!r}: {problem}. This shard was not written.")

    def _restored(self, prepared: Mapping[str, Mapping[str, tf.Tensor]], info: tf.Tensor, step: int) -> dict[str, Any]:
        """Returns the predictions of one image by task, in the original image's frame."""
        placed = Placed(info[:2], info[2:], self.frame, step)
        specs = discover()
        return {
            task: output.restored(specs[task], prepared[task], placed) for task, output in self._recipe.outputs.items()
        }


def configs_of(about: About, depth_loss: str) -> dict[str, TaskConfig]:
    """Returns task configs with which a model of this project would have predicted these labels."""
    configs = {task: discover()[task].Config(classes=tuple(about.classes.get(task, ()))) for task in about.tasks}
    if "depth" in configs:
        configs["depth"].override({"loss": depth_loss})
    return configs


def _sizes(recipe: Recipe, info: np.ndarray) -> np.ndarray:
    """Returns what a second input gets: [B, 2] sizes of the images in the order and type that it takes."""
    kinds = {
        "input": np.broadcast_to(np.array(recipe.frame[:2]), (len(info), 2)),
        "shown": info[:, 2:],
        "image": info[:, :2],
    }
    sizes = kinds[recipe.input.size_of]
    return (sizes[:, ::-1] if recipe.input.width_first else sizes).astype(recipe.input.size_dtype)


def _filled(rows: np.ndarray, count: int) -> np.ndarray:
    """Fills rows up to `count` with copies of the first."""
    return np.concatenate([rows, np.repeat(rows[:1], count - len(rows), axis=0)])


def _rows(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Concatenates parts [B, ...] along the batch.

    Parts of different shapes become an array of objects [B]: a detector may give each image its own number of boxes.
    """
    if len({part.shape[1:] for part in parts}) == 1:
        return np.concatenate(parts)
    return np.fromiter((row for part in parts for row in part), object)


def _encoded(pixels: np.ndarray, pixel_format: InputFormat) -> np.ndarray:
    """Encodes uint8 [B, H, W, 3] for the network: as they are, or as files [B].

    PNG is lossless, and all of TensorFlow's decoders (of JPEG, of PNG and of any image) read it. Compression level 1
    costs little compared with a network.
    """
    if pixel_format.encoding == "tensor":
        return pixels
    files = [cv2.imencode(".png", image[..., ::-1], FAST_PNG)[1].tobytes() for image in pixels]
    if pixel_format.encoding == "example":
        features = [tf.train.Features(feature={"image/encoded": record.bytes_feature([file])}) for file in files]
        files = [tf.train.Example(features=feature).SerializeToString() for feature in features]
    return np.array(files, object)
