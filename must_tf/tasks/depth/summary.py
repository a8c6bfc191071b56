"""Depth as the record tools see it: the pixels whose depth is known, and a histogram of the metres.

The confidence of a pixel is 2 ** (-d / t) with t = 1/4, see `shared/pixel_confidence.py`. With p the depth of the pixel
and q that of the same pixel in the mirrored photo

    metric    d = max(p / q, q / p) - 1
    relative  d = |s q + t - p| / mean |p - mean p|,  s >= 0 and t by least squares over the known pixels

So metric depth that agrees within 25 %, the limit of delta1, has a confidence of at least 1/2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from must_tf.label_content import PIXELS, Agreement, ImageInfo, LabelContent, Labels, Summary, missing, problems_of_maps
from must_tf.shared import pixel_confidence
from must_tf.tasks.depth import labels as depth_labels
from must_tf.tasks.depth import model
from must_tf.tasks.depth.config import Config
from must_tf.tasks.depth.labels import LARGEST
from must_tf.tasks.depth.metric import scaled_and_shifted

# 100 bins a decade, so that a percentile is right to 2.3 %; 16-bit millimetres that are taken for metres fit, too.
NEAREST, DECADES, PER_DECADE = 1e-3, 8, 100  # metres
EDGES = NEAREST * 10 ** (np.arange(DECADES * PER_DECADE + 1) / PER_DECADE)
SAME_DEPTH = 0.01  # standard deviation over mean: a wall seen face to face varies by more across a photo
PERCENTILES = (1, 50, 99)
TOLERANCE = 0.25  # disagreement at which the confidence is 1/2
AT_ONCE = 1_000_000  # pixels that are measured at once: in float64, a large map would take gigabytes


def content(labels: Labels, info: ImageInfo, config: Config) -> LabelContent:
    """Pixels [h, w], with their confidence if they have one."""
    del info, config
    values, _ = _values(labels)
    return LabelContent(PIXELS, _known(values), scores=labels.get(pixel_confidence.CONFIDENCE))


def _values(labels: Labels) -> tuple[np.ndarray, bool]:
    """Returns the map that knows pixels, and whether it is inverse depth."""
    relative = bool(np.any(labels.get("inverse_depth", 0.0)))
    return labels["inverse_depth" if relative else "metres"], relative


def _known(values: np.ndarray) -> np.ndarray:
    return np.isfinite(values) & (values > 0)


def problems(labels: Labels, info: ImageInfo, config: Config) -> Iterator[tuple[str, str]]:
    """Yields problems of the maps, and depth below 0."""
    yield from problems_of_maps(labels, info, config)
    lowest = min((np.min(values, initial=0) for values in labels.values()), default=0)
    if lowest < 0:
        yield "values below 0", f"{lowest}"


def add(labels: Labels, config: Config) -> dict[str, Any]:
    """Returns 1 if the depth is `relative`, 1 if it is `flat`, and the pixels of each bin of `metres` [800]."""
    del config
    values, relative = _values(labels)
    known = _known(values)
    found = values.ravel() if known.all() else values[known]
    metres = histogram(found) if not relative else histogram(found[:0])
    mean = float(found.sum(dtype=np.float64)) / max(found.size, 1)
    squares = 0.0
    for start in range(0, found.size, AT_ONCE):
        apart = np.subtract(found[start : start + AT_ONCE], mean, dtype=np.float64)
        squares += float(np.sum(np.square(apart, out=apart)))
    flat = found.size > 0 and squares < found.size * (SAME_DEPTH * mean) ** 2
    return {"flat": int(flat), "relative": int(relative), "metres": metres}


def histogram(found: np.ndarray) -> np.ndarray:
    """Counts metres above 0 into the bins [800] between `EDGES`."""
    counts = np.zeros(len(EDGES) - 1, np.int64)
    for start in range(0, len(found), AT_ONCE):
        places = found[start : start + AT_ONCE].astype(np.float64)
        places /= NEAREST
        # A logarithm finds the bin in a tenth of the time that a search among the edges takes.
        np.log10(places, out=places)
        places *= PER_DECADE
        np.clip(np.floor(places, out=places), 0, len(EDGES) - 2, out=places)
        counts += np.bincount(places.astype(int), minlength=len(EDGES) - 1)
    return counts


def figures(sums: Mapping[str, Any], images: int) -> dict[str, Any]:
    """Returns the share of `flat` images, the number of `relative` ones, and percentiles of the `metres`."""
    return {"flat": sums["flat"] / images, "relative": sums["relative"], "metres": percentiles(sums["metres"])}


def percentiles(counts: np.ndarray) -> dict[str, float]:
    """Returns {"p50": metres} of a histogram between `EDGES`: the middle of the bin on the logarithmic scale."""
    total = np.cumsum(counts)
    if not total[-1]:
        return {}
    places = [int(np.searchsorted(total, percent / 100 * total[-1])) for percent in PERCENTILES]
    middles = np.sqrt(EDGES[:-1] * EDGES[1:])
    return {f"p{percent}": float(middles[place]) for percent, place in zip(PERCENTILES, places, strict=True)}


def metres(labels: Labels, info: ImageInfo, config: Config) -> np.ndarray:
    """Returns float32 [h, w], 0 = unknown.

    Raises:
      AttributeError: the model predicts relative depth.
    """
    del info
    if config.loss == "ssi":
        raise AttributeError("this model predicts relative depth, which has no metres. Use `inverse_depth`.")
    return np.asarray(labels["metres"])


def inverse_depth(labels: Labels, info: ImageInfo, config: Config) -> np.ndarray:
    """Returns float32 [h, w], larger is nearer.

    Raises:
      AttributeError: the model predicts metres.
    """
    del info
    if config.loss != "ssi":
        raise AttributeError("this model predicts metres. Use `depth`.")
    return np.asarray(labels["inverse_depth"])


def relative_error(labels: Labels, other: Labels, config: Config) -> float | None:
    """Returns the mean of |p - g| / g for metres g and p.

    Relative depth is compared after fitting scale and shift. As its zero is arbitrary, its error is relative to the
    mean deviation from its mean: 0 if the two are equal, 1 if the other label is of no use.
    """
    del config
    (truth, relative), (values, _) = _values(labels), _values(other)
    known = _known(truth) & _known(values)
    if not known.any():
        return None
    truth, values = truth[known].astype(np.float64), values[known].astype(np.float64)
    if not relative:
        return float(np.mean(np.abs(values - truth) / truth))
    spread = float(np.mean(np.abs(truth - truth.mean())))
    return float(np.mean(np.abs(scaled_and_shifted(values, truth) - truth))) / spread if spread else None


def confidence(labels: Labels, mirrored: Labels, config: Config) -> np.ndarray:
    """Returns the confidence float32 [h, w] by the labels of the mirrored photo, see the module's docstring."""
    del config
    (values, relative), (others, _) = _values(labels), _values(mirrored)
    others = others[:, ::-1]
    known = _known(values) & _known(others)
    disagreement = _relative_disagreement(values, others, known) if relative else _metric_disagreement
    found = np.zeros(values.shape, np.float32)
    for part, one, other in _compared(values, others, known):
        found[part][known[part]] = pixel_confidence.of_disagreement(disagreement(one, other), TOLERANCE)
    return found


def _compared(
    values: np.ndarray, others: np.ndarray, known: np.ndarray
) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Yields the known pixels of both maps, float64 [pixels], some rows at once, and which rows these are."""
    rows = max(AT_ONCE // max(known.shape[1], 1), 1)
    for top in range(0, len(known), rows):
        part = slice(top, top + rows)
        yield part, values[part][known[part]].astype(np.float64), others[part][known[part]].astype(np.float64)


def _metric_disagreement(metres: np.ndarray, others: np.ndarray) -> np.ndarray:
    return np.maximum(metres / others, others / metres) - 1


def _relative_disagreement(
    values: np.ndarray, others: np.ndarray, known: np.ndarray
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Fits scale and shift to inverse depths [h, w] where they are known.

    Returns:
      The disagreement of pixels of the first and the second map; NaN if all pixels of the first one are the same,
      which says nothing up to scale and shift.
    """
    count = max(int(np.count_nonzero(known)), 1)
    mean, other_mean = (float(np.sum(one, where=known, dtype=np.float64)) / count for one in (values, others))
    spread = product = square = 0.0
    for _, one, other in _compared(values, others, known):
        spread += float(np.sum(np.abs(one - mean)))
        product += float(np.sum((one - mean) * (other - other_mean)))
        square += float(np.sum((other - other_mean) ** 2))
    # A negative scale would swap near and far.
    scale = max(product, 0.0) / square if square else 0.0

    def disagreement(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        if not spread:
            return np.full(one.shape, np.nan)
        return np.abs(scale * (other - other_mean) - (one - mean)) / (spread / count)

    return disagreement


def pngs(labels: Labels) -> dict[str, np.ndarray]:
    """Returns uint16 [h, w]: `depth` in millimetres, 0 = unknown or beyond 65.535 m, or `inverse_depth`.

    Inverse depth has no unit. Its nearest pixel gets 65535, 0 = unknown.
    """
    values, relative = _values(labels)
    values = np.where(_known(values), values, 0).astype(np.float64)
    if relative:
        return {"inverse_depth": np.rint(values * (LARGEST / (values.max(initial=0) or 1))).astype(np.uint16)}
    millimetres = np.rint(values * 1000)
    return {"depth": np.where(millimetres > LARGEST, 0, millimetres).astype(np.uint16)}


def stored(features: Mapping[str, tf.train.Feature], info: ImageInfo, config: Config) -> Iterator[tuple[str, str, str]]:
    """Yields a missing map, and a scale or kind that says nothing."""
    del info, config
    yield from missing(features, depth_labels.DEPTH)
    for scale in features[depth_labels.SCALE].float_list.value if depth_labels.SCALE in features else ():
        if not 0 < scale < float("inf"):
            yield "label cannot be read", depth_labels.SCALE, f"{scale}, must be a positive number"
    kinds = features[depth_labels.KIND].bytes_list.value if depth_labels.KIND in features else ()
    for kind in kinds:
        if kind not in (depth_labels.METRIC.encode(), depth_labels.RELATIVE.encode()):
            yield "label cannot be read", depth_labels.KIND, f"a kind that is not known, {kind[:20]!r}"


SUMMARY = Summary(
    stored=stored,
    kind="depth",
    content=content,
    problems=problems,
    add=add,
    figures=figures,
    measure="delta1, within 25 %",
    right=lambda metrics: metrics.get("delta1"),
    limit=depth_labels.limit,
    unit=model.unit,
    agreement=Agreement("abs_rel", False, relative_error),
    confidence=confidence,
    arrays={"depth": metres, "inverse_depth": inverse_depth},
    pngs=pngs,
)
