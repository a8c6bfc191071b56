"""A distribution as the record tools see it: one image of its likeliest class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import tensorflow as tf

from must_tf.label_content import IMAGES, Agreement, ImageInfo, LabelContent, Labels, Summary
from must_tf.shared.drawing import name_or_number
from must_tf.tasks.classification.config import Config
from must_tf.tasks.classification.labels import LABEL, PROBABILITY

TOLERANCE = 1e-3  # of the sum of probabilities, which are stored in 16 bits
TIED = "images with a tie for the most likely class"


def content(labels: Labels, info: ImageInfo, config: Config) -> LabelContent:
    """One entry. Its score is NaN if any probability is; without class names it has neither class nor score."""
    del info, config
    probability = np.asarray(labels["probability"], np.float32)
    if not probability.size:
        return LabelContent(IMAGES, np.ones([1], bool))
    likeliest = np.array([probability.argmax()])  # argmax returns the NaN, if there is one
    return LabelContent(IMAGES, np.ones([1], bool), likeliest, probability[likeliest])


def problems(labels: Labels, info: ImageInfo, config: Config) -> Iterator[tuple[str, str]]:
    """Yields a problem unless the probabilities are a distribution."""
    del info, config
    probability = np.asarray(labels["probability"])
    valid = np.isfinite(probability).all() and (probability >= 0).all()
    if probability.size and not (valid and abs(probability.sum() - 1) <= TOLERANCE):
        yield "probabilities are not 0..1 with sum 1", f"sum {probability.sum():.4f}"


def unscored(labels: Labels) -> dict[str, np.ndarray]:
    """An image with two likeliest classes counts as wrong, see `metric.py`."""
    probability = np.asarray(labels["probability"])
    return {TIED: np.array([(probability == probability.max(initial=0)).sum() > 1])}


def likeliest(labels: Labels, info: ImageInfo, config: Config) -> str:
    """Returns the name of the likeliest class."""
    del info
    return name_or_number(config.classes, int(np.argmax(labels["probability"])))


def total_variation(labels: Labels, other: Labels, config: Config) -> float:
    """Returns half of the sum of the differences between two distributions: 0 if they are equal, at most 1."""
    del config
    difference = np.asarray(labels["probability"], np.float64) - np.asarray(other["probability"], np.float64)
    return float(np.abs(difference).sum() / 2)


def stored(features: Mapping[str, tf.train.Feature], info: ImageInfo, config: Config) -> Iterator[tuple[str, str, str]]:
    """Yields an id out of range, and probabilities of another number or without a meaning."""
    del info
    what, count = "label cannot be read", len(config.classes)
    ids = features[LABEL].int64_list.value if LABEL in features else ()
    soft = features[PROBABILITY].bytes_list.value if PROBABILITY in features else ()
    soft = soft if soft and soft[0] else ()
    if not ids and not soft:
        yield what, LABEL, "missing"
    for one in ids:
        if not 0 <= one < (count or 2**31):
            yield what, LABEL, f"{one}, class ids must be below {count}"
    for distribution in soft:
        if len(distribution) != 2 * count:
            yield what, PROBABILITY, f"{len(distribution)} bytes for {count} classes"
            continue
        values = np.frombuffer(distribution, "<f2").astype(np.float32)
        if not (np.isfinite(values).all() and (values >= 0).all() and values.sum() > 0):
            yield "probabilities are not 0..1 with sum 1", PROBABILITY, f"sum {values.sum()}"


SUMMARY = Summary(
    stored=stored,
    kind="images",
    content=content,
    problems=problems,
    measure="top1",
    unscored=unscored,
    agreement=Agreement("total_variation", False, total_variation),
    arrays={"probability": lambda labels, info, config: labels["probability"], "label": likeliest},
)
