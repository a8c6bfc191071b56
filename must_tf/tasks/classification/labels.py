"""Record format of image classes.

`image/class/label`        int64, the hard label: the likeliest class, of several the first
`image/class/probability`  the distribution, float16 little-endian (1,000 classes: 2 KB); only if it is not one-hot

Relative precision of a probability: 2^-11 from float16, and as much again from normalising the sum to 1 on reading.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from must_tf.common import finite
from must_tf.common.errors import UserError
from must_tf.data import assertions, record
from must_tf.data.geometry import Warp
from must_tf.shared import thresholds
from must_tf.spec import Features, ImageInfo, Labels, TaskConfig, Tensors
from must_tf.tasks.classification.config import Config

LABEL = "image/class/label"
PROBABILITY = "image/class/probability"


def features(config: Config) -> dict[str, Any]:
    """Returns the parsing spec of both keys."""
    del config
    return {
        LABEL: tf.io.FixedLenFeature([], tf.int64, -1),
        PROBABILITY: tf.io.FixedLenFeature([], tf.string, ""),
    }


def read(parsed: Tensors, size: tf.Tensor, config: Config) -> Tensors:
    """Returns `probability` float32 [C]."""
    del size
    count = len(config.classes)
    label = parsed[LABEL]
    if count:
        label = assertions.required(label, label < count, f"classification: class ids must be below {count}", label)
    hard = tf.one_hot(label, count)
    soft = tf.cast(tf.io.decode_raw(parsed[PROBABILITY], tf.float16), tf.float32)
    total = tf.reduce_sum(soft)  # NaN is not in the range
    valid = tf.equal(tf.size(soft), 0) | ((total > 0) & (total < float("inf")) & (tf.reduce_min(soft) >= 0))
    soft = assertions.required(soft, valid, "classification: probabilities are not 0..1 with sum 1", total)
    is_soft = tf.strings.length(parsed[PROBABILITY]) > 0
    probability = tf.cond(is_soft, lambda: soft / total, lambda: hard)
    return {"probability": tf.ensure_shape(probability, [count])}


def write(labels: Labels, info: ImageInfo) -> dict[str, tf.train.Feature]:
    """Writes the hard label, and the distribution unless it is one-hot.

    Raises:
      UserError: NaN or infinity, or every class has probability 0.
    """
    finite.check_labels("classification", labels, info.source_id)
    probability = np.asarray(labels["probability"], np.float32)
    if not probability.sum() > 0:
        raise UserError(
            f"image {info.source_id!r}: every class of the classification label has probability 0. Leave the label "
            "out, so that the image counts as unlabelled."
        )
    if probability.max() >= 1.0:
        return {LABEL: record.int_feature([probability.argmax()])}
    # In 16 bits, a class may be as likely as one that was less likely before.
    stored = probability.astype("<f2")
    return {LABEL: record.int_feature([stored.argmax()]), PROBABILITY: record.bytes_feature([stored.tobytes()])}


def count(features: Features) -> Counter[int]:
    """Counts the hard label."""
    return Counter(features[LABEL].int64_list.value)


def recode(features: Features, ids: Mapping[int, int], classes: int) -> None:
    """Rewrites the hard label's id and reorders the probabilities. New classes get probability 0.

    Two classes that become one add up their probabilities, which may make them the likeliest class.
    """
    if features[LABEL].int64_list.value:
        features[LABEL].int64_list.value[:] = [ids[features[LABEL].int64_list.value[0]]]
    soft = features[PROBABILITY].bytes_list.value if PROBABILITY in features else ()
    if not soft or not soft[0]:
        return
    old = np.frombuffer(soft[0], "<f2")
    new = np.zeros([classes], "<f2")
    np.add.at(new, [ids[class_id] for class_id in range(len(old))], old)  # two classes may have become one
    features[PROBABILITY].bytes_list.value[:] = [new.tobytes()]
    features[LABEL].int64_list.value[:] = [int(new.argmax())]


def believed(labels: Mapping[str, Any], config: Config) -> Any:
    """Tests if the likeliest class reaches its threshold: bool [], NumPy or tensor. True if no class has a name."""
    probability = labels["probability"]
    if not probability.shape[0]:
        return tf.constant(True)
    table = thresholds.table(config, config.confidence_threshold, 0)
    if tf.is_tensor(probability):
        likeliest = tf.argmax(probability, output_type=tf.int32)
        return tf.reduce_max(probability) >= thresholds.of_ids(likeliest, table)
    return probability.max() >= thresholds.of_ids(probability.argmax(), table)


def settle(config: Config, configs: Mapping[str, TaskConfig]) -> list[str]:
    """Checks the names in `class_thresholds`."""
    del configs
    return thresholds.unknown("classification", config)


def targets(parsed: Tensors, size: tf.Tensor, warp: Warp, config: Config) -> Tensors:
    """Returns `probability` [C] and `believed` bool [], which is used for pseudo labels.

    As usual for classification, the crop does not change the class.
    """
    del warp
    labels = read(parsed, size, config)
    return {"probability": labels["probability"], "believed": believed(labels, config)}
