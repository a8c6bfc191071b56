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

from must_tf.spec import ClassIds, TaskSpec
from must_tf.tasks.detection import labels, loss, metric, model, pseudo, rules, summary, view
from must_tf.tasks.detection.config import Config

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
    cannot_learn=labels.cannot_learn,
    class_ids=ClassIds(labels.count, labels.recode, rules.FIRST_ID, labels.restrict),
)
