"""Objects in an export: the lowest score, and masks of the image's size."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from must_tf.serving import objects
from must_tf.spec import ImageInfo
from must_tf.tasks.masks import labels, pseudo


def three_objects() -> dict[str, tf.Tensor]:
    """Two objects and an empty place, with masks of a disc, of nothing, and of nothing."""
    rows, columns = np.mgrid[:28, :28]
    disc = np.clip(1.2 - np.hypot(rows - 13.5, columns - 13.5) / 14, 0, 1).astype(np.float32)
    weak = np.full([28, 28], 0.1, np.float32)
    weak[20, 3] = 0.3
    return {
        "detection/boxes": tf.constant([[0.12, 0.2, 0.77, 0.9], [0.5, 0.05, 0.95, 0.31], [0.0, 0.0, 0.0, 0.0]]),
        "detection/scores": tf.constant([0.9, 0.4, 0.0]),
        "detection/classes": tf.constant([2, 1, 0]),
        "detection/count": tf.constant(2),
        "masks/probability": tf.constant(np.stack([disc, weak, weak])),
    }


def test_objects_below_the_threshold_are_cleared() -> None:
    kept = objects.above(three_objects(), 0.5)
    assert kept["detection/count"].numpy() == 1
    np.testing.assert_allclose(kept["detection/scores"], [0.9, 0, 0])
    assert kept["detection/classes"].numpy().tolist() == [2, 0, 0]
    assert not kept["detection/boxes"].numpy()[1:].any() and not kept["masks/probability"].numpy()[1:].any()
    assert kept["masks/probability"].numpy()[0].any()


def test_a_score_at_the_threshold_stays() -> None:
    assert objects.above(three_objects(), 0.4)["detection/count"].numpy() == 2


def test_scores_that_are_not_a_number_stay() -> None:
    """They say that the network has diverged; without them, there would seem to be no object."""
    diverged = three_objects() | {"detection/scores": tf.constant([np.nan, np.nan, 0.0])}
    assert np.isnan(objects.above(diverged, 0.5)["detection/scores"].numpy()[:2]).all()


def test_full_masks_are_those_of_the_labels() -> None:
    """By OpenCV's interpolation, pasted into the image. Its weights have 5 bits, so border pixels may differ."""
    outputs, info = three_objects(), ImageInfo("x", 90, 140)
    full = objects.with_full_masks(outputs, tf.constant([90, 140]))
    assert "masks/probability" not in full
    pngs = full["masks/png_bytes"].numpy()
    assert pngs[2] == b""
    for place in (0, 1):
        mask = tf.io.decode_png(pngs[place]).numpy()
        assert mask.shape == (90, 140, 1) and set(np.unique(mask)) == {0, 255}
        box = outputs["detection/boxes"].numpy()[place]
        likely = pseudo.upsample(outputs["masks/probability"].numpy()[place], box, info)
        crop = likely >= min(0.5, likely.max())
        wanted = labels.paste({"boxes": box[None], "crops": [crop]}, 90, 140)[0]
        assert np.mean((mask[..., 0] > 0) != wanted) < 0.002
    assert np.count_nonzero(tf.io.decode_png(pngs[1])) < 20  # around the likeliest pixel only


def test_a_box_beyond_the_last_pixel_has_a_mask() -> None:
    """A box of no width at the right border, as clipping makes it."""
    box = tf.constant([[0.2, 1.0, 0.8, 1.0]])
    outputs = {"detection/boxes": box, "detection/count": tf.constant(1), "masks/probability": tf.ones([1, 28, 28])}
    (png,) = objects.with_full_masks(outputs, tf.constant([10, 20]))["masks/png_bytes"].numpy()
    mask = tf.io.decode_png(png).numpy()[..., 0]
    assert mask[2:8, 19].all() and np.count_nonzero(mask) == 6
