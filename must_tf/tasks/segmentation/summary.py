"""A class map as the record tools see it: the pixels that are not ignored."""

from __future__ import annotations

import numpy as np

from must_tf.label_content import PIXELS, ImageInfo, LabelContent, Labels, Summary, missing, problems_of_maps
from must_tf.tasks.segmentation.config import Config
from must_tf.tasks.segmentation.labels import CLASSES, IGNORE


def content(labels: Labels, info: ImageInfo, config: Config) -> LabelContent:
    """Pixels [h, w] with their class and confidence."""
    del info, config
    return LabelContent(PIXELS, labels["classes"] != IGNORE, labels["classes"], labels["confidence"])


SUMMARY = Summary(
    stored=lambda features, info, config: missing(features, CLASSES),
    kind="pixels",
    content=content,
    problems=problems_of_maps,
    measure="accuracy of pixels",
    unknown={"classes": IGNORE},
    arrays={
        "segmentation": lambda labels, info, config: labels["classes"],
        "confidence": lambda labels, info, config: labels["confidence"],
    },
    pngs=lambda labels: {"segmentation": labels["classes"].astype(np.uint8)},
)
