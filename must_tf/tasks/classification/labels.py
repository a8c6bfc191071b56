"""`image/class/label` int64, the hard label; `image/class/probability` the distribution, float16 little-endian
(1,000 classes: 2 KB), only where it is not one-hot. Precision of a probability: 2^-11 relative, and as much again
because the sum is made 1 on reading."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from must_tf.common import finite
from must_tf.common.errors import UserError
from must_tf.data import record
from must_tf.data.geometry import Warp
from must_tf.shared import thresholds
from must_tf.spec import Features, ImageInfo, Labels, TaskConfig, Tensors

if TYPE_CHECKING:
    from must_tf.tasks.classification import Config


LABEL = "image/class/label"
PROBABILITY = "image/class/probability"


def features(config: Config) -> dict[str, Any]:
    """The parsing spec of both keys."""
    del config
    return {
        LABEL: tf.io.FixedLenFeature([], tf.int64, -1),
        PROBABILITY: tf.io.FixedLenFeature([], tf.string, ""),
    }


def read(parsed: Tensors, size: tf.Tensor, config: Config) -> Tensors:
    """Labels: `probability` float32 [C]."""
    del size
    count = len(config.classes)
    label = record.checked_ids(parsed[LABEL], parsed[LABEL] >= 0, count, "classification")
    hard = tf.one_hot(label, count)
    soft = tf.cast(tf.io.decode_raw(parsed[PROBABILITY], tf.float16), tf.float32)
    is_soft = tf.strings.length(parsed[PROBABILITY]) > 0
    probability = tf.cond(is_soft, lambda: soft / tf.reduce_sum(soft), lambda: hard)
    return {"probability": tf.ensure_shape(probability, [count])}


def write(labels: Labels, info: ImageInfo) -> dict[str, tf.train.Feature]:
    """The hard label always, the distribution only where it says more.

    Raises:
      UserError: it is no distribution: NaN, infinity, or nothing for any class.
    """
    finite.check_labels("classification", labels, info.source_id)
    probability = np.asarray(labels["probability"], np.float32)
    if not probability.sum() > 0:
        raise UserError(
            f"the classification label of image {info.source_id!r} gives no class any probability. Leave it out: an "
            "image without a label is unlabelled."
        )
    written = {LABEL: record.int_feature([probability.argmax()])}
    if probability.max() < 1.0:
        written[PROBABILITY] = record.bytes_feature([probability.astype("<f2").tobytes()])
    return written


def count(features: Features) -> Counter[int]:
    """Images by the id of their hard label."""
    return Counter(features[LABEL].int64_list.value)


def recode(features: Features, ids: Mapping[int, int], classes: int) -> None:
    """Rewrites the hard label's id, and moves the probabilities; classes that are new here have none."""
    if features[LABEL].int64_list.value:
        features[LABEL].int64_list.value[:] = [ids[features[LABEL].int64_list.value[0]]]
    if PROBABILITY not in features or not features[PROBABILITY].bytes_list.value:
        return
    old = np.frombuffer(features[PROBABILITY].bytes_list.value[0], "<f2")
    new = np.zeros([classes], "<f2")
    np.add.at(new, [ids[class_id] for class_id in range(len(old))], old)  # two names may have become one
    features[PROBABILITY].bytes_list.value[:] = [new.tobytes()]


def believed(labels: Mapping[str, Any], config: Config) -> Any:
    """Tells if the likeliest class reaches its threshold, bool []; NumPy or tensors. True without class names."""
    probability = labels["probability"]
    if not probability.shape[0]:
        return tf.constant(True)
    table = thresholds.table(config, config.confidence_threshold, 0)
    if tf.is_tensor(probability):
        likeliest = tf.argmax(probability, output_type=tf.int32)
        return tf.reduce_max(probability) >= thresholds.of_ids(likeliest, table)
    return probability.max() >= thresholds.of_ids(probability.argmax(), table)


def settle(config: Config, configs: Mapping[str, TaskConfig]) -> list[str]:
    """What is wrong with the thresholds."""
    del configs
    return thresholds.unknown("classification", config)


def targets(parsed: Tensors, size: tf.Tensor, warp: Warp, config: Config) -> Tensors:
    """`probability` [C]: what an image shows does not depend on how it is cropped, as usual for classification.

    `believed` bool [], whether a teacher's image is labelled.
    """
    del warp
    labels = read(parsed, size, config)
    return {"probability": labels["probability"], "believed": believed(labels, config)}
