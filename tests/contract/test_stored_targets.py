"""Targets that hold the record's integers agree with the labels, to the last bit if both have the same unit."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from must_tf.data import map_png
from must_tf.shared import thresholds
from must_tf.spec import TaskConfig
from must_tf.tasks.normals import labels as normals
from tests.contract.golden import normals as golden_normals
from tests.support.contract import WINDOWS, golden, targets, tensors


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("stride", [1, 4])
def test_depth_and_normals_are_the_pixels_of_what_is_read(window: str, stride: int) -> None:
    view = WINDOWS[window]
    for task, key in (("depth", "metres"), ("normals", "normals")):
        config: Any = golden(task).CONFIG
        config = dataclasses.replace(config, stride=stride)
        labels = golden(task).example(*view.original)
        read = tensors(task, labels, view.original)[key].numpy()
        expected = view.pixels(read, 0.0, stride)
        if task == "depth":  # seen closer, in a view that is larger than the fitted image
            fitted = np.round(np.array(view.original) * view.size / max(view.original))
            expected = expected / np.float32(np.mean(view.scaled / fitted))
        got = targets(task, labels, view.warp(), config)
        found = normals.vectors(tf.constant(got["normal_colours"])).numpy() if task == "normals" else got[key]
        np.testing.assert_allclose(found, expected, rtol=2e-7)


def test_in_a_mirrored_world_x_alone_is_negated() -> None:
    colours = np.stack(np.meshgrid(*[np.arange(0, 256, 15, dtype=np.uint8)] * 3), -1).reshape(1, -1, 1, 3)
    both = {"normal_colours": tf.constant(np.repeat(colours, 2, 0)), "mirrored": tf.constant([False, True])}
    straight, mirrored = normals.seen(both).numpy()
    np.testing.assert_array_equal(mirrored, straight * [-1, 1, 1])
    np.testing.assert_array_equal(straight, normals.vectors(tf.constant(colours[0])).numpy())
    np.testing.assert_allclose(straight, golden_normals.vectors(colours[0]), atol=1e-6)


@pytest.mark.parametrize("is_traced", [False, True])
@pytest.mark.parametrize("size", [(11, 7), (3, 50)])  # 20 pixels are two rows, or less than one
def test_large_maps_of_normals_are_read_in_bands(
    size: tuple[int, int], is_traced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    colours = np.random.default_rng(0).integers(0, 256, [*size, 3]).astype(np.uint8)
    colours[::2, 1] = 0  # unknown
    config: Any = golden("normals").CONFIG
    monkeypatch.setattr(normals, "BAND", 20)

    def read(encoded: tf.Tensor) -> tf.Tensor:
        return normals.read({normals.NORMALS: encoded, normals.CONFIDENCE: tf.constant("")}, tf.constant(size), config)[
            "normals"
        ]

    found = (tf.function(read) if is_traced else read)(tf.constant(map_png.encode(colours)))
    # The last pixels of a band do not fill a vector register, and are rounded differently.
    np.testing.assert_allclose(found, normals.vectors(tf.constant(colours)), atol=2e-7)


def test_a_threshold_in_bytes_lets_the_same_bytes_through() -> None:
    confidence = np.arange(256, dtype=np.float32) / np.float32(255)
    for threshold in np.array([0, 0.001, 0.2, 0.25, 0.4, 0.5, 0.6, 0.8, 0.999, 1], np.float32):
        (byte,) = thresholds.as_bytes(np.array([threshold], np.float32))
        np.testing.assert_array_equal(np.arange(256) >= byte, confidence >= threshold)


def test_an_id_that_is_no_class_is_found_among_bytes() -> None:
    """Id 8 of 8 classes; 255 is no id."""
    own = golden("segmentation")
    labels = own.example(16, 16)
    config: TaskConfig = own.CONFIG
    targets("segmentation", labels, WINDOWS["fitted"].warp()._replace(original=tf.constant([16, 16])), config)
    labels["classes"][2, 2] = 255
    targets("segmentation", labels, WINDOWS["fitted"].warp()._replace(original=tf.constant([16, 16])), config)
    labels["classes"][3, 3] = len(config.classes)
    with pytest.raises(tf.errors.InvalidArgumentError, match="class ids must be below"):
        targets("segmentation", labels, WINDOWS["fitted"].warp()._replace(original=tf.constant([16, 16])), config)
