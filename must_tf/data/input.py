"""From records to batches. Order and augmentation are functions of (seed, epoch, index), never of thread timing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf
from official.modeling import hyperparams

from must_tf.common import devices
from must_tf.common.errors import UserError
from must_tf.config.fields import at_least
from must_tf.data import geometry, record
from must_tf.spec import TaskSpec

READ_AT_ONCE = 16  # files that are interleaved; enough to mix, few enough to hold open
AHEAD = 2  # batches; one is taken while the next is made
# That this process may use; a batch system gives it some of the machine's.
CORES = devices.cores()


@dataclasses.dataclass
class Data(hyperparams.Config):
    """One or several record sets, united: every image is equally likely.

    Attributes:
      input_path: one glob or a list of globs of record files; beside them lies their manifest.json.
      global_batch_size: over all replicas.
      shuffle_buffer: records that are mixed, on top of the order of the files.
      seed: of order and augmentation.
      augmentation: what is drawn per training image.
    """

    input_path: str | tuple[str, ...] = ""
    global_batch_size: int = at_least(8, 1)
    is_training: bool = False
    shuffle_buffer: int = at_least(1000, 1)
    seed: int = 1
    augmentation: geometry.Augmentation = dataclasses.field(default_factory=geometry.Augmentation)


def patterns(input_path: str | Sequence[str]) -> list[str]:
    """The globs of a config's `input_path`, which may be one text with commas or a list."""
    parts = input_path.split(",") if isinstance(input_path, str) else list(input_path)
    return [part.strip() for part in parts if part.strip()]


def files(input_path: str | Sequence[str], where: str) -> list[str]:
    """All record files, sorted. Raises UserError when a glob matches nothing; `where` is the config's key."""
    globs = patterns(input_path)
    if not globs:
        raise UserError(f"{where} is empty; give the record files, for instance {where}=records/train/*.tfrecord")
    found = []
    for pattern in globs:
        matched = tf.io.gfile.glob(pattern)
        if not matched:
            raise UserError(f"{where}: no file matches {pattern!r}. Is the path right, and in quotes?")
        found += matched
    return sorted(set(found))


@dataclasses.dataclass(frozen=True)
class Reader:
    """What turns a record into an element: the tasks in use, their configs, the network's input size."""

    specs: Mapping[str, TaskSpec]
    configs: Mapping[str, Any]
    size: int

    def element(self, serialized: tf.Tensor, index: tf.Tensor, warp_of: Any) -> dict[str, Any]:
        """Image uint8 [S, S, 3], image_info int32 [4], index int64, and the targets by task.

        `image_info` is height and width of the original, then of the scaled image.
        """
        parsed = record.parse(serialized, self.specs, self.configs)
        image = record.decode_image(parsed["image/encoded"])
        original = tf.shape(image)[:2]
        warp = warp_of(original)
        targets = {name: self._targets(name, parsed, original, warp) for name in self.configs}
        return self.view(image, warp, index) | {"targets": targets}

    def view(self, image: tf.Tensor, warp: geometry.Warp, index: tf.Tensor) -> dict[str, Any]:
        """The part of an element that needs no labels."""
        return {
            "image": geometry.warp_image(image, warp),
            "image_info": tf.concat([warp.original, warp.scaled], 0),
            "image_shape": tf.cast(geometry.shown(warp), tf.float32),
            "index": index,
        }

    def _targets(self, name: str, parsed: Any, original: tf.Tensor, warp: geometry.Warp) -> dict[str, tf.Tensor]:
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


def ordered_records(paths: Sequence[str], buffer: int, seed: int, first: int = 0) -> tf.data.Dataset:
    """Endless serialised records: every epoch, from `first` on, has all once, in an order drawn from (seed, epoch)."""
    names = tf.constant(list(paths))

    def epoch(number: tf.Tensor) -> tf.data.Dataset:
        order = tf.random.experimental.stateless_shuffle(tf.range(len(paths)), seed=[seed, number])
        records = tf.data.Dataset.from_tensor_slices(tf.gather(names, order)).interleave(
            tf.data.TFRecordDataset, cycle_length=min(READ_AT_ONCE, len(paths))
        )
        return records.shuffle(buffer, seed=seed + number, reshuffle_each_iteration=False)

    return tf.data.Dataset.range(first, 2**31 - 1).flat_map(epoch)


class Start(NamedTuple):
    """Where training begins: after `images` of an order in which every epoch has `epoch` of them (0: not known)."""

    images: int = 0
    epoch: int = 0


def records_from(data: Data, start: Start) -> tf.data.Dataset:
    """Serialised records from `start` on: a resumed run goes on where it was, and reads no whole epoch for that."""
    paths = files(data.input_path, "task.train_data.input_path")
    epochs, images = divmod(start.images, start.epoch) if start.epoch else (0, start.images)
    return ordered_records(paths, data.shuffle_buffer, data.seed, epochs).skip(images)


def ramped(targets: dict[str, tf.Tensor], step: tf.Tensor, over: int) -> dict[str, tf.Tensor]:
    """Targets of one image whose weight, where the label is a teacher's, has grown for `step` of `over` steps.

    Linear from 0, as in Lee, "Pseudo-Label", ICML workshops 2013, with T1 = 0. A function of the image's place
    in the training order alone, so a run that is resumed needs to remember nothing.
    """
    share = tf.minimum(tf.cast(step, tf.float32) / over, 1.0)
    return targets | {"weight": targets["weight"] * tf.where(targets["pseudo"], share, 1.0)}


def training(reader: Reader, data: Data, start: Start, context: tf.distribute.InputContext | None) -> tf.data.Dataset:
    """Batches for training, from `start` on."""
    dataset = records_from(data, start).enumerate(start.images)
    dataset, batch_size = _share(dataset, data.global_batch_size, context)

    @tf.autograph.experimental.do_not_convert  # nothing branches on a tensor in Python, and converting takes seconds
    def element(index: tf.Tensor, serialized: tf.Tensor) -> dict[str, Any]:
        seed = tf.stack([tf.constant(data.seed, tf.int64), index])
        made = reader.element(
            serialized, index, lambda original: geometry.draw(original, reader.size, data.augmentation, seed)
        )
        for name, config in reader.configs.items():
            if config.pseudo_ramp_steps:
                step = index // data.global_batch_size
                made["targets"][name] = ramped(made["targets"][name], step, config.pseudo_ramp_steps)
        return made

    return _batches(dataset, element, batch_size)


def evaluation(reader: Reader, data: Data, count: int, context: tf.distribute.InputContext | None) -> tf.data.Dataset:
    """Every image exactly once, fitted, without targets. The last batch is filled up with images of index -1, so that
    shapes are static and every replica has as many batches."""
    paths = files(data.input_path, "task.validation_data.input_path")
    records = tf.data.TFRecordDataset(paths).enumerate()
    filler = tf.data.TFRecordDataset(paths).take(1).repeat(-count % data.global_batch_size)
    records = records.concatenate(filler.map(lambda serialized: (tf.constant(-1, tf.int64), serialized)))
    dataset, batch_size = _share(records, data.global_batch_size, context)

    @tf.autograph.experimental.do_not_convert
    def element(index: tf.Tensor, serialized: tf.Tensor) -> dict[str, Any]:
        parsed = tf.io.parse_single_example(serialized, record.IMAGE_FEATURES)
        image = record.decode_image(parsed["image/encoded"])
        return reader.view(image, geometry.fit(tf.shape(image)[:2], reader.size), index)

    return _batches(dataset, element, batch_size)


def _batches(dataset: tf.data.Dataset, element: Callable[..., Any], batch_size: int) -> tf.data.Dataset:
    """Elements in order, made on all cores, and batches of them ahead of the step.

    As many as there are cores from the start, not tuned: else the end of each evaluation and of a run would wait.
    """
    dataset = dataset.map(element, num_parallel_calls=CORES, deterministic=True)
    return record.untuned(dataset.batch(batch_size, drop_remainder=True).prefetch(AHEAD))


def _share(
    dataset: tf.data.Dataset, global_batch_size: int, context: tf.distribute.InputContext | None
) -> tuple[tf.data.Dataset, int]:
    """This worker's records, and its batch size per replica."""
    if context is None:
        return dataset, global_batch_size
    if context.num_input_pipelines > 1:
        dataset = dataset.shard(context.num_input_pipelines, context.input_pipeline_id)
    return dataset, context.get_per_replica_batch_size(global_batch_size)
