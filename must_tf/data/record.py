"""The record format: one tf.train.Example holds one image and its labels for any number of tasks, real or pseudo.

| key | value |
|---|---|
| `image/encoded` | bytes, JPEG or PNG, without an EXIF orientation: as the labels lie on it |
| `image/format`, `height`, `width`, `source_id`, `filename`, `key/sha256` | as in Model Garden; sizes in pixels |
| `image/<task>/origin` | bytes, `real:<dataset>` or `pseudo:<teacher id>`; absent if unlabelled for the task |
| `image/<task>/annotated` | int64, the class ids that were annotated, counted like the task's; absent: all classes |

Each task's `labels.py` documents its own keys.

Absent is not the same as empty. An image without an origin is unlabelled for the task. An image with an origin and no
objects is labelled, and shows none. A dataset that covers only some of the classes says nothing about the others:
`annotated` keeps those from being treated as background.

A map, `image/<task>/.../encoded`, is a PNG of the image's size, or of half of its height and width, rounded up: then
each pixel stands for 2 x 2 pixels of the image.

Labels are NumPy arrays in the original image's frame. Images are uint8 [height, width, 3], RGB.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from must_tf.common.errors import UserError
from must_tf.data import assertions, host_png, opening, resample
from must_tf.data.opening import info_of as info_of
from must_tf.data.opening import origins_of as origins_of
from must_tf.spec import ImageInfo, Labels, TaskSpec

IMAGE_FEATURES = {
    "image/encoded": tf.io.FixedLenFeature([], tf.string, ""),
    "image/source_id": tf.io.FixedLenFeature([], tf.string, ""),
}


class Labelled(NamedTuple):
    """One task's labels of one image.

    `annotated` None means all classes. An explicit list of every class is not the same: the manifest counts it as
    partial. If none of the classes was annotated, the image has no `Labelled` for the task at all.
    """

    labels: Labels
    origin: str  # "real:coco" or "pseudo:1a2b3c"
    annotated: tuple[int, ...] | None = None  # the class ids that were annotated


def bytes_feature(values: list[bytes]) -> tf.train.Feature:
    """Returns a feature of byte strings."""
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))


def float_feature(values: Any) -> tf.train.Feature:
    """Returns a float32 feature; arrays are flattened."""
    return tf.train.Feature(float_list=tf.train.FloatList(value=np.ravel(values).tolist()))


def int_feature(values: Any) -> tf.train.Feature:
    """Returns an int64 feature; arrays are flattened."""
    return tf.train.Feature(int64_list=tf.train.Int64List(value=np.ravel(values).astype(int).tolist()))


def origin_key(task: str) -> str:
    """Returns the key that holds the origin of a task's labels."""
    return f"image/{task}/origin"


def pseudo_origin(teacher_id: str) -> str:
    """Returns the origin of a teacher's pseudo labels."""
    return f"pseudo:{teacher_id}"


def is_pseudo(origin: str) -> bool:
    """Returns True if the labels are a teacher's pseudo labels, not a dataset's."""
    return origin.startswith("pseudo:")


def annotated_key(task: str) -> str:
    """Returns the key that lists the annotated class ids of a task. If it is absent, all classes were annotated."""
    return f"image/{task}/annotated"


def annotated_of(example: tf.train.Example, task: str) -> tuple[int, ...] | None:
    """Returns the class ids that were annotated in this image, ascending; None means all classes."""
    key = annotated_key(task)
    ids = example.features.feature[key].int64_list.value if key in example.features.feature else ()
    return tuple(ids) or None


def annotated_mask(ids: tf.SparseTensor, classes: int, task: str) -> tf.Tensor:
    """Returns bool [classes + 1]: True at i if class id i was annotated. Fits tasks that count from 0 or from 1.

    Args:
      ids: the record's `annotated`, int64; empty means all classes.
      classes: the number of the task's classes.
      task: the task's name, for the error message if an id is out of range.
    """
    dense = tf.sparse.to_dense(ids)
    same = dense[:, None] == tf.range(classes + 1, dtype=tf.int64)  # [N, C + 1]
    if classes:
        known = tf.reduce_all(tf.reduce_any(same, axis=1))
        same = assertions.required(same, known, f"{task} annotated: class ids must be below {classes + 1}", dense)
    mask = tf.reduce_any(same, axis=0)
    return tf.ensure_shape(mask | tf.equal(tf.size(dense), 0), [classes + 1])


def label_features(
    labelled: Mapping[str, Labelled], info: ImageInfo, specs: Mapping[str, TaskSpec]
) -> dict[str, tf.train.Feature]:
    """Returns the features of all these labels, with their origins and annotated classes.

    Tasks that share keys must agree on the number of objects.
    """
    features: dict[str, tf.train.Feature] = {}
    for task in sorted(labelled, key=lambda name: len(specs[name].needs)):
        features |= specs[task].write(labelled[task].labels, info)
        features[origin_key(task)] = bytes_feature([labelled[task].origin.encode()])
        # Tasks that share their objects also share the annotated classes.
        shared = [labelled[name].annotated for name in (task, *specs[task].needs) if name in labelled]
        annotated = next((ids for ids in shared if ids is not None), None)
        if annotated is not None:
            features[annotated_key(task)] = _annotated_feature(annotated, task, info)
    return features


def _annotated_feature(annotated: tuple[int, ...], task: str, info: ImageInfo) -> tf.train.Feature:
    if not annotated:  # an empty list would be read as "all classes"
        raise ValueError(f"{info.source_id}: no class of {task} was annotated. Leave the labels of this task out.")
    return int_feature(sorted(set(annotated)))


def encode(
    image: bytes, info: ImageInfo, labelled: Mapping[str, Labelled], specs: Mapping[str, TaskSpec], filename: str = ""
) -> bytes:
    """Returns a record as a serialised tf.train.Example. The same input gives the same bytes.

    Args:
      image: JPEG or PNG bytes of `info.height` x `info.width` pixels, upright.
      info: the image's id and size.
      labelled: {task: labels}, without the tasks that the image is unlabelled for.
      specs: {task: spec}, see `must_tf.tasks.discover`.
      filename: name of the source file, for the reader's information only.
    """
    features = {
        "image/encoded": bytes_feature([image]),
        "image/format": bytes_feature([image_format(image).encode()]),
        "image/height": int_feature([info.height]),
        "image/width": int_feature([info.width]),
        "image/source_id": bytes_feature([info.source_id.encode()]),
        "image/filename": bytes_feature([filename.encode()]),
        "image/key/sha256": bytes_feature([hashlib.sha256(image).hexdigest().encode()]),
    } | label_features(labelled, info, specs)
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString(deterministic=True)


def merge(serialized: bytes, labelled: Mapping[str, Labelled], specs: Mapping[str, TaskSpec]) -> bytes:
    """Returns the record with these labels. They replace older labels of the same tasks; everything else stays."""
    example = opening.parsed(serialized)
    for task in labelled:
        # Remove every key of the task: otherwise an old confidence could remain beside a new map.
        for key in (annotated_key(task), *_keys(specs[task].features, specs[task].Config)):  # type: ignore[arg-type]
            example.features.feature.pop(key, None)
    for key, feature in label_features(labelled, info_of(example), specs).items():
        example.features.feature[key].CopyFrom(feature)
    return example.SerializeToString(deterministic=True)


@functools.cache
def _keys(features: Callable[[Any], Mapping[str, Any]], config: Callable[[], Any]) -> tuple[str, ...]:
    """Returns the keys of a task's labels. Kept, because Model Garden's Config reads its type hints for every field."""
    return tuple(features(config()))


def image_format(image: bytes) -> str:
    """Returns "jpeg" or "png", judged by the file's first bytes."""
    if image[:3] == b"\xff\xd8\xff":
        return "jpeg"
    if image[:8] == b"\x89PNG\r\n\x1a\n":
        return "png"
    raise UserError("An image is neither JPEG nor PNG, and records hold no other format. Convert the image first.")


def content_of(example: tf.train.Example) -> str:
    """Returns the SHA-256 of the image's encoded bytes as hex digits: the same for a photo in every dataset and format.

    Raises:
      BadRecord: the record has no image, or the stored digits are not a SHA-256.
    """
    return opening.content_hash(example.features.feature) or hashlib.sha256(opening.image_of(example)).hexdigest()


def parse(serialized: tf.Tensor, specs: Mapping[str, TaskSpec], configs: Mapping[str, Any]) -> dict[str, tf.Tensor]:
    """Parses the image's features and those of the tasks in `configs`; images and maps stay encoded."""
    features = dict(IMAGE_FEATURES)
    for name in configs:
        features |= specs[name].features(configs[name])
        features[origin_key(name)] = tf.io.FixedLenFeature([], tf.string, "")
        features[annotated_key(name)] = tf.io.VarLenFeature(tf.int64)
    return tf.io.parse_single_example(serialized, features)


def decode_image(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes JPEG or PNG bytes to uint8 [h, w, 3]. Training, evaluation, labelling and serving all use it.

    The DCT method is set because TensorFlow's default differs between builds, enough to change a model's output.
    """
    jpeg = tf.equal(tf.strings.substr(encoded, 0, 3), b"\xff\xd8\xff")
    image = tf.cond(
        jpeg,
        lambda: tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE"),
        lambda: tf.io.decode_png(encoded, channels=3),
    )
    return tf.ensure_shape(image, [None, None, 3])


def without_autotune(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Returns the dataset with autotuning disabled.

    The autotune thread sleeps for longer and longer periods, up to a minute, and closing an iterator waits for it:
    reading a shard for half a minute was followed by a wait of the same length.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def decode_map(
    encoded: tf.Tensor, size: tf.Tensor, channels: int, dtype: tf.DType, fill: int, as_stored: bool = False
) -> tf.Tensor:
    """Decodes a label map from PNG to [h, w, channels] of type `dtype`: uint8, or uint16 for 16-bit files.

    Args:
      encoded: PNG bytes, of the image's size or of half of it; empty if the record has no such map.
      size: [2] int32 height and width of the image. A map of another size fails before it is decoded.
      channels: 1 or 3.
      dtype: tf.uint8 or tf.uint16.
      fill: the value of every pixel if `encoded` is empty.
      as_stored: do not enlarge a map of half the size.
    """

    def decoded() -> tf.Tensor:
        found = assertions.png_sizes(encoded)[0]
        is_whole = tf.reduce_all(found == size)
        # A branch, because most maps are whole and need no further check.
        file = tf.cond(is_whole, lambda: encoded, lambda: assertions.half(encoded, found, size))
        values = tf.io.decode_png(file, channels=channels, dtype=dtype)
        return values if as_stored else tf.cond(is_whole, lambda: values, lambda: resample.enlarged(values, size))

    values = tf.cond(
        tf.equal(tf.strings.length(encoded), 0),
        lambda: tf.fill(tf.concat([size, [channels]], 0), tf.cast(fill, dtype)),
        decoded,
    )
    return tf.ensure_shape(values, [None, None, channels])


def label_tensors(
    serialized: tf.Tensor, size: tf.Tensor, specs: Mapping[str, TaskSpec], configs: Mapping[str, Any]
) -> dict[str, dict[str, tf.Tensor]]:
    """Reads one record's labels as {task: {key: tensor}} in the original frame, eagerly or in a graph.

    Args:
      serialized: [] string, the record.
      size: [2] int32 height and width of the original image; or [T, 2], of each task's maps, see `label_reader`.
      specs: {task: spec}.
      configs: {task: config} of the tasks to read.
    """
    return dict(_tensors_in_turn(serialized, size, specs, configs))


def _tensors_in_turn(
    serialized: tf.Tensor, size: tf.Tensor, specs: Mapping[str, TaskSpec], configs: Mapping[str, Any]
) -> Iterator[tuple[str, dict[str, tf.Tensor]]]:
    parsed = parse(serialized, specs, configs)
    for name, config in configs.items():
        annotated_mask(parsed[annotated_key(name)], len(config.classes), name)  # raises if an id is out of range
    sizes = tf.unstack(tf.broadcast_to(size, [len(configs), 2]))
    for (name, config), of_task in zip(configs.items(), sizes, strict=True):
        yield name, specs[name].read(parsed, of_task, config)


def to_labelled(example: tf.train.Example, tensors: Mapping[str, Mapping[str, tf.Tensor]]) -> dict[str, Labelled]:
    """Converts labels to NumPy. Tasks that the image is unlabelled for are left out.

    Args:
      example: the record.
      tensors: its `label_tensors`, with values.
    """
    labelled = {}
    for name, origin in origins_of(example).items():
        if name in tensors:
            labels = {key: _to_numpy(value) for key, value in tensors[name].items()}
            labelled[name] = Labelled(_without_absent(labels), origin, annotated_of(example, name))
    return labelled


def _without_absent(labels: Labels) -> Labels:
    """Returns the labels without the optional maps that a record does not have: those of [0, 0] pixels."""
    return {key: value for key, value in labels.items() if isinstance(value, list) or value.shape[:2] != (0, 0)}


def read_labels(serialized: bytes, specs: Mapping[str, TaskSpec], configs: Mapping[str, Any]) -> dict[str, Labelled]:
    """Reads the labels of one record as NumPy, in the original frame.

    Tasks that the image is unlabelled for are left out. To read many records, use `label_reader`: it is faster.
    """
    return dict(labels_in_turn(serialized, specs, configs))


def labels_in_turn(
    serialized: bytes, specs: Mapping[str, TaskSpec], configs: Mapping[str, Any]
) -> Iterator[tuple[str, Labelled]]:
    """Yields each task and its labels. All maps of the largest image take 3 GB, one task's at most 1.2 GB."""
    example = opening.parsed(serialized)
    present = {name: configs[name] for name in origins_of(example) if name in configs}
    opening.require(example, specs, present)
    info = info_of(example)
    size = tf.constant([info.height, info.width])
    for name, tensors in _tensors_in_turn(tf.constant(serialized), size, specs, present):
        labelled = to_labelled(example, {name: tensors})
        del tensors  # the same maps once more
        yield from labelled.items()
        del labelled  # before the next task's are read


def _to_numpy(value: tf.Tensor) -> Any:
    """Converts a tensor to NumPy. Strings are PNGs of masks: they become a list of uint8 arrays of 0 and 1."""
    if value.dtype != tf.string:
        return value.numpy()
    return [host_png.decoded_mask(png) for png in value.numpy()]
