"""The target masks of sampled proposals, by hand: where an object's mask lies in a proposal."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import numpy as np
import pytest
import tensorflow as tf

from must_tf.data import geometry
from must_tf.spec import Given
from must_tf.tasks import discover
from tests.contract.golden_cases import golden
from tests.support.contract import SETTINGS, SIZE, pyramid

BOX = [20.0, 30.0, 90.0, 100.0]  # of the only object
SIDE = 28  # of a target


def mask_targets(mask: np.ndarray, proposal: list[float], samples: int = 2) -> np.ndarray:
    """The target masks of a proposal and of the object's own box, [2, 28, 28], in either order."""
    config = dataclasses.replace(cast(Any, golden("masks").CONFIG), sampled_rois=samples, max_objects=1)
    head = discover()["masks"].head(config, SETTINGS)
    targets = {"boxes": [[BOX]], "classes": [[1]], "masks": mask[None, None], "ignored": [[[-1.0] * 4]]}
    given = Given(
        image_shape=tf.constant([[SIZE, SIZE]], tf.float32),
        image_size=SIZE,
        seeds=tf.constant([[1, 0]], tf.int64),
        targets={key: tf.constant(value) for key, value in targets.items()},
        raw={"detection": {"rois": tf.constant([[proposal]])}},
        predictions={},
    )
    return head(pyramid(1), given=given, training=True)["mask_targets"][0].numpy()


def test_a_mask_as_fine_as_its_target_is_its_target() -> None:
    """Pixel by pixel, if the proposal is the object's box."""
    mask = np.random.default_rng(0).integers(0, 2, [SIDE, SIDE]).astype(np.uint8) * 255
    for target in mask_targets(mask, BOX):
        np.testing.assert_allclose(target, mask / 255.0, atol=1e-4)


@pytest.mark.parametrize("side", [28, 56, 112])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_mask_lies_where_its_object_is(side: int, axis: int) -> None:
    """The mask grows linearly from 0 to 1 over the box, so that its value tells the place."""
    ramp = np.rint((np.arange(side) + 0.5) / side * 255).astype(np.uint8)
    mask = np.broadcast_to(ramp[:, None] if axis == 0 else ramp, [side, side])
    proposal = [27.0, 44.0, 83.0, 107.0]  # 56 high and 63 wide
    start, length = ((27.0 - 20.0) / 70.0, 56.0 / 70.0) if axis == 0 else ((44.0 - 30.0) / 70.0, 63.0 / 70.0)
    places = start + (np.arange(SIDE) + 0.5) / SIDE * length  # in the object's box
    inside = places < 1 - 0.5 / side  # beyond the last centre the mask fades out
    rows = [np.moveaxis(target, axis, 0).max(axis=1) for target in mask_targets(mask, proposal)]
    assert min(np.abs(found - places)[inside].max() for found in rows) < 0.003


def test_more_samples_than_proposals() -> None:
    """All are taken, as in the box head: a proposal and the object's own box."""
    assert mask_targets(np.full([SIDE, SIDE], 255, np.uint8), BOX, samples=64).shape == (2, SIDE, SIDE)


def test_the_extent_of_a_crop_is_the_same_in_a_graph() -> None:
    """In pixels, as `crop_window` has it. Boxes of other tools may stick out by a thousandth of the image."""
    boxes = np.array(
        [[-1e-3, -1e-3, 1.001, 1.001], [0.25, 0.5, 0.75, 0.625], [0.1234, 0.9995, 0.2, 1.0005]], np.float32
    )
    warp = geometry.fit(tf.constant([2000, 4000]), 4000)
    whole = geometry.crop_view(tf.constant(boxes), warp).whole.numpy()
    expected = [geometry.crop_window(box, 2000, 4000) for box in boxes]
    np.testing.assert_allclose(whole, expected, atol=1e-2)
