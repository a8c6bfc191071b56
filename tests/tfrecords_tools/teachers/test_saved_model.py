"""SavedModels that others wrote: for files, with as many boxes as an image has, and such that fail."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from must_tf.common.errors import UserError
from tests.support.teaching import red_slope, save, write_adapter
from tfrecords_tools import teachers
from tfrecords_tools.teachers import failure

HEIGHT, WIDTH = 32, 48  # of the networks' input and of the images, which are not resized then
DECODERS: dict[str, Callable[..., tf.Tensor]] = {
    "jpeg": tf.io.decode_jpeg,
    "png": tf.io.decode_png,
    "any image": functools.partial(tf.io.decode_image, expand_animations=False),
}
DEPTH = {"depth": {"output": "z", "means": "metres"}}


def of_files(folder: Path, decode: Callable[..., tf.Tensor]) -> Any:
    """The teacher whose SavedModel takes files and gives 1 + red / 8 metres."""

    def answer(files: tf.Tensor) -> dict[str, tf.Tensor]:
        images = tf.map_fn(lambda one: decode(one, channels=3), files, fn_output_signature=tf.uint8)
        return {"z": 1.0 + tf.cast(tf.ensure_shape(images, [None, HEIGHT, WIDTH, 3])[..., 0], tf.float32) / 8.0}

    save(folder / "model", answer, [None], tf.string)
    return described(folder, ["depth"], {"outputs": DEPTH})


def described(folder: Path, tasks: list[str], content: dict[str, Any]) -> Any:
    """The teacher that an adapter file says."""
    content = {"model": "model", "input": {"size": [HEIGHT, WIDTH]}} | content
    return teachers.describe(write_adapter(folder / "a.yaml", content), tasks).load()


@pytest.mark.parametrize("decoder", DECODERS)
def test_whatever_decodes_the_files_sees_the_pixels(decoder: str, tmp_path: Path) -> None:
    """Those of the image, to the last grey level."""
    image = red_slope(HEIGHT, WIDTH)
    (found,) = teachers.label(of_files(tmp_path, DECODERS[decoder]), [tf.constant(image)], ["x"])
    np.testing.assert_allclose(found["depth"]["metres"], 1 + image[..., 0] / 8, atol=1e-4)


def test_a_signature_that_fails_says_why(tmp_path: Path) -> None:
    """In one line, and without the heading that TensorFlow begins with."""
    teacher = of_files(tmp_path, lambda one, channels: tf.io.decode_bmp(one))
    said = r"a.yaml: .* 'serving_default' fails on the PNG images .*Finished shards are kept"
    with pytest.raises(UserError, match=said) as error:
        teachers.label(teacher, [tf.constant(red_slope(HEIGHT, WIDTH))], ["x"])
    assert "using DecodeBmp op" in str(error.value) and "Graph execution error" not in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("kind", [tf.errors.NotFoundError, tf.errors.ResourceExhaustedError])
def test_missing_files_and_memory_are_not_the_signatures(kind: type[tf.errors.OpError], tmp_path: Path) -> None:
    """Of those the shard's writer tells."""
    teacher = of_files(tmp_path, tf.io.decode_png)

    def fails(images: tf.Tensor) -> Any:
        raise kind(None, None, "gone")

    teacher._run = fails
    with pytest.raises(kind):
        teachers.label(teacher, [tf.constant(red_slope(HEIGHT, WIDTH))], ["x"])


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("OOM when allocating\n\t [[{{node a}}]]", "OOM when allocating"),
        (
            "Graph execution error:\n\nDetected at node a defined at (most recent call last):\n"
            '  File "a.py", line 1, in a\n    b()\n2 root error(s) found.\n'
            "  (0) INVALID_ARGUMENT:  the cause\n\t [[{{node a}}]]\n  (1) CANCELLED:  a consequence\n"
            "0 successful operations.",
            "(0) INVALID_ARGUMENT:  the cause",
        ),
        ("Graph execution error:\n", "Graph execution error:"),
    ],
)
def test_the_line_that_says_what_went_wrong(message: str, reason: str) -> None:
    assert failure.reason(tf.errors.InvalidArgumentError(None, None, message)) == reason


def test_as_many_boxes_as_each_image_has(tmp_path: Path) -> None:
    """One image at once, and no number of boxes beside them: red says how many, each four rows taller than the last."""

    def answer(image: tf.Tensor) -> dict[str, tf.Tensor]:
        places = tf.range(image[0, 0, 0, 0])
        corners = [0 * places, 0 * places, 4 * places + 4, 0 * places + 24]
        return {
            "b": tf.stack(corners, axis=-1)[None],
            "s": 0.9 - places[None] / 10,
            "c": 0 * places[None] + 1,
            "m": tf.ones_like(places)[None, :, None, None] * tf.ones([28, 28]),
        }

    save(tmp_path / "model", answer, [1, HEIGHT, WIDTH, 3])
    section = {"boxes": "b", "scores": "s", "classes": "c", "masks": "m"}
    content = {"outputs": {"detection": section}, "classes": {"detection": ["cat"]}}
    teacher = described(tmp_path, ["detection", "masks"], content)
    counts = (3, 0, 5)
    images = [tf.constant(np.full([HEIGHT, WIDTH, 3], count, np.uint8)) for count in counts]
    for count, found in zip(counts, teachers.label(teacher, images, ["x", "y", "z"]), strict=True):
        expected = [[0, 0, (place + 1) / 8, 0.5] for place in range(count)]
        np.testing.assert_allclose(found["detection"]["boxes"], np.reshape(expected, [-1, 4]), atol=1e-6)
        np.testing.assert_allclose(found["detection"]["scores"], [0.9, 0.8, 0.7, 0.6, 0.5][:count], atol=1e-6)
        assert len(found["masks"]["crops"]) == count
