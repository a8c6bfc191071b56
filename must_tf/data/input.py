"""The input pipeline, from record files to batches.

An element of a dataset is one image in the network's frame:

    image        uint8 [S, S, 3], RGB
    image_info   int32 [4], height and width of the original image, then of the scaled image, pixels
    image_shape  float32 [2], height and width of the part of the input that shows the image, pixels
    index        int64 [], the image's index in the run; -1 for the images that fill up an evaluation's last batch
    targets      {task: {key: tensor}}, only in training; see `Reader`

Order and augmentation are functions of (seed, epoch, index) and never depend on thread timing.
"""

from __future__ import annotations

import dataclasses
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from must_tf.common import cluster, devices
from must_tf.common.errors import UserError
from must_tf.common.files import matched_by, require_an_end
from must_tf.config.base import Config
from must_tf.config.fields import between
from must_tf.data import assertions, geometry, manifest, order, record
from must_tf.data.order import Start as Start
from must_tf.spec import TaskSpec, Tensors

TRAIN_PATH = "task.train_data.input_path"
LARGEST_SEED = 2**32 - 1  # that NumPy takes
MOST_AT_ONCE = 10_000_000  # records in memory
AHEAD = 2  # prefetched batches: one is consumed while the next is made
CORES = devices.cores()  # that this process may use: a batch system may assign only some of the machine's cores


@dataclasses.dataclass
class Data(Config):
    """The records to train or evaluate on. If there are several datasets, every image is equally likely.

    Attributes:
      input_path: one glob or a list of globs of record files, in folders that also hold their manifest.json.
      repeats: how often an epoch of training has the images of each entry of `input_path`, as [10, 1]; empty: once.
      global_batch_size: number of images in a batch, over all replicas; 0 in training: as memory allows.
      shuffle_buffer: number of records in the shuffle buffer; the order of the files is shuffled as well.
      seed: seed of the order and of the augmentation.
      augmentation: how training images are augmented.
    """

    input_path: str | tuple[str, ...] = ""
    repeats: tuple[int, ...] = ()
    global_batch_size: int = between(8, 0, MOST_AT_ONCE)
    is_training: bool = False
    shuffle_buffer: int = between(1000, 1, MOST_AT_ONCE)
    seed: int = between(1, 0, LARGEST_SEED)
    augmentation: geometry.Augmentation = dataclasses.field(default_factory=geometry.Augmentation)


def patterns(input_path: str | Sequence[str]) -> list[str]:
    """Returns the globs of a config's `input_path`, which is one string, separated by commas, or a list."""
    parts = input_path.split(",") if isinstance(input_path, str) else list(input_path)
    return [part.strip() for part in parts if part.strip()]


def files(input_path: str | Sequence[str], where: str) -> list[str]:
    """Returns all record files, sorted.

    Args:
      input_path: as in `Data`.
      where: the config's key, for error messages.

    Raises:
      UserError: there is no glob, or one matches nothing or is a folder.
    """
    globs = patterns(input_path)
    if not globs:
        raise UserError(f"{where} is empty. Name the record files, for example {where}='records/rooms/*.tfrecord'.")
    paths = []
    for pattern in globs:
        matched = matched_by(pattern)
        if matched == [pattern] and tf.io.gfile.isdir(pattern):
            raise UserError(
                f"{where}: {pattern!r} is a folder. Name its files: {shlex.quote(pattern.rstrip('/') + '/*.tfrecord')}."
            )
        if not matched:
            raise UserError(f"{where}: no file matches {pattern!r}. Check the path, and put it in quotes.")
        for path in matched:
            require_an_end(path)
        paths += matched
    return sorted(set(paths))


@dataclasses.dataclass(frozen=True)
class Reader:
    """Turns records into elements (see above), for the tasks in `configs` and a network input of `size` pixels.

    A task's targets are those of its `TaskSpec.targets`, and for every task

        weight     float32 [], the image's weight in this task's loss; 0 if it is unlabelled
        pseudo     bool [], the label is a teacher's
        annotated  bool [classes + 1], see `record.annotated_mask`
    """

    specs: Mapping[str, TaskSpec]
    configs: Mapping[str, Any]
    size: int  # S

    def element(
        self, serialized: tf.Tensor, index: tf.Tensor, warp_of: Callable[[tf.Tensor], geometry.Warp]
    ) -> dict[str, Any]:
        """Returns one record's element, with targets. `warp_of` returns the warp of an original size [2] int32."""
        parsed = record.parse(serialized, self.specs, self.configs)
        image = record.decode_image(assertions.bounded(parsed["image/encoded"]))
        original = tf.shape(image)[:2]
        warp = warp_of(original)
        targets = {name: self._targets(name, parsed, original, warp) for name in self.configs}
        return self.view(image, warp, index) | {"targets": targets}

    def view(self, image: tf.Tensor, warp: geometry.Warp, index: tf.Tensor) -> dict[str, Any]:
        """Returns an element without targets."""
        return {
            "image": geometry.warp_image(image, warp),
            "image_info": tf.concat([warp.original, warp.scaled], 0),
            "image_shape": tf.cast(geometry.visible_size(warp), tf.float32),
            "index": index,
        }

    def _targets(self, name: str, parsed: Tensors, original: tf.Tensor, warp: geometry.Warp) -> Tensors:
        spec, config = self.specs[name], self.configs[name]
        origin = parsed[record.origin_key(name)]
        pseudo = tf.strings.regex_full_match(origin, "pseudo:.*")
        weight = tf.where(pseudo, config.pseudo_weight, 1.0)
        targets = spec.targets(parsed, original, warp, config)
        doubted = pseudo & ~targets.pop("believed", tf.constant(True))
        return targets | {
            "weight": tf.where((origin == "") | doubted, 0.0, weight),
            "pseudo": pseudo,
            "annotated": record.annotated_mask(parsed[record.annotated_key(name)], len(config.classes), name),
        }


def with_ramped_weight(targets: Tensors, step: tf.Tensor, ramp_steps: int) -> Tensors:
    """Returns an image's targets for one task; if the label is a teacher's, its weight is scaled by step / ramp_steps.

    The weight grows linearly from 0, as in Lee, "Pseudo-Label", ICML workshops 2013, with T1 = 0. It depends only on
    the image's index in the training order, so that a resumed run needs no further state.
    """
    share = tf.minimum(tf.cast(step, tf.float32) / ramp_steps, 1.0)
    return targets | {"weight": targets["weight"] * tf.where(targets["pseudo"], share, 1.0)}


def repeated(data: Data) -> dict[str, int]:
    """Returns {file: how often an epoch of training has its records}, sorted. Of two globs with a file the last counts.

    Raises:
      UserError: as in `files`.
    """
    found = dict.fromkeys(files(data.input_path, TRAIN_PATH), 1)
    for pattern, times in zip(patterns(data.input_path), data.repeats, strict=False):  # checked before
        found |= dict.fromkeys(files([pattern], TRAIN_PATH), times)
    return found


def records_from(data: Data, start: Start) -> tf.data.Dataset:
    """Returns serialised training records from `start` on, see `order.records_from`."""
    found = repeated(data)
    parts = []
    for times in sorted({*found.values()}):
        paths = tuple(path for path in found if found[path] == times)
        folders = {os.path.dirname(path) for path in paths} if len({*found.values()}) > 1 else ()
        parts.append(order.Part(paths, times, sum(manifest.read(folder).records for folder in folders)))
    return order.records_from(parts, data.shuffle_buffer, data.seed, start)


def training(reader: Reader, data: Data, start: Start, context: tf.distribute.InputContext | None) -> tf.data.Dataset:
    """Returns batches for training, from `start` on."""
    dataset = records_from(data, start).enumerate(start.images)
    dataset, batch_size = _share(dataset, data.global_batch_size, context)

    @tf.autograph.experimental.do_not_convert  # nothing branches on a tensor in Python, and converting takes seconds
    def element(index: tf.Tensor, serialized: tf.Tensor) -> dict[str, Any]:
        seed = tf.stack([tf.constant(data.seed, tf.int64), index])
        built = reader.element(
            serialized, index, lambda original: geometry.random_warp(original, reader.size, data.augmentation, seed)
        )
        for name, config in reader.configs.items():
            if config.pseudo_ramp_steps:
                step = index // data.global_batch_size
                built["targets"][name] = with_ramped_weight(built["targets"][name], step, config.pseudo_ramp_steps)
        return built

    return _batches(dataset, element, batch_size)


def evaluation(reader: Reader, data: Data, count: int, context: tf.distribute.InputContext | None) -> tf.data.Dataset:
    """Returns batches of all `count` images, each exactly once, fitted and without targets.

    The last batch is filled up with images of index -1: shapes stay static, and every replica has as many batches.
    Several processes each have one part of the set, so that their metrics can be merged in its order.
    """
    paths = files(data.input_path, "task.validation_data.input_path")
    records = tf.data.TFRecordDataset(paths).enumerate()
    filler = tf.data.TFRecordDataset(paths).take(1).repeat(-count % data.global_batch_size)
    records = records.concatenate(filler.map(lambda serialized: (tf.constant(-1, tf.int64), serialized)))
    if context is not None and cluster.processes() > 1:
        part = (count + -count % data.global_batch_size) // context.num_input_pipelines
        dataset = records.skip(part * context.input_pipeline_id).take(part)
        batch_size = context.get_per_replica_batch_size(data.global_batch_size)
    else:
        dataset, batch_size = _share(records, data.global_batch_size, context)

    @tf.autograph.experimental.do_not_convert
    def element(index: tf.Tensor, serialized: tf.Tensor) -> dict[str, Any]:
        parsed = tf.io.parse_single_example(serialized, record.IMAGE_FEATURES)
        image = record.decode_image(assertions.bounded(parsed["image/encoded"]))
        return reader.view(image, geometry.fit(tf.shape(image)[:2], reader.size), index)

    return _batches(dataset, element, batch_size)


def _batches(dataset: tf.data.Dataset, element: Callable[..., Any], batch_size: int) -> tf.data.Dataset:
    """Maps and batches a dataset in order, on all cores, ahead of the training step.

    The parallelism is fixed because autotuning would delay the end of each evaluation and of the run.
    """
    dataset = dataset.map(element, num_parallel_calls=CORES, deterministic=True)
    return record.without_autotune(dataset.batch(batch_size, drop_remainder=True).prefetch(AHEAD))


def _share(
    dataset: tf.data.Dataset, global_batch_size: int, context: tf.distribute.InputContext | None
) -> tuple[tf.data.Dataset, int]:
    """Returns this worker's share of the records, and the batch size of one replica."""
    if context is None:
        return dataset, global_batch_size
    if context.num_input_pipelines > 1:
        dataset = dataset.shard(context.num_input_pipelines, context.input_pipeline_id)
    return dataset, context.get_per_replica_batch_size(global_batch_size)
