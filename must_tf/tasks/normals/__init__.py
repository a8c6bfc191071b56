"""Surface normals: `normals` float32 [h, w, 3], unit vectors, 0,0,0 = unknown. Pseudo labels may have a `confidence`,
float32 [h, w] in 0..1, see `summary.py`.

Axes are the camera's: x right, y down, z forward. Normals point at the camera, so a wall that faces it is 0,0,-1 and
the floor is 0,-1,0.
"""

from __future__ import annotations

from must_tf.shared import pixel_confidence
from must_tf.spec import TaskSpec
from must_tf.tasks.normals import labels, loss, metric, model, pseudo, summary, view
from must_tf.tasks.normals.config import Config

TASK = TaskSpec(
    name="normals",
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
)
