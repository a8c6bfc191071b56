"""A class has the same colour in a map as around a box, whether a dataset has a background or not."""

from __future__ import annotations

import numpy as np
import pytest

from must_tf.shared import drawing
from must_tf.tasks import discover


@pytest.mark.parametrize(("classes", "cat"), [(("background", "cat", "dog"), 1), (("cat", "dog"), 0)])
def test_a_class_has_one_colour(classes: tuple[str, ...], cat: int) -> None:
    """Boxes count their classes from 1, so the cat is 1 there."""
    image = np.zeros([40, 40, 3], np.uint8)
    labels = {"classes": np.full([40, 40], cat, np.int32), "confidence": np.ones([40, 40], np.float32)}
    spec = discover()["segmentation"]
    corner = spec.draw(image, labels, spec.Config(classes=classes))[0, 0].astype(float)
    wanted = np.array(drawing.colour(1), float)
    np.testing.assert_allclose(corner / corner.max(), wanted / wanted.max(), atol=0.02)
