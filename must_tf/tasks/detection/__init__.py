"""Object detection: boxes [y0, x0, y1, x1], normalised in labels, pixels of the input in targets.

Class 0 is background, `classes[i - 1]` names id i, -1 is padding. There are two designs: the paper's `maskrcnn` (RPN
with 2 hidden convs, box head with 4 convs + 1 fc) and the lighter `retinanet`.

Crowds, "difficult" objects and pseudo labels of medium confidence are ignore regions: neither objects nor background,
see `rules.py` and `ignored.py`.

If only some classes were annotated in an image (`image/detection/annotated`), the others are neither trained as
background, see `loss.py`, nor measured. The RPN of `maskrcnn` learns background only from images in which all classes
were annotated. Without any such image a run stops before its first step; use `retinanet` then.
"""

from __future__ import annotations

import dataclasses

from must_tf.config.fields import above, at_least, between, choice, named_between, threshold
from must_tf.spec import ClassIds, TaskConfig, TaskSpec
from must_tf.tasks.detection import labels, loss, metric, model, pseudo, rules, summary, view


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
    max_objects: largest number of objects per image in training, highest scores first.
    max_detections: largest number of predicted objects per image.
    nms: Model Garden's version: "batched" on CPU and GPU, "v2" on TPU.
    score_threshold: pseudo-labelled boxes below it are not objects in training (0.5 in the paper).
    class_thresholds: thresholds of single classes, like "cup=0.4".
    ignore_threshold: pseudo-labelled boxes between it and their threshold are ignore regions; below it they are
      background. Equal to score_threshold (as in the paper): no ignore regions. At 0.1, a well-calibrated teacher is
      right about one box in ten; boxes with lower scores are mostly background and would cover much of the image.
    max_ignored: largest number of ignore regions per image in training, highest scores first; the rest is background.
      The default is that of max_detections, so all boxes of a teacher fit.
    """

    design: str = choice("maskrcnn", "retinanet")
    filters: int = at_least(256, 1)
    fc: int = at_least(1024, 1)
    anchor_size: float = above(4.0, 0)
    anchor_scales: int = at_least(1, 1)
    aspect_ratios: tuple[float, ...] = above((0.5, 1.0, 2.0), 0)
    proposals: int = at_least(1000, 1)
    sampled_rois: int = at_least(512, 1)
    max_objects: int = at_least(100, 1)
    max_detections: int = at_least(100, 1)
    nms: str = choice("batched", "v1", "v2")
    score_threshold: float = threshold(between(0.5, 0, 1))
    class_thresholds: tuple[str, ...] = threshold(named_between(0, 1))
    ignore_threshold: float = between(0.1, 0, 1)
    max_ignored: int = at_least(100, 1)


TASK = TaskSpec(
    name="detection",
    needs=(),
    Config=Config,
    features=labels.features,
    read=labels.read,
    write=labels.write,
    targets=labels.targets,
    head=model.head,
    terms=loss.terms,
    loss=loss.loss,
    decode=model.decode,
    restore=model.restore,
    ideal=model.ideal,
    keep=pseudo.keep,
    Metric=metric.Metric,
    draw=view.draw,
    summary=summary.SUMMARY,
    believed=rules.believed,
    settle=rules.settle,
    unfit=labels.unfit,
    class_ids=ClassIds(labels.count, labels.recode, rules.FIRST_ID, labels.restrict),
)
