"""Depth estimation, metric or relative; 0 = unknown in both maps.

`metres`         float32 [h, w], metric depth along the camera's axis (z)
`inverse_depth`  float32 [h, w], relative depth a / z + b with a > 0; a and b are unknown and differ between images.
                 Larger is nearer. MiDaS predicts it, and most stereo films and web images give no more.

A label has one of the two kinds; the other map is all 0. The loss decides what the head predicts:

- `silog`, `l1`, `berhu`: metres. Relative labels cannot be used. A run whose records have any stops before its first
  step, unless `relative_labels` is "ignore": then these images count as unlabelled for depth.
- `ssi`: inverse depth up to scale and shift, from labels of both kinds, because 1 / metres is a valid `a / z + b`.
  Pseudo labels from such a head are relative.

Metric depth depends on the zoom, because an enlarged crop looks nearer. The network predicts the metres of the *fitted*
image (longer side = input size). In a view enlarged by z, a wall at d metres looks like one at d / z, so its target is
d / z. Predictions are made on fitted images and need no correction. For inverse depth, a zoom only changes `a`.
"""

from __future__ import annotations

import dataclasses

from must_tf.config.fields import at_least, below, between, by_hand, choice, measuring
from must_tf.spec import TaskConfig, TaskSpec
from must_tf.tasks.depth import labels, loss, metric, model, pseudo, summary, view


@dataclasses.dataclass
class Config(TaskConfig):
    """Attributes:
    filters: channels of the head's convs.
    stride: resolution of the targets; 1 trains at the input's resolution, 4 at the head's (faster).
    loss: "silog", "l1" or "berhu" of metres, or "ssi", up to scale and shift; see `loss.py`.
    variance_focus: lambda of the SILog loss; 1 is scale-invariant, 0 plain squared log error.
    gradient_weight: alpha of the multi-scale gradient term beside "ssi".
    relative_labels: with a loss of metres, "refuse" to start if there are relative labels, or "ignore" them.
    ignore_hardest: share of pseudo-labelled pixels per image that are left out, those with the largest error.
    balance_by_hand: excludes depth from the paper's rule for loss weights; its weight is `loss_weight`.
    alignment, crop, min_metres, max_metres: protocol of the metric, see `metric.py`; 0 metres: no bound.
    """

    filters: int = at_least(256, 1)
    stride: int = at_least(1, 1)
    loss: str = choice("silog", "l1", "berhu", "ssi")
    variance_focus: float = between(0.5, 0, 1)
    gradient_weight: float = at_least(0.5, 0)
    relative_labels: str = choice("refuse", "ignore")
    ignore_hardest: float = below(0.0, 0, 1)
    balance_by_hand: bool = by_hand(True)
    alignment: str = measuring(choice(*metric.ALIGNMENTS))
    crop: str = measuring(choice(*metric.CROPS))
    min_metres: float = measuring(at_least(0.0, 0))
    max_metres: float = measuring(at_least(0.0, 0))


TASK = TaskSpec(
    name="depth",
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
    unfit=labels.unfit,
)
