"""Every discovered task: its targets under mirroring, zoom and crop, and the way back to the original image.

Expected values come from a rendering of the mirrored world, and from each task's `oracle` on the original labels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from must_tf.data import geometry
from must_tf.evaluation.predictions import Restorer
from must_tf.spec import ImageInfo
from tests.support.contract import FITTED, SCENES, SIZE, SPECS, WINDOWS, Window, golden, scene, targets, variants


def test_every_task_folder_has_a_golden_file() -> None:
    """With cases for every loss term of its variants."""
    for task, spec in SPECS.items():
        own = golden(task)
        worked = {term for _, _, overrides, expected in own.CASES for term in expected}
        assert worked == {term for config in own.VARIANTS for term in spec.terms(config)}, task


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("task,config", variants())
def test_targets_of_a_mirrored_view_are_those_of_the_mirrored_world(task: str, config: Any, window: str) -> None:
    own, view = golden(task), WINDOWS[window]
    for domain, index in SCENES[:2]:
        world, mirrored = (own.scene_labels(scene(domain, index, view.original, hand)) for hand in (False, True))
        got = targets(task, world, view.warp(flip=True), config)
        assert own.difference(got, targets(task, mirrored, view.warp(), config)) <= 0.01


@pytest.mark.parametrize("task", SPECS)
def test_the_mirrored_world_looks_different(task: str) -> None:
    """Otherwise the test above could not fail. Classes of whole images are the exception."""
    own = golden(task)
    world, mirrored = (own.scene_labels(scene(*SCENES[0], FITTED.original, hand)) for hand in (False, True))
    first, second = (targets(task, labels, FITTED.warp(), own.CONFIG) for labels in (world, mirrored))
    has_places = any(value.ndim > 1 for value in first.values())
    assert (own.difference(first, second) > 0.05) == has_places


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("task,config", variants())
def test_targets_are_what_longhand_finds(task: str, config: Any, window: str) -> None:
    own, view = golden(task), WINDOWS[window]
    for labels in (own.scene_labels(scene(*SCENES[0], view.original)), own.example(*view.original)):
        got, expected = targets(task, labels, view.warp(), config), own.oracle(labels, view, config)
        assert set(got) == set(expected)
        assert own.difference(got, expected) <= 0.01


@pytest.mark.parametrize("task", SPECS)
def test_no_target_outside_of_the_image(task: str) -> None:
    """Outside the image, targets do not depend on the labels: they are unknown."""
    own, view = golden(task), WINDOWS["shrunk"]
    full = targets(task, own.scene_labels(scene(*SCENES[0], view.original)), view.warp(), own.CONFIG)
    nothing = targets(task, own.empty(*view.original), view.warp(), own.CONFIG)
    for key, value in full.items():
        if value.shape[:2] == (SIZE, SIZE):
            np.testing.assert_array_equal(value[39:], nothing[key][39:])
            np.testing.assert_array_equal(value[:, 65:], nothing[key][:, 65:])


@pytest.mark.parametrize("size", [(96, 160), (200, 150), (128, 128), (50, 64)])
@pytest.mark.parametrize("task", SPECS)
def test_a_perfect_network_gets_its_labels_back(task: str, size: tuple[int, int]) -> None:
    spec, own = SPECS[task], golden(task)
    metric, restorer = spec.Metric(own.CONFIG), Restorer(SPECS, {task: own.CONFIG}, SIZE)
    for domain, index in SCENES:
        labels = own.scene_labels(scene(domain, index, size))
        warp = geometry.fit(tf.constant(size), SIZE)
        batch = {key: value[None] for key, value in targets(task, labels, warp, own.CONFIG).items()}
        ideal = spec.ideal(batch, own.CONFIG).predictions
        info = np.concatenate([size, warp.scaled.numpy()])
        found = restorer.labels({task: {k: v[0] for k, v in ideal.items()}}, info, str(index))[task]
        assert {k: np.asarray(v).dtype for k, v in found.items() if k != "crops"} == {
            k: np.asarray(v).dtype for k, v in labels.items() if k != "crops"
        }
        metric.add(labels, found, ImageInfo(str(index), *size))
    score = metric.result()[spec.Metric.headline]
    assert score >= own.RESTORED if spec.Metric.higher_is_better else score <= own.RESTORED


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("flip", [False, True])
def test_pixels_and_label_maps_lie_alike(window: str, flip: bool) -> None:
    """An image that shows its own label map as colours, warped as an image and as labels."""
    view = WINDOWS[window]
    blocks = np.random.default_rng(0).integers(0, 5, [8, 10])
    ids = np.kron(blocks, np.ones([view.original[0] // 8, view.original[1] // 10], int)).astype(np.int32)
    palette = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]], np.uint8)
    image = geometry.warp_image(tf.constant(palette[ids]), view.warp(flip)).numpy().astype(int)
    labels = geometry.warp_nearest(tf.constant(ids), view.warp(flip), -1).numpy()
    nearest = np.abs(image[:, :, None] - palette.astype(int)).sum(-1).argmin(-1)
    known = labels >= 0
    assert known.sum() == np.prod(view.shown)
    assert np.mean(nearest[known] == labels[known]) > 0.95
    np.testing.assert_array_equal(image[~known], np.broadcast_to(geometry.OUTSIDE, image[~known].shape))


def test_a_fitted_image_keeps_its_pixels() -> None:
    """An image of S pixels is not resampled."""
    image = np.random.default_rng(0).integers(0, 256, [SIZE, SIZE, 3]).astype(np.uint8)
    warp = Window((SIZE, SIZE), (SIZE, SIZE), (0, 0)).warp()
    np.testing.assert_array_equal(geometry.warp_image(tf.constant(image), warp), image)


@pytest.mark.parametrize("original,scaled", [((96, 160), (77, 128)), ((200, 150), (128, 96)), ((50, 64), (100, 128))])
def test_fit_scales_the_longer_side(original: tuple[int, int], scaled: tuple[int, int]) -> None:
    warp = geometry.fit(tf.constant(original), SIZE)
    assert tuple(warp.scaled.numpy()) == scaled and not warp.flip and not warp.offset.numpy().any()


def test_what_the_network_says_outside_of_the_image_stays_outside() -> None:
    """A prediction of 1 on the image and 1000 beside it is restored as 1 everywhere."""
    frame = geometry.Frame(tf.constant((96, 160)), tf.constant((76, 128)), SIZE)
    values = np.full([SIZE // 4, SIZE // 4, 1], 1000.0, np.float32)
    values[: 76 // 4] = 1.0
    np.testing.assert_allclose(
        geometry.restore_planes(tf.constant(values), frame)(0, 96), np.ones([1, 160, 96]), rtol=1e-5
    )


@pytest.mark.parametrize(("task", "key", "channels"), [("depth", "metres", ()), ("normals", "normals", (3,))])
def test_maps_of_large_images_are_restored_in_bands(
    task: str, key: str, channels: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seven rows at a time, the last band lower, as all at once."""
    frame = geometry.Frame(tf.constant((150, 100)), tf.constant((128, 85)), SIZE)
    cells = tf.constant(np.random.default_rng(0).uniform(0.1, 1, [SIZE // 4, SIZE // 4, *channels]), tf.float32)
    whole = SPECS[task].restore({key: cells}, frame)[key]
    assert whole.shape == (150, 100, *channels)
    monkeypatch.setattr(geometry, "BAND", 799)
    np.testing.assert_allclose(SPECS[task].restore({key: cells}, frame)[key], whole, rtol=1e-6)


def test_zoom_is_drawn_from_its_range() -> None:
    """Over 64 draws: both hands, zooms that fill [0.5, 2], windows inside of the image."""
    augmentation = geometry.Augmentation()
    drawn = [geometry.random_warp(tf.constant((96, 160)), SIZE, augmentation, tf.constant([1, i])) for i in range(64)]
    zooms = np.array([float(w.scaled[1]) / SIZE for w in drawn])
    assert 0.49 <= zooms.min() < 0.7 and 1.8 < zooms.max() <= 2.01
    assert 16 < sum(bool(w.flip) for w in drawn) < 48
    for warp in drawn:
        room = np.maximum(warp.scaled.numpy() - SIZE, 0)
        assert np.all(warp.offset.numpy() >= 0) and np.all(warp.offset.numpy() <= room)
    assert len({tuple(w.offset.numpy()) for w in drawn}) > 20
