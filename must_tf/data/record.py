"""The record: one tf.train.Example is one image with any number of labels, real or pseudo.

| key | value |
|---|---|
| `image/encoded`, `format`, `height`, `width`, `source_id`, `filename` | as in Model Garden; upright, EXIF applied |
| `image/<task>/origin` | absent: nobody looked. `real:<dataset>` or `pseudo:<teacher id>`: somebody did |
| `image/<task>/annotated` | int64, the class ids (as the task counts them) that were looked for; absent: all of them |

Each task's own keys stand in its `labels.py`. Absent is not empty: an image without an origin for a task is
unlabelled for it, an image with an origin and no objects shows none. A dataset that knows only some of the classes says
nothing about the others: `annotated` keeps them from being taken for background.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import cv2
import numpy as np
import tensorflow as tf

from must_tf.common.errors import UserError
from must_tf.spec import ImageInfo, Labels, TaskSpec

# Of PNG's filters the one that TensorFlow reads fastest: each row as the difference from the one above. Beside OpenCV's
# own choice reading takes a sixth to three quarters less. Predicted classes, confidence and depth take a third less
# room, normals as much; a Kinect's depth with its holes takes a third more, its normals a seventh.
MAP_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP]

IMAGE_FEATURES = {
    "image/encoded": tf.io.FixedLenFeature([], tf.string, ""),
    "image/source_id": tf.io.FixedLenFeature([], tf.string, ""),
}


class Labelled(NamedTuple):
    """One task's labels of one image, where they come from ("real:coco", "pseudo:1a2b3c"), and which class ids were
    looked for. None: all, which a list of all does not say to the manifest. An image for which none of the task's
    classes was looked for has no labels for it."""

    labels: Labels
    origin: str
    annotated: tuple[int, ...] | None = None


def bytes_feature(values: list[bytes]) -> tf.train.Feature:
    """A feature of byte strings."""
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))


def float_feature(values: Any) -> tf.train.Feature:
    """A feature of float32, flattened."""
    return tf.train.Feature(float_list=tf.train.FloatList(value=np.ravel(values).tolist()))


def int_feature(values: Any) -> tf.train.Feature:
    """A feature of int64, flattened."""
    return tf.train.Feature(int64_list=tf.train.Int64List(value=np.ravel(values).astype(int).tolist()))


def origin_key(task: str) -> str:
    """Where a record says who labelled it for `task`."""
    return f"image/{task}/origin"


def pseudo(teacher_id: str) -> str:
    """The origin of a teacher's labels."""
    return f"pseudo:{teacher_id}"


def is_pseudo(origin: str) -> bool:
    """Whether a teacher said so, rather than a dataset."""
    return origin.startswith("pseudo:")


def annotated_key(task: str) -> str:
    """Where a record says which of the task's class ids were looked for; without it, all of them."""
    return f"image/{task}/annotated"


def annotated_of(example: tf.train.Example, task: str) -> tuple[int, ...] | None:
    """The class ids that were looked for in this image, ascending; None: all."""
    key = annotated_key(task)
    ids = example.features.feature[key].int64_list.value if key in example.features.feature else ()
    return tuple(ids) or None


def annotated_mask(ids: tf.SparseTensor, classes: int, task: str) -> tf.Tensor:
    """bool [classes + 1]: whether id i was looked for, for tasks that count from 0 as for those that count from 1.

    Args:
      ids: the record's `annotated`, int64; empty: all.
      classes: how many the task has.
      task: for the message that ends the read where an id lies beyond them.
    """
    dense = tf.sparse.to_dense(ids)
    dense = known_ids(dense, tf.ones_like(dense, tf.bool), classes and classes + 1, f"{task} annotated")
    mask = tf.reduce_any(dense[:, None] == tf.range(classes + 1, dtype=tf.int64), axis=0)
    return tf.ensure_shape(mask | tf.equal(tf.size(dense), 0), [classes + 1])


def label_features(
    labelled: Mapping[str, Labelled], info: ImageInfo, specs: Mapping[str, TaskSpec]
) -> dict[str, tf.train.Feature]:
    """All keys of these labels, origins included. Tasks that share keys must agree on their number of objects."""
    features: dict[str, tf.train.Feature] = {}
    for task in sorted(labelled, key=lambda name: len(specs[name].needs)):
        features |= specs[task].write(labelled[task].labels, info)
        features[origin_key(task)] = bytes_feature([labelled[task].origin.encode()])
        # Tasks that share their objects share what was looked for.
        said = [labelled[name].annotated for name in (task, *specs[task].needs) if name in labelled]
        annotated = next((ids for ids in said if ids is not None), None)
        if annotated is not None:
            features[annotated_key(task)] = _annotated_feature(annotated, task, info)
    return features


def _annotated_feature(annotated: tuple[int, ...], task: str, info: ImageInfo) -> tf.train.Feature:
    if not annotated:  # an empty list would be read as "all"
        raise ValueError(f"{info.source_id}: no class of {task} was looked for; leave its labels out.")
    return int_feature(sorted(set(annotated)))


def encode(
    image: bytes, info: ImageInfo, labelled: Mapping[str, Labelled], specs: Mapping[str, TaskSpec], filename: str = ""
) -> bytes:
    """A serialised Example.

    Args:
      image: JPEG or PNG bytes of `info.height` x `info.width` pixels, upright.
      info: the image's id and size.
      labelled: the labels by task; a task that nobody looked for is not in it.
      specs: `must_tf.tasks.discover()`.
      filename: the source file's name, kept for people.
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
    """The same record with these labels added; those tasks' older keys go, all others stay."""
    example = tf.train.Example.FromString(serialized)
    for task in labelled:
        # Also those that the new labels do not need, or else an old confidence would belong to a new map.
        for key in (annotated_key(task), *specs[task].features(specs[task].Config())):
            example.features.feature.pop(key, None)
    for key, feature in label_features(labelled, info_of(example), specs).items():
        example.features.feature[key].CopyFrom(feature)
    return example.SerializeToString(deterministic=True)


def image_format(image: bytes) -> str:
    """ "jpeg" or "png", by the first bytes and not by any name."""
    if image[:3] == b"\xff\xd8\xff":
        return "jpeg"
    if image[:8] == b"\x89PNG\r\n\x1a\n":
        return "png"
    raise UserError("an image in a record must be JPEG or PNG; convert it with must-records.")


def info_of(example: tf.train.Example) -> ImageInfo:
    """The image's id and size as the record states them."""
    feature = example.features.feature
    return ImageInfo(
        feature["image/source_id"].bytes_list.value[0].decode(),
        feature["image/height"].int64_list.value[0],
        feature["image/width"].int64_list.value[0],
    )


def origins_of(example: tf.train.Example) -> dict[str, str]:
    """{task: origin} of the tasks for which somebody labelled this image."""
    found = {}
    for key, feature in example.features.feature.items():
        if key.startswith("image/") and key.endswith("/origin") and feature.bytes_list.value:
            found[key.split("/")[1]] = feature.bytes_list.value[0].decode()
    return found


def parse(serialized: tf.Tensor, specs: Mapping[str, TaskSpec], configs: Mapping[str, Any]) -> dict[str, tf.Tensor]:
    """The image's and the given tasks' features of one serialised Example, still encoded."""
    features = dict(IMAGE_FEATURES)
    for name in configs:
        features |= specs[name].features(configs[name])
        features[origin_key(name)] = tf.io.FixedLenFeature([], tf.string, "")
        features[annotated_key(name)] = tf.io.VarLenFeature(tf.int64)
    return tf.io.parse_single_example(serialized, features)


def decode_image(encoded: tf.Tensor) -> tf.Tensor:
    """JPEG or PNG bytes -> uint8 [h, w, 3]. Train, evaluate, label and serve all decode here.

    The DCT is named because TensorFlow's default for it differs between builds, and a model sees the difference.
    """
    jpeg = tf.equal(tf.strings.substr(encoded, 0, 3), b"\xff\xd8\xff")
    image = tf.cond(
        jpeg,
        lambda: tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE"),
        lambda: tf.io.decode_png(encoded, channels=3),
    )
    return tf.ensure_shape(image, [None, None, 3])


def untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The same, without TensorFlow's tuning: its thread sleeps ever longer, up to a minute, and an iterator's end waits
    for it. Shards that take half a minute each were followed by as long a wait."""
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def encode_map(values: np.ndarray) -> bytes:
    """A map of labels uint8 or uint16 [h, w] or uint8 [h, w, 3] as PNG, exact."""
    return cv2.imencode(".png", values[..., ::-1] if values.ndim == 3 else values, MAP_PNG)[1].tobytes()


def decode_map(encoded: tf.Tensor, size: tf.Tensor, channels: int, dtype: tf.DType, fill: int) -> tf.Tensor:
    """A PNG of labels [h, w, channels]; all `fill` where the record has none. 16-bit is read as 16-bit."""
    values = tf.cond(
        tf.equal(tf.strings.length(encoded), 0),
        lambda: tf.fill(tf.concat([size, [channels]], 0), tf.cast(fill, dtype)),
        lambda: tf.io.decode_png(encoded, channels=channels, dtype=dtype),
    )
    return tf.ensure_shape(values, [None, None, channels])


def known_ids(ids: tf.Tensor, known: tf.Tensor, count: int, what: str) -> tf.Tensor:
    """The ids, once it is sure that those that are `known` are below `count`. Model Garden trains others as background
    or with a loss of 0, without a word. Without class names (count 0) nothing can be said."""
    if not count:
        return ids
    # In the ids' own type: in a map of bytes that is a quarter of the work.
    highest = tf.cast(tf.reduce_max(tf.where(known, ids, tf.zeros([], ids.dtype))), tf.int32)
    fits = tf.debugging.assert_less(highest, count, f"{what}: an id beyond its {count} classes")
    with tf.control_dependencies([fits] if fits is not None else []):
        return tf.identity(ids)


def label_tensors(
    serialized: tf.Tensor, size: tf.Tensor, specs: Mapping[str, TaskSpec], configs: Mapping[str, Any]
) -> dict[str, dict[str, tf.Tensor]]:
    """What each of these tasks reads in one record, original frame [2] int32, eager or in a graph."""
    parsed = parse(serialized, specs, configs)
    for name, config in configs.items():
        annotated_mask(parsed[annotated_key(name)], len(config.classes), name)  # refuses ids that do not exist
    return {name: specs[name].read(parsed, size, config) for name, config in configs.items()}


def labelled(example: tf.train.Example, tensors: Mapping[str, Mapping[str, tf.Tensor]]) -> dict[str, Labelled]:
    """The labels as NumPy; tasks that nobody looked for are missing.

    Args:
      example: the record.
      tensors: what `label_tensors` gives of it, with values.
    """
    found = {}
    for name, origin in origins_of(example).items():
        if name in tensors:
            labels = {key: _to_numpy(value) for key, value in tensors[name].items()}
            found[name] = Labelled(labels, origin, annotated_of(example, name))
    return found


def read_labels(serialized: bytes, specs: Mapping[str, TaskSpec], configs: Mapping[str, Any]) -> dict[str, Labelled]:
    """The labels of one record as NumPy, original frame; tasks that nobody looked for are missing."""
    example = tf.train.Example.FromString(serialized)
    present = {name: configs[name] for name in origins_of(example) if name in configs}
    info = info_of(example)
    size = tf.constant([info.height, info.width])
    return labelled(example, label_tensors(tf.constant(serialized), size, specs, present))


def _to_numpy(value: tf.Tensor) -> Any:
    """A tensor as NumPy; strings are PNGs of masks and become a list of uint8 arrays in {0, 1}."""
    if value.dtype != tf.string:
        return value.numpy()
    return [tf.io.decode_png(png, channels=1).numpy()[..., 0] // 255 for png in value.numpy()]
