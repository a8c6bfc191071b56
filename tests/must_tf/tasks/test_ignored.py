"""Ignore regions: crowds and what a teacher doubts are neither objects nor background, in both designs."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from must_tf.data import geometry, record
from must_tf.data.input import Reader
from must_tf.evaluation import batch_picture
from must_tf.tasks.detection import ignored, sampling
from tests.support.box_labels import REGION, one_box
from tests.support.contract import FITTED, SIZE, SPECS, WINDOWS, Run, example, golden, targets

OWN, SPEC = golden("detection"), SPECS["detection"]
DESIGNS = [pytest.param(config, id=config.design) for config in OWN.VARIANTS[:2]]
H, W = 128, 128


def overlaps(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """IoU, and the share of the first that lies in the second."""
    sides = [min(first[i + 2], second[i + 2]) - max(first[i], second[i]) for i in (0, 1)]
    shared = max(sides[0], 0.0) * max(sides[1], 0.0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return shared / (sum(areas) - shared), shared / areas[0]


def random_boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    """[count, 4] pixels, 8 to 60 wide."""
    corners, sides = rng.uniform(0, 100, [count, 2]), rng.uniform(8, 60, [count, 2])
    return np.concatenate([corners, corners + sides], -1).astype(np.float32)


def test_all_that_a_teacher_keeps_of_an_image_may_be_doubted() -> None:
    """By default as many boxes as one image has: none of them falls back to background."""
    usual = SPEC.Config(enabled=True, classes=OWN.CONFIG.classes)
    labels = {key: np.repeat(value, usual.max_detections, 0) for key, value in one_box(0.3).items()}
    fit = geometry.fit(tf.constant([H, W]), SIZE)
    assert np.sum(targets("detection", labels, fit, usual)["ignored"][:, 0] >= 0) == 100


@pytest.mark.parametrize(("low", "high"), [(0.3, 0.7), (0.5, 0.5)])
def test_the_rule_in_longhand(low: float, high: float) -> None:
    """Two images with three regions and one; the last place is padding, or has no extent."""
    rng = np.random.default_rng(0)
    anchors = random_boxes(rng, 60)
    regions = np.stack([random_boxes(rng, 4), random_boxes(rng, 4)])
    regions[0, 3], regions[1, 1:] = -1.0, [[-1.0] * 4, [5.0, 5.0, 5.0, 50.0], [-1.0] * 4]
    got = ignored.spared_anchors(anchors, tf.constant(regions), low, high).numpy()
    inside = ignored.spared_proposals(tf.constant([anchors] * 2), tf.constant(regions), high).numpy()
    for image, count in enumerate((3, 1)):
        found = np.array([[overlaps(a, r) for r in regions[image, :count]] for a in anchors])  # [A, regions, 2]
        best = found[..., 0].max(0)
        expected = (found[..., 0] >= low) | (found[..., 0] >= best) | (found[..., 1] >= high)
        np.testing.assert_array_equal(got[image], expected.any(1))
        np.testing.assert_array_equal(inside[image], (found[..., 1] >= high).any(1))
    assert 4 < got.sum() < 100
    none = ignored.spared_anchors(anchors, tf.fill([2, 4, 4], -1.0), low, high).numpy()
    assert none.shape == got.shape and not none.any()
    traced = tf.function(lambda boxes: ignored.spared_anchors(anchors, boxes, low, high))
    assert traced.get_concrete_function(tf.TensorSpec([2, 4, 4])).output_shapes == [2, 60]


def made(labels: list[dict[str, np.ndarray]], config: Any, origin: str = "pseudo:abc") -> dict[str, tf.Tensor]:
    """A batch of targets, by the reader, as training sees them."""
    reader = Reader(SPECS, {"detection": config}, SIZE)
    records = [example(np.zeros([H, W, 3], np.uint8), {"detection": record.Labelled(one, origin)}) for one in labels]
    elements = [reader.element(one, tf.constant(0), lambda size: geometry.fit(size, SIZE)) for one in records]
    return tf.nest.map_structure(lambda *each: tf.stack(each), *elements)["targets"]["detection"]


def terms_of(raw: dict[str, Any], known: dict[str, tf.Tensor], config: Any) -> dict[str, float]:
    return {name: float(tf.reduce_sum(term.total)) for name, term in SPEC.loss(raw, known, config).items()}


def spared(raw: dict[str, Any], config: Any) -> np.ndarray:
    """bool [A]: anchors that the region takes out, one by one."""
    low, high = (0.5, 0.5) if config.design == "retinanet" else (0.3, 0.7)
    region = np.array(REGION) * SIZE
    found = np.array([overlaps(anchor, region) for anchor in raw["anchors"].numpy()])
    return (found[:, 0] >= low) | (found[:, 0] >= found[:, 0].max()) | (found[:, 1] >= high)


def lies_inside(roi: np.ndarray) -> bool:
    """Half of a proposal, or all of one that is none: a place without a proposal is [0, 0, 0, 0] or padding."""
    return roi.max() <= 0 or overlaps(roi, np.array(REGION) * SIZE)[1] >= 0.5


def logits_gradient(config: Any, known: dict[str, tf.Tensor]) -> tuple[dict[str, Any], np.ndarray]:
    """A head's raw outputs, and by how much each anchor's score moves the loss, [B, A]."""
    tf_keras.utils.set_random_seed(1)
    raw = Run("detection", config, {"detection": known}).raw["detection"]
    key = "class_logits" if config.design == "retinanet" else "rpn_scores"
    with tf.GradientTape() as tape:
        tape.watch(raw[key])
        total = tf.add_n([tf.reduce_sum(term.total) for term in SPEC.loss(raw, known, config).values()])
    return raw, np.abs(tape.gradient(total, raw[key]).numpy()).sum(-1)


@pytest.mark.parametrize("config", DESIGNS)
@pytest.mark.parametrize(("score", "crowd", "origin"), [(0.25, False, "pseudo:abc"), (1.0, True, "real:coco")])
def test_what_is_ignored_is_no_background_and_all_else_is(config: Any, score: float, crowd: bool, origin: str) -> None:
    """One image with nothing but a doubtful box, or a crowd: it trains background, and none inside."""
    known = made([one_box(score, crowd)] * 2, config, origin)
    assert np.all(known["classes"] == -1) and np.all(known["weight"] == 1.0)
    raw, gradient = logits_gradient(config, known)
    inside = spared(raw, config)
    assert 3 < inside.sum() < len(inside) / 2
    assert not gradient[:, inside].any() and (gradient[:, ~inside] > 0).all()
    # Nobody looked at such a box before: below the band, as in an image without any, it is background like all else.
    for nothing in (one_box(0.05), OWN.empty(H, W)):
        _, gradient = logits_gradient(config, made([nothing] * 2, config))
        assert (gradient[:, inside] > 0).all()


@pytest.mark.parametrize("config", DESIGNS)
def test_moving_what_is_said_inside_changes_no_loss(config: Any) -> None:
    known = made([one_box(0.25)] * 2, config)
    raw, _ = logits_gradient(config, known)
    before, inside = terms_of(raw, known, config), spared(raw, config)
    moved = dict(raw)
    for key in ("rpn_scores", "rpn_deltas") if config.design == "maskrcnn" else ("class_logits", "box_deltas"):
        noise = np.random.default_rng(0).normal(0, 50, raw[key].shape) * inside[:, None]
        moved[key] = raw[key] + tf.constant(noise, tf.float32)
    if config.design == "maskrcnn":
        within = np.array([[lies_inside(roi) for roi in image] for image in raw["rois"].numpy()])
        noise = np.random.default_rng(0).normal(0, 50, raw["class_logits"].shape) * within[..., None]
        moved["class_logits"] = raw["class_logits"] + tf.constant(noise, tf.float32)
        assert 0 < within.sum() < within.size
    assert terms_of(moved, known, config) == before
    # And it does, where the band is switched off.
    plain = dataclasses.replace(config, ignore_threshold=config.score_threshold)
    off = made([one_box(0.25)] * 2, plain)
    assert terms_of(moved, off, plain) != pytest.approx(terms_of(raw, off, plain), rel=1e-3)


@pytest.mark.parametrize("config", DESIGNS)
def test_objects_in_an_ignore_region_are_trained_as_ever(config: Any) -> None:
    """A crowd over everything takes out the background and not one positive anchor."""
    both = {key: np.concatenate([one_box(1.0)[key], value]) for key, value in one_box(1.0, True, (0, 0, 1, 1)).items()}
    crowded, alone = made([both] * 2, config, "real:a"), made([one_box(1.0)] * 2, config, "real:a")
    raw, gradient = logits_gradient(config, crowded)
    _, without = logits_gradient(config, alone)
    assert 0 < (gradient > 0).sum() < (without > 0).sum()
    box = "retina_box" if config.design == "retinanet" else "rpn_box"
    counts = [float(tf.reduce_sum(SPEC.loss(raw, known, config)[box].count)) for known in (crowded, alone)]
    assert counts[0] == counts[1] > 0


def test_no_background_is_sampled_in_a_region() -> None:
    """Three proposals inside, one half inside, two outside; a place without a sample is not used."""
    rois = [[0, 0, 10, 10], [5, 5, 15, 15], [2, 0, 12, 9], [15, 0, 25, 10], [40, 40, 50, 50], [60, 60, 70, 75]]
    known = {
        "boxes": tf.constant([[[-1.0] * 4]]),
        "classes": tf.constant([[-1]]),
        "ignored": tf.constant([[[0.0, 0.0, 20.0, 20.0], [-1.0] * 4]]),
    }
    noise = tf.constant(np.random.default_rng(0).random([1, 7]), tf.float32)
    found = sampling.proposals(tf.constant([rois], tf.float32), known, noise, 5, 0.25)
    used = found["used"][0].numpy()
    drawn = {tuple(box) for box in found["rois"][0].numpy()[used].astype(int).tolist()}
    assert drawn == {tuple(roi) for roi in rois[4:]}  # of the fourth, exactly half lies inside
    assert not found["classes"][0].numpy().any()


@pytest.mark.parametrize("window", WINDOWS)
def test_regions_are_mirrored_and_cut_with_the_image(window: str) -> None:
    """A crowd in the left third: by hand, x becomes 1 - x before the zoom."""
    view = WINDOWS[window]
    box = (0.2, 0.1, 0.8, 0.35)
    got = targets("detection", one_box(1.0, True, box), view.warp(flip=True), OWN.CONFIG)["ignored"]
    corners = [*view.point(box[0], 1 - box[3]), *view.point(box[2], 1 - box[1])]
    expected = [min(max(value, 0.0), limit) for value, limit in zip(corners, view.shown * 2, strict=True)]
    seen = expected[2] - expected[0] >= 1 and expected[3] - expected[1] >= 1
    np.testing.assert_allclose(got[0], expected if seen else [-1.0] * 4, atol=0.01)
    assert (got[1:] == -1).all()


def test_the_surest_regions_stay() -> None:
    """Six in the band and one crowd for five places: without the least sure two."""
    scores = np.array([0.2, 0.45, 0.15, 0.3, 0.4, 1.0, 0.35], np.float32)
    left = np.arange(7, dtype=np.float32) / 8
    labels = {
        "boxes": np.stack([left * 0, left, left * 0 + 0.5, left + 0.1], -1),
        "classes": np.ones(7, np.int32),
        "scores": scores,
        "is_crowd": scores == 1.0,
        "area": np.ones(7, np.float32),
    }
    got = targets("detection", labels, FITTED.warp(), OWN.CONFIG)["ignored"]
    np.testing.assert_allclose(got[:, 1], left[[5, 1, 4, 6, 3]] * FITTED.scaled[1], rtol=1e-5)


def test_objects_beyond_the_limit_are_regions() -> None:
    """Five objects for two places, a crowd, and a sliver: what has no place is not background."""
    left = np.arange(7, dtype=np.float32) / 8
    width = np.array([0.1] * 6 + [0.001], np.float32)
    labels = {
        "boxes": np.stack([left * 0, left, left * 0 + 0.5, left + width], -1),
        "classes": np.ones(7, np.int32),
        "scores": np.array([0.6, 0.9, 0.7, 0.8, 0.65, 1.0, 0.95], np.float32),
        "is_crowd": np.arange(7) == 5,
        "area": np.ones(7, np.float32),
    }
    config: Any = OWN.CONFIG
    got = targets("detection", labels, FITTED.warp(), dataclasses.replace(config, max_objects=2))
    for key, expected in (("boxes", left[[1, 3]]), ("ignored", left[[5, 2, 4, 0]])):
        known = got[key][got[key][:, 0] >= 0]
        np.testing.assert_allclose(known[:, 1], expected * FITTED.scaled[1], rtol=1e-5)


def test_a_picture_of_a_batch_shows_them() -> None:
    """At their edge the photo's black is no longer black; inside of the hatch it is, and where nothing is ignored."""
    config = OWN.CONFIG
    reader = Reader(SPECS, {"detection": config}, SIZE)
    serialized = example(np.zeros([H, W, 3], np.uint8), {"detection": record.Labelled(one_box(0.25), "pseudo:a")})
    element = reader.element(serialized, tf.constant(0), lambda size: geometry.fit(size, SIZE))
    row = batch_picture.row_of(element, {"detection": config})
    np.testing.assert_allclose(row.labels["detection"]["ignored"], [REGION], atol=1e-6)
    drawn = SPEC.draw(np.zeros([H, W, 3], np.uint8), row.labels["detection"], config)
    assert drawn[32, 32:96].any() and drawn[32:96, 95].any()
    assert not drawn[:30].any() and not drawn[98:].any()
