"""A trained model that predicts its tasks for photos of any size."""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, overload

import numpy as np
import tensorflow as tf

from must_tf.common import run_files
from must_tf.common.errors import UserError, nearest, nearest_path
from must_tf.common.finite import is_finite
from must_tf.common.missing import TRAINING
from must_tf.config.base import HAS_MODEL_GARDEN
from must_tf.data import geometry
from must_tf.data.input import CORES, Reader
from must_tf.evaluation.predictions import Restorer, kept
from must_tf.label_content import with_score
from must_tf.model import forward
from must_tf.model.forward import Forward
from must_tf.model.head_configs import HeadsConfig, enabled
from must_tf.prediction import images as image_lib
from must_tf.prediction.images import Given, ImageError, Photo
from must_tf.prediction.result import Result
from must_tf.serving import exported, saved_model
from must_tf.spec import ImageInfo, Tensors
from must_tf.tasks import discover

THRESHOLD = 0.5  # default lowest score of objects, that of the paper
BATCH_SIZE = 8  # default number of images in one forward pass
AHEAD = 1  # batches that are decoded while the network is busy
Skipped = Callable[[ImageError], None]


class Network(NamedTuple):
    """The network of a run or an export. `id` is the same for a run and its export."""

    path: str
    forward: Forward
    config: HeadsConfig
    id: str
    step: int


def load(path: str | os.PathLike[str], tasks: Sequence[str] = ()) -> Model:
    """Loads a trained model.

    Args:
      path: a run directory, one of its best checkpoints like runs/student/best/overall, or an export of `must-export`.
      tasks: the tasks to predict; empty means all that the model has.

    Raises:
      UserError: there is no model, it cannot be loaded, or it lacks one of the tasks.
    """
    return Model(_network(os.fspath(path).rstrip("/")), tasks)


def _network(path: str) -> Network:
    if exported.is_here(path):
        about = exported.description(path)
        config = exported.settings(path, about)
        return Network(path, exported.network(path), config, about["teacher_id"], about["step"])
    if not tf.io.gfile.exists(os.path.join(path, run_files.PARAMS)):
        raise UserError(
            f"{path}: there is no model. Looked for {run_files.PARAMS} (a run, or one of its best checkpoints) and "
            f"{saved_model.NAME} (an export).{_models_in(path)}"
        )
    if not HAS_MODEL_GARDEN:
        raise UserError(
            f"{path} is a run, and loading one needs the packages for training. Install them with: {TRAINING}. Or give "
            "an export of the run (must export), which needs nothing more."
        )
    from must_tf.runs import restore

    trained = restore.load(path, show=False)
    return Network(path, forward.of(trained.model), trained.config, trained.id, trained.step)


def _models_in(path: str) -> str:
    """Returns a sentence that names the models in a folder, or the nearest neighbour of one that does not exist."""
    if not tf.io.gfile.isdir(path):
        return nearest_path(path)
    names = [name.rstrip("/") for name in sorted(tf.io.gfile.listdir(path))]
    files = (run_files.PARAMS, saved_model.NAME)
    models = [name for name in names if any(tf.io.gfile.exists(os.path.join(path, name, file)) for file in files)]
    return f" There are models in it: {', '.join(os.path.join(path, name) for name in models)}." if models else ""


class Model:
    """A trained model.

    Attributes:
      path: where it was loaded from.
      tasks: the tasks that it predicts.
      classes: {task: class names}, for the tasks that have classes.
      input_size: side of the network's square input in pixels; images are fitted into it.
      id, step: of the checkpoint, as in pseudo labels and in must_tf.json.
    """

    def __init__(self, network: Network, tasks: Sequence[str] = ()):
        """`tasks` are those to predict; empty means all that the network has."""
        configs = enabled(network.config)
        for task in tasks:
            if task not in configs:
                known = f"It has {', '.join(configs)}."
                raise UserError(f"{network.path} has no head for {task!r}.{nearest(task, configs)} {known}")
        self.path, self.id, self.step = network.path, network.id, network.step
        self.input_size = network.config.input_size
        self.tasks = tuple(name for name in configs if name in tasks or not tasks)
        self._configs = {name: configs[name] for name in self.tasks}
        self._specs = {name: discover()[name] for name in self.tasks}
        self.classes = {name: tuple(configs[name].classes) for name in self.tasks if self._specs[name].class_ids}
        self._restorer = Restorer(self._specs, self._configs, self.input_size)
        self._view = _viewer(self.input_size)
        self._forward = _runner(network.forward, self.tasks, self.input_size)

    def __repr__(self) -> str:
        return f"<Model {self.path}, step {self.step}: {', '.join(self.tasks)}>"

    @overload
    def predict(self, images: Given, threshold: float = THRESHOLD, batch_size: int = BATCH_SIZE) -> Result: ...

    @overload
    def predict(
        self, images: list[Any] | tuple[Any, ...], threshold: float = THRESHOLD, batch_size: int = BATCH_SIZE
    ) -> list[Result]: ...

    def predict(
        self, images: Given | list[Any] | tuple[Any, ...], threshold: float = THRESHOLD, batch_size: int = BATCH_SIZE
    ) -> Result | list[Result]:
        """Predicts all tasks of the model for one image, or for each image of a list.

        All results of a list are in memory at the same time; `predict_each` returns one after the other.

        Args:
          images: a path, the bytes of a file, a uint8 array [h, w], [h, w, 3] RGB or [h, w, 4] RGBA, a Pillow image, or
            a list of them. Sizes may differ.
          threshold: lowest score of objects. Maps and distributions do not depend on it.
          batch_size: number of images in one forward pass.

        Raises:
          ImageError: an image cannot be read, or its prediction is NaN or infinite.
        """
        if isinstance(images, list | tuple):
            return list(self.predict_each(images, threshold, batch_size))
        return next(self.predict_each([images], threshold, batch_size))

    def predict_each(
        self,
        images: str | os.PathLike[str] | Iterable[Given],
        threshold: float = THRESHOLD,
        batch_size: int = BATCH_SIZE,
        skipped: Skipped | None = None,
    ) -> Iterator[Result]:
        """Yields one result after the other, for any number of images in little memory.

        Args:
          images: any iterable of images as in `predict`, or a folder or glob, whose files are sorted by name.
          threshold: as in `predict`.
          batch_size: as in `predict`.
          skipped: called with the error of an image that cannot be predicted, which is then left out. By default the
            error is raised.

        Raises:
          UserError: there is no image, or an argument is out of range.
        """
        check_arguments(threshold, batch_size)
        if isinstance(images, str | os.PathLike):
            images = image_lib.find(os.fspath(images)).paths()
        return self._results(images, threshold, batch_size, skipped or _raised)

    def _results(
        self, images: Iterable[Given], threshold: float, batch_size: int, skipped: Skipped
    ) -> Iterator[Result]:
        for batch in _read_ahead(images, batch_size):
            for error in (one for one in batch if isinstance(one, ImageError)):
                skipped(error)
            photos = [one for one in batch if isinstance(one, Photo)]
            for predicted in self._batch(photos, threshold) if photos else ():
                if isinstance(predicted, ImageError):
                    skipped(predicted)
                else:
                    yield predicted

    def _batch(self, photos: Sequence[Photo], threshold: float) -> Iterator[Result | ImageError]:
        views = [self._view(tf.constant(photo.pixels)) for photo in photos]
        inputs = [tf.stack([view[key] for view in views]) for key in ("image", "image_shape")]
        try:
            batch = tf.nest.map_structure(np.asarray, self._forward(*inputs))
        except tf.errors.ResourceExhaustedError:
            raise UserError(f"out of memory with batch_size={len(photos)}. Give a smaller batch_size.") from None
        for row, (photo, view) in enumerate(zip(photos, views, strict=True)):
            one = tf.nest.map_structure(lambda x, row=row: x[row], batch)
            yield self._result(photo, one, view["image_info"].numpy(), threshold)

    def _result(
        self, photo: Photo, predictions: dict[str, dict[str, np.ndarray]], image_info: np.ndarray, threshold: float
    ) -> Result | ImageError:
        # Copied, since the arrays are the caller's to change.
        restored = tf.nest.map_structure(np.array, self._restorer.restored(predictions, image_info))
        for task, values in restored.items():
            if not is_finite(values):
                return ImageError(f"{photo.name}: {task} is NaN or infinite. Use another checkpoint than {self.path}.")
        info = ImageInfo(photo.name, *photo.pixels.shape[:2])
        labels = kept(restored, info, self._configs)
        for task, config in self._configs.items():
            content = self._specs[task].summary.content(labels[task], info, config)
            labels[task] = with_score(labels[task], content, threshold)
        return Result(photo, labels, self._configs)


def check_arguments(threshold: float, batch_size: int) -> None:
    """Raises UserError if an argument of `Model.predict` is out of range."""
    if not 0 <= threshold <= 1:
        raise UserError(f"threshold={threshold:g} must be from 0 to 1. It is the lowest score of objects.")
    if batch_size < 1:
        raise UserError(f"batch_size={batch_size} must be at least 1.")


def _raised(error: ImageError) -> None:
    raise error


def _viewer(size: int) -> Callable[[tf.Tensor], Tensors]:
    """Returns a function that fits an image uint8 [h, w, 3] into the network's input as evaluation does."""
    reader = Reader({}, {}, size)

    def view(image: tf.Tensor) -> Tensors:
        return reader.view(image, geometry.fit(tf.shape(image)[:2], size), tf.constant(0, tf.int64))

    return tf.function(view, input_signature=[tf.TensorSpec([None, None, 3], tf.uint8)], autograph=False)


def _runner(forward: Forward, tasks: Sequence[str], size: int) -> Forward:
    """Returns the compiled network for batches of any size; heads that are not needed are pruned from the graph."""

    def run(image: tf.Tensor, image_shape: tf.Tensor) -> dict[str, Tensors]:
        predictions = forward(image, image_shape)
        return {task: predictions[task] for task in tasks}

    inputs = [tf.TensorSpec([None, size, size, 3], tf.uint8), tf.TensorSpec([None, 2], tf.float32)]
    return tf.function(run, input_signature=inputs, autograph=False)


def _read_ahead(images: Iterable[Given], batch_size: int) -> Iterator[list[Photo | ImageError]]:
    """Yields batches of decoded photos. Threads decode the next batch meanwhile; no more are held in memory."""
    numbered = enumerate(images)
    pool = ThreadPoolExecutor(CORES)
    try:
        waiting: deque[list[Future[Photo | ImageError]]] = deque()
        while chunk := list(itertools.islice(numbered, batch_size)):
            waiting.append([pool.submit(_tried, image, place) for place, image in chunk])
            if len(waiting) > AHEAD:
                yield [future.result() for future in waiting.popleft()]
        while waiting:
            yield [future.result() for future in waiting.popleft()]
    finally:
        pool.shutdown(cancel_futures=True)


def _tried(image: Given, place: int) -> Photo | ImageError:
    try:
        return image_lib.read(image, place)
    except ImageError as error:
        return error
