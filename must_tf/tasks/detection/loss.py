"""The losses of Faster R-CNN and RetinaNet, over labelled images only.

    rpn_score   sigmoid cross-entropy of 256 sampled anchors, mean over anchors and labelled images
    rpn_box     Huber (delta 1/9) of the positive anchors' offsets, mean over coordinates
    box_class   softmax cross-entropy of the sampled proposals, mean over proposals and labelled images
    box         Huber (delta 1) of the foreground proposals' offsets, mean over coordinates
    focal       alpha 0.25, gamma 1.5: sum over anchors and classes / positive anchors
    retina_box  50 * Huber (delta 0.1), mean over the coordinates of the positive anchors

If only the classes K were annotated in an image (`targets["annotated"]`), objects of the other classes, U, have no box.
They are not trained as background:

    rpn_score   anchors without an object are left out, because they may show one of U
    box_class   a proposal without an object is "background or one of U": -log(p_0 + sum_{u in U} p_u), equal to the
                plain -log p_0 if U is empty; Cermelli et al. (MiB), https://arxiv.org/abs/2002.00718
    focal       the sigmoids of U are left out of anchors without an object

So the RPN learns background only from fully annotated images. Without any it would call everything an object, and
proposals would be random; `labels.cannot_learn` refuses such a run. RetinaNet has no RPN.

Anchors and proposals without an object are also left out inside ignore regions (`targets["ignored"]`, see
`ignored.py`). If too few proposals could be sampled, the empty places (roi_classes -1) count 0 in box_class; the
weights of the others do not change.

Sources: https://arxiv.org/abs/1506.01497, https://arxiv.org/abs/1708.02002; the constants are Model Garden's defaults.
If every image of the batch is labelled, the values equal Model Garden's, except that it adds 0.01 to the number of
coordinates and 1 to RetinaNet's positives. Its loss objects divide by the whole batch and so cannot leave out
unlabelled images.
"""

from __future__ import annotations

import tensorflow as tf

from must_tf.shared.masked_losses import per_image, visible
from must_tf.spec import Tensors, Term
from must_tf.tasks.detection import anchors, sampling
from must_tf.tasks.detection.config import Config
from must_tf.tasks.detection.ignored import spared_anchors
from must_tf.tasks.detection.model import REGRESSION_WEIGHTS

RPN_LOW, RPN_HIGH = 0.3, 0.7  # IoU
RPN_SAMPLES = 256
RPN_DELTA = 1.0 / 9.0
RETINA_LOW, RETINA_HIGH = 0.5, 0.5  # IoU, Model Garden's parser
RETINA_DELTA, RETINA_BOX_WEIGHT = 0.1, 50.0
FOCAL_ALPHA, FOCAL_GAMMA = 0.25, 1.5


def terms(config: Config) -> tuple[str, ...]:
    """Returns the names of the terms of the configured design."""
    return ("focal", "retina_box") if config.design == "retinanet" else ("rpn_score", "rpn_box", "box_class", "box")


def loss(raw: Tensors, targets: Tensors, config: Config) -> dict[str, Term]:
    """Compares the raw output of either head with boxes [B, M, 4], classes [B, M] and ignored [B, M', 4]."""
    anchor_boxes = {"anchors": raw["anchors"]}  # the same for all images
    batched = {key: values for key, values in raw.items() if key != "anchors"}
    raw, targets = visible(batched, targets["weight"]) | anchor_boxes, visible(targets, targets["weight"])
    return _retinanet(raw, targets) if config.design == "retinanet" else _rpn(raw, targets) | _box_head(raw, targets)


def huber(values: tf.Tensor, expected: tf.Tensor, delta: float) -> tf.Tensor:
    """Huber loss per coordinate: d^2 / 2 within delta, linear beyond."""
    import tf_keras

    per_value = tf_keras.losses.Huber(delta=delta, reduction=tf_keras.losses.Reduction.NONE)
    return per_value(expected[..., None], values[..., None])


def coordinates(values: tf.Tensor, valid: tf.Tensor, weight: tf.Tensor) -> Term:
    """Mean over the coordinates [B, N, 4] of the valid [B, N] boxes of labelled images."""
    counted = tf.logical_and(valid, weight[:, None] > 0)[..., None]
    total = tf.reduce_sum(tf.where(counted, values, 0.0) * weight[:, None, None], axis=[1, 2])
    return Term(total, 4.0 * tf.reduce_sum(tf.cast(counted, tf.float32), axis=[1, 2]))


def background_or(classes: tf.Tensor, annotated: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Returns -log of the probability of the object's class; without an object, of "background or not annotated".

        -log sum_{k in A} softmax(z)_k,  A = {y} if y > 0, else {0} and all k that are not annotated

    Args:
      classes: [B, R] y, 0 = no object.
      annotated: bool [B, C + 1], by class id.
      logits: [B, R, C + 1] z.

    Returns:
      [B, R]
    """
    of_object = tf.one_hot(classes, logits.shape[-1], on_value=True, off_value=False)
    unsaid = tf.one_hot(0, logits.shape[-1], on_value=True, off_value=False) | ~annotated[:, None, :]
    allowed = tf.where(classes[..., None] > 0, of_object, unsaid)
    inside = tf.reduce_logsumexp(tf.where(allowed, logits, logits.dtype.min), axis=-1)
    return tf.reduce_logsumexp(logits, axis=-1) - inside


def _rpn(raw: Tensors, targets: Tensors) -> dict[str, Term]:
    match = anchors.match(raw["anchors"], targets["boxes"], targets["classes"], RPN_LOW, RPN_HIGH)
    whole = tf.reduce_all(targets["annotated"][:, 1:], axis=-1, keepdims=True)  # [B, 1] all classes are annotated
    spared = spared_anchors(raw["anchors"], targets["ignored"], RPN_LOW, RPN_HIGH)
    match = match._replace(negative=match.negative & whole & ~spared)
    samples = min(RPN_SAMPLES, raw["anchors"].shape[0])
    sampled, used = sampling.balanced(match.positive, match.negative, raw["rpn_draw"], samples, 0.5)
    positive = tf.gather(match.positive, sampled, batch_dims=1)  # [B, 256]
    scores = tf.gather(raw["rpn_scores"][..., 0], sampled, batch_dims=1)
    cross_entropy = tf.nn.sigmoid_cross_entropy_with_logits(labels=tf.cast(positive, tf.float32), logits=scores)
    score = tf.reduce_sum(tf.where(used, cross_entropy, 0.0), axis=1) / samples  # [B]
    offsets = anchors.offsets(match.boxes, raw["anchors"], match.positive)
    box = huber(raw["rpn_deltas"], offsets, RPN_DELTA)
    return {
        "rpn_score": per_image(score, targets["weight"]),
        "rpn_box": coordinates(box, match.positive, targets["weight"]),
    }


def _box_head(raw: Tensors, targets: Tensors) -> dict[str, Term]:
    classes = tf.maximum(raw["roi_classes"], 0)  # [B, R]
    cross_entropy = background_or(classes, targets["annotated"], raw["class_logits"])
    cross_entropy = tf.where(raw["roi_classes"] >= 0, cross_entropy, 0.0)
    foreground = classes > 0
    offsets = anchors.offsets(raw["roi_boxes"], raw["rois"], foreground, REGRESSION_WEIGHTS)
    count = raw["class_logits"].shape[-1]
    deltas = tf.reshape(raw["box_deltas"], [-1, classes.shape[1], count, 4])
    deltas = tf.gather(deltas, classes, batch_dims=2)  # [B, R, 4] those of the matched class
    return {
        "box_class": per_image(tf.reduce_mean(cross_entropy, axis=1), targets["weight"]),
        "box": coordinates(huber(deltas, offsets, 1.0), foreground, targets["weight"]),
    }


def _retinanet(raw: Tensors, targets: Tensors) -> dict[str, Term]:
    import tf_keras
    from official.vision.losses.focal_loss import FocalLoss

    match = anchors.match(raw["anchors"], targets["boxes"], targets["classes"], RETINA_LOW, RETINA_HIGH)
    classes = tf.where(match.positive, match.classes, -1)
    one_hot = tf.one_hot(classes, raw["class_logits"].shape[-1])  # [B, A, C + 1], all 0 for background
    focal = FocalLoss(FOCAL_ALPHA, FOCAL_GAMMA, reduction=tf_keras.losses.Reduction.NONE)
    said = targets["annotated"][:, None, :] | match.positive[..., None]  # [B, A, C + 1] the others are not annotated
    values = tf.reduce_sum(tf.where(said, focal.call(one_hot, raw["class_logits"]), 0.0), axis=-1)  # [B, A]
    spared = spared_anchors(raw["anchors"], targets["ignored"], RETINA_LOW, RETINA_HIGH)
    used = match.positive | (match.negative & ~spared)
    weight = targets["weight"]
    labelled = weight > 0
    positives = tf.reduce_sum(tf.cast(match.positive & labelled[:, None], tf.float32), axis=1)
    total = tf.reduce_sum(tf.where(used & labelled[:, None], values, 0.0) * weight[:, None], axis=1)
    offsets = anchors.offsets(match.boxes, raw["anchors"], match.positive)
    box = RETINA_BOX_WEIGHT * huber(raw["box_deltas"], offsets, RETINA_DELTA)
    return {"focal": Term(total, positives), "retina_box": coordinates(box, match.positive, weight)}
