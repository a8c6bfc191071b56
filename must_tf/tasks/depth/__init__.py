"""How far every pixel is, in one of two kinds that are never mixed; 0 = unknown in both.

`metres`         float32 [h, w], metric: along the camera's axis (z).
`inverse_depth`  float32 [h, w], relative: a / z + b with a > 0 and b unknown and different for every image, larger is
                 nearer. It is what MiDaS predicts, and all that stereo films and most of the web can tell.

A label knows pixels of one kind, the other map is all 0. The loss decides what the head predicts:

- `silog`, `l1`, `berhu`: metres. Relative labels have none. A run whose records hold some ends before its first step,
  unless `relative_labels` is "ignore": then these images are unlabelled for depth.
- `ssi`: inverse depth up to scale and shift, from labels of both kinds: 1 / metres is one of the possible `a / z + b`.
  What such a head labels is relative.

Zooming changes what metric depth means: an enlarged crop looks nearer. The rule here: the network predicts the metres
of the *fitted* image (longer side = input size). In a view enlarged by z, a wall at d metres looks as one at d / z
does, so its target is d / z. Predictions are made on fitted images and need no correction. Inverse depth is multiplied
by z then, which is but another `a`: relative labels and the loss `ssi` need no rule.
"""

from __future__ import annotations

import dataclasses

from must_tf.config.fields import at_least, below, between, by_hand, choice, measuring
from must_tf.spec import TaskConfig, TaskSpec
from must_tf.tasks.depth import labels, loss, metric, model, pseudo, summary, view


@dataclasses.dataclass
class Config(TaskConfig):
    """Attributes:
    filters: of the head's convs.
    stride: resolution of the targets; 1 trains at the input's resolution, 4 at the head's (faster).
    loss: "silog", "l1" or "berhu" of metres, or "ssi", up to scale and shift; see `loss.py`.
    variance_focus: lambda of the SILog loss; 1 is scale-invariant, 0 plain squared log error.
    gradient_weight: alpha of the multi-scale gradient term beside "ssi".
    relative_labels: what a loss of metres does with relative labels: "refuse" to start, or "ignore" them.
    ignore_hardest: share of a teacher's pixels per image that are left out, those with the largest error.
    balance_by_hand: depth takes no part in the paper's weight rule; `loss_weight` alone counts.
    alignment, crop, min_metres, max_metres: what is measured, and on what scale, see `metric.py`; 0 metres: no bound.
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
