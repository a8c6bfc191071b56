"""Settings of the task; `__init__.py` states its conventions."""

from __future__ import annotations

import dataclasses

from must_tf.config.fields import between, choice, named_between, not_compiled, small, threshold, within
from must_tf.spec import TaskConfig


@dataclasses.dataclass
class Config(TaskConfig):
    """Attributes:
    design: "maskrcnn" or "retinanet".
    filters: channels of all convs.
    fc: width of the box head's dense layer.
    anchor_size: side of the smallest anchor in strides of the lowest level (4: 32 pixels at P3).
    anchor_scales: anchors per octave.
    aspect_ratios: width / height of the anchors.
    proposals: number of proposals kept after the RPN's NMS.
    sampled_rois: number of proposals trained on, per image.
    max_objects: largest number of objects per image in training, highest scores first; the rest are ignore regions,
      up to `max_ignored`.
    max_detections: largest number of predicted objects per image.
    nms: how overlapping proposals and predictions are removed, in training, evaluation, labelling and export: "batched"
      on CPU and GPU; "v1" or "v2", Model Garden's padded versions, on TPU and under XLA; "portable", for one image at
      a time, in TFLite and ONNX files, which choose it by themselves. All give the same proposals.
    score_threshold: pseudo-labelled boxes below it are not objects in training (0.5 in the paper).
    class_thresholds: thresholds of single classes, like "cup=0.4".
    ignore_threshold: pseudo-labelled boxes between it and their threshold are ignore regions; below it they are
      background. Equal to score_threshold (as in the paper): no ignore regions. At 0.1, a well-calibrated teacher is
      right about one box in ten; boxes with lower scores are mostly background and would cover much of the image.
    max_ignored: largest number of ignore regions per image in training, highest scores first; the rest is background.
      The default is that of max_detections, so all boxes of a teacher fit.
    """

    design: str = choice("maskrcnn", "retinanet")
    filters: int = small(between(256, 1, 8192), 64)
    fc: int = small(between(1024, 1, 65536), 256)
    anchor_size: float = within(4.0, 1024)
    anchor_scales: int = between(1, 1, 16)
    aspect_ratios: tuple[float, ...] = within((0.5, 1.0, 2.0), 100)
    proposals: int = small(between(1000, 1, 100_000), 200)
    sampled_rois: int = small(between(512, 1, 100_000), 64)
    max_objects: int = small(between(100, 1, 100_000), 50)
    max_detections: int = small(between(100, 1, 100_000), 50)
    nms: str = not_compiled(choice("batched", "portable", "v1", "v2"), "batched")
    score_threshold: float = threshold(between(0.5, 0, 1))
    class_thresholds: tuple[str, ...] = threshold(named_between(0, 1))
    ignore_threshold: float = between(0.1, 0, 1)
    max_ignored: int = between(100, 1, 100_000)
