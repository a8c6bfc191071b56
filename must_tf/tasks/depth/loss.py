"""Losses of depth over the known pixels; p is predicted, y the label, n the number of known pixels of an image.

| config.loss | terms | of |
|---|---|---|
| `silog` | silog | log metres |
| `l1` | l1 | metres |
| `berhu` | berhu | metres |
| `ssi` | ssi, gradient | inverse depth up to scale and shift |

Formulas and sources are in the docstring of each function. `ignore_hardest` leaves out the pseudo-labelled pixels with
the largest error, per image; for `ssi` this is the trimmed loss of MiDaS, whose gradient term keeps all pixels.

If `weighting` is "confidence", each pixel has a weight c, the label's confidence, which is 1 if the label is real. The
sums are not divided by the sum of c, so an image with low confidence counts less.
"""

from __future__ import annotations

import tensorflow as tf

from must_tf.shared.masked_losses import per_image, per_pixel, resize_to, visible, without_hardest
from must_tf.shared.pixel_confidence import CONFIDENCE
from must_tf.spec import Tensors, Term
from must_tf.tasks.depth.config import Config
from must_tf.tasks.depth.model import LOG_METRES

BERHU_SHARE = 0.2  # share of the image's largest error, beyond which errors are squared
SCALES = 4  # of the gradient term, K in MiDaS
# Smallest spread of a prediction: the gradient of one that hardly varies would otherwise be 1 / spread.
SMALLEST_SPREAD = 1e-3


def terms(config: Config) -> tuple[str, ...]:
    """Returns the names of the terms of the configured loss."""
    return ("ssi", "gradient") if config.loss == "ssi" else (config.loss,)


def loss(raw: Tensors, targets: Tensors, config: Config) -> dict[str, Term]:
    """Compares map [B, R, R, 1] with `metres` or `inverse_depth` [B, T, T], 0 = unknown.

    Counts labelled images with a known pixel (`ssi`: with two different values), or known pixels (`l1`, `berhu`).
    """
    raw, targets = visible(raw, targets["weight"]), visible(targets, targets["weight"])
    label = targets["inverse_depth" if config.loss == "ssi" else "metres"]
    predicted = resize_to(raw["map"], label.shape[1])[..., 0]
    if config.loss == "ssi":
        return _relative(predicted, label, targets, config)
    return (
        _log(predicted, label, targets, config)
        if config.loss == "silog"
        else _metres(predicted, label, targets, config)
    )


def _log(predicted: tf.Tensor, metres: tf.Tensor, targets: Tensors, config: Config) -> dict[str, Term]:
    known = metres > 0
    difference = tf.where(known, predicted - tf.math.log(tf.where(known, metres, 1.0)), 0.0)
    centre = config.variance_focus * _mean(difference, known)[:, None, None]
    known = without_hardest(tf.abs(difference - centre), known, targets["pseudo"], config.ignore_hardest)
    counted = tf.reduce_any(known, axis=[1, 2])
    values = silog(difference, known, config.variance_focus, _confidence(targets, config))
    return {"silog": per_image(values, tf.where(counted, targets["weight"], 0.0))}


def _metres(predicted: tf.Tensor, metres: tf.Tensor, targets: Tensors, config: Config) -> dict[str, Term]:
    known = metres > 0
    error = tf.where(known, tf.exp(tf.clip_by_value(predicted, *LOG_METRES)) - metres, 0.0)
    known = without_hardest(tf.abs(error), known, targets["pseudo"], config.ignore_hardest)
    values = tf.abs(error) if config.loss == "l1" else berhu(error, known)
    if config.weighting == CONFIDENCE:
        values *= targets[CONFIDENCE]
    return {config.loss: per_pixel(values, known, targets["weight"])}


def _relative(predicted: tf.Tensor, inverse: tf.Tensor, targets: Tensors, config: Config) -> dict[str, Term]:
    known = inverse > 0
    aligned, _ = unit(predicted, known, SMALLEST_SPREAD)
    true, spread = unit(inverse, known)
    weight = tf.where(spread > 0, targets["weight"], 0.0)  # a single value says nothing up to scale and shift
    residual = tf.where(known, aligned - true, 0.0)
    believed = without_hardest(tf.abs(residual), known, targets["pseudo"], config.ignore_hardest)
    confidence = _confidence(targets, config)
    variation = gradient_matching(residual, known, confidence)
    return {
        "ssi": per_image(ssi(residual, believed, confidence), weight),
        "gradient": per_image(config.gradient_weight * variation, weight),
    }


def _confidence(targets: Tensors, config: Config) -> tf.Tensor | None:
    """Returns the weights of the pixels [B, T, T]; None if all are 1."""
    return targets[CONFIDENCE] if config.weighting == CONFIDENCE else None


def silog(
    difference: tf.Tensor, known: tf.Tensor, variance_focus: float, confidence: tf.Tensor | None = None
) -> tf.Tensor:
    """Returns the scale-invariant logarithmic error.

        L = mean(d^2) - lambda * mean(d)^2,                d = log p - log y
        L = mean(c d^2) - lambda * mean(c d)^2 / mean(c),  with weights c: mean(c) times the L of weighted means

    Source: Eigen et al., Depth Map Prediction from a Single Image, https://arxiv.org/abs/1406.2283, eq. 4 (lambda 0.5).

    Args:
      difference: [B, T, T] d.
      known: bool [B, T, T].
      variance_focus: lambda.
      confidence: [B, T, T] c; None: all 1.

    Returns:
      [B]
    """
    if confidence is None:
        return _mean(difference**2, known) - variance_focus * _mean(difference, known) ** 2
    squared_mean = tf.math.divide_no_nan(_mean(confidence * difference, known) ** 2, _mean(confidence, known))
    return _mean(confidence * difference**2, known) - variance_focus * squared_mean


def berhu(error: tf.Tensor, known: tf.Tensor) -> tf.Tensor:
    """Returns the reverse Huber loss: absolute for small errors, squared for large ones.

        L = |e| if |e| <= c, else (e^2 + c^2) / 2c;  c = max |e| / 5, a constant to the gradient

    Source: Laina et al., https://arxiv.org/abs/1606.00373. They take the maximum over the batch; here it is
    the image's, so that the loss of an image does not depend on the others.

    Args:
      error: [B, T, T] e, metres.
      known: bool [B, T, T].

    Returns:
      [B, T, T] metres.
    """
    size = tf.where(known, tf.abs(error), 0.0)
    limit = tf.stop_gradient(BERHU_SHARE * tf.reduce_max(size, axis=[1, 2], keepdims=True))
    squared = tf.math.divide_no_nan(size**2 + limit**2, 2.0 * limit)
    return tf.where(size <= limit, size, squared)


def unit(values: tf.Tensor, known: tf.Tensor, smallest: float = 0.0) -> tuple[tf.Tensor, tf.Tensor]:
    """Removes scale and shift from inverse depth.

        (d - t) / s,  t = median(d), s = mean |d - t| over the known pixels

    Source: Ranftl et al. (MiDaS), https://arxiv.org/abs/1907.01341, the robust alignment. Their other one, least
    squares, allows a negative scale: a prediction with near and far swapped would cost nothing.

    Args:
      values: [B, T, T] d.
      known: bool [B, T, T].
      smallest: lower bound of s.

    Returns:
      [B, T, T], 0 if all values are the same; and s [B].
    """
    centred = values - median(values, known)[:, None, None]
    spread = _mean(tf.abs(centred), known)
    divisor = tf.maximum(spread, smallest)
    divisor = tf.where(divisor > 0, divisor, 1.0)
    return centred / divisor[:, None, None], spread


def ssi(residual: tf.Tensor, known: tf.Tensor, confidence: tf.Tensor | None = None) -> tf.Tensor:
    """Returns the scale- and shift-invariant error.

        L = 1 / 2n sum c |R|,  R = unit(p) - unit(y);  the weights c do not change the alignment

    Source: MiDaS, https://arxiv.org/abs/1907.01341, the absolute error of robustly aligned inverse depths.

    Args:
      residual: [B, T, T] R.
      known: bool [B, T, T], n pixels.
      confidence: [B, T, T] c; None: all 1.

    Returns:
      [B]
    """
    size = tf.abs(residual)
    return 0.5 * _mean(size if confidence is None else confidence * size, known)


def median(values: tf.Tensor, known: tf.Tensor) -> tf.Tensor:
    """Returns the median of the known pixels of [B, T, T], as NumPy does (mean of the middle two); 0 if none is known.

    Returns:
      [B]
    """
    side = values.shape[1] * values.shape[2]
    flat = tf.reshape(tf.where(known, values, values.dtype.max), [-1, side])
    ordered = tf.sort(flat, axis=-1)  # unknown pixels last
    count = tf.reduce_sum(tf.cast(known, tf.int32), axis=[1, 2])
    middle = tf.stack([tf.maximum(count - 1, 0) // 2, count // 2], axis=-1)
    found = tf.reduce_mean(tf.gather(ordered, middle, batch_dims=1), axis=-1)
    return tf.where(count > 0, found, 0.0)


def gradient_matching(residual: tf.Tensor, known: tf.Tensor, confidence: tf.Tensor | None = None) -> tf.Tensor:
    """Returns the variation of the residual from pixel to pixel, which is small if depth edges match the label.

        L = sum_{k=0..K-1} 1/n_k sum_i |dx R_i| + |dy R_i|,  R every 2^k-th pixel of the residual, n_k of them known

    Source: MiDaS, https://arxiv.org/abs/1907.01341, multi-scale gradient matching, K = 4. Here each scale is divided
    by its own number of pixels. With weights, a difference has that of the less certain of its two pixels.

    Args:
      residual: [B, T, T] R.
      known: bool [B, T, T]; differences between two known pixels count.
      confidence: [B, T, T] weights; None: all 1.

    Returns:
      [B]
    """
    total = tf.zeros_like(residual[:, 0, 0])
    for k in range(SCALES):
        step = 2**k
        values, here = residual[:, ::step, ::step], known[:, ::step, ::step]
        count = tf.reduce_sum(tf.cast(here, tf.float32), axis=[1, 2])
        right = tf.abs(values[:, :, 1:] - values[:, :, :-1])
        down = tf.abs(values[:, 1:] - values[:, :-1])
        if confidence is not None:
            certain = confidence[:, ::step, ::step]
            right *= tf.minimum(certain[:, :, 1:], certain[:, :, :-1])
            down *= tf.minimum(certain[:, 1:], certain[:, :-1])
        steps = _sum(right, here[:, :, 1:] & here[:, :, :-1]) + _sum(down, here[:, 1:] & here[:, :-1])
        total += tf.math.divide_no_nan(steps, count)
    return total


def _sum(values: tf.Tensor, known: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.where(known, values, 0.0), axis=[1, 2])


def _mean(values: tf.Tensor, known: tf.Tensor) -> tf.Tensor:
    """Averages the known pixels of [B, T, T] -> [B]; 0 if none is known."""
    return tf.math.divide_no_nan(_sum(values, known), tf.reduce_sum(tf.cast(known, tf.float32), axis=[1, 2]))
