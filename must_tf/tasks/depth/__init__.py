"""Depth estimation, metric or relative; 0 = unknown in both maps.

`metres`         float32 [h, w], metric depth along the camera's axis (z)
`inverse_depth`  float32 [h, w], relative depth a / z + b with a > 0; a and b are unknown and differ between images.
                 Larger is nearer. MiDaS predicts it, and most stereo films and web images give no more.
`confidence`     float32 [h, w] in 0..1, see `summary.py`; only some pseudo labels have it

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

from must_tf.shared import pixel_confidence
from must_tf.spec import TaskSpec
from must_tf.tasks.depth import labels, loss, metric, model, pseudo, summary, view
from must_tf.tasks.depth.config import Config

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
    believed=pixel_confidence.believed,
    cannot_learn=labels.cannot_learn,
)
