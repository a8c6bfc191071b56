"""Where things are: boxes [y0, x0, y1, x1], normalised in labels, pixels of the input in targets.

Class 0 is background, `classes[i - 1]` names id i, -1 is padding. Two designs, one contract: `maskrcnn` (the paper's:
RPN with 2 hidden convs, box head with 4 convs + 1 fc) and the lighter `retinanet`.

What a teacher is unsure of, crowds and "difficult" objects are ignore regions: no objects, and no background either,
see `rules.py` and `ignored.py`.

Where only some classes were looked for (`image/detection/annotated`), the others are neither trained as background, see
`loss.py`, nor measured. The RPN of `maskrcnn` learns what is no object from images alone on which all classes were
looked for, and a run without any ends before its first step; `retinanet` needs none.
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
    filters: of all convs; `fc` is the width of the box head's dense layer.
    anchor_size: side of the smallest anchor in strides of the lowest level (4: 32 pixels at P3).
    anchor_scales: anchors per octave; aspect_ratios: width / height of each.
    proposals: kept after the RPN's NMS, while training and otherwise; sampled_rois: trained on, per image.
    max_objects: per image in training, surest first; max_detections: per image in predictions.
    nms: Model Garden's version: "batched" on CPU and GPU, "v2" on TPU.
    score_threshold: a teacher's boxes below are no objects in training (0.5 in the paper).
    class_thresholds: other thresholds for single classes, like "cup=0.4".
    ignore_threshold: a teacher's boxes from here up to their threshold are ignore regions, and background below. Equal
      to score_threshold: there are none, as in the paper. 0.1: a teacher with honest scores is right about one in ten
      of such boxes; what it doubts more is background by far oftener than not, and would cover much of an image.
    max_ignored: ignore regions per image in training, surest first; what is beyond is background. By default as many as
      max_detections, all that a teacher keeps of an image.
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
