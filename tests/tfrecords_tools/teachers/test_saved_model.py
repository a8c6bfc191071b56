"""Other people's SavedModels: with files as input, with any number of boxes per image, and with errors."""

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
from tfrecords_tools.teachers import saved_model
from tfrecords_tools.teachers.saved_model import root_cause

HEIGHT, WIDTH = 32, 48  # of the networks' input and of the images, so that nothing is resized
DECODERS: dict[str, Callable[..., tf.Tensor]] = {
    "jpeg": tf.io.decode_jpeg,
    "png": tf.io.decode_png,
    "any image": functools.partial(tf.io.decode_image, expand_animations=False),
}
DEPTH = {"depth": {"output": "z", "means": "metres"}}


def of_files(folder: Path, decode: Callable[..., tf.Tensor]) -> Any:
    """Returns a teacher whose SavedModel takes files and returns 1 + red / 8 metres."""

    def answer(files: tf.Tensor) -> dict[str, tf.Tensor]:
        images = tf.map_fn(lambda one: decode(one, channels=3), files, fn_output_signature=tf.uint8)
        return {"z": 1.0 + tf.cast(tf.ensure_shape(images, [None, HEIGHT, WIDTH, 3])[..., 0], tf.float32) / 8.0}

    save(folder / "model", answer, [None], tf.string)
    return described(folder, ["depth"], {"outputs": DEPTH})


def described(folder: Path, tasks: list[str], content: dict[str, Any]) -> Any:
    """Returns the teacher of an adapter file with this content."""
    content = {"model": "model", "input": {"size": [HEIGHT, WIDTH]}} | content
    return teachers.describe(write_adapter(folder / "a.yaml", content), tasks).load()


@pytest.mark.parametrize("decoder", DECODERS)
def test_every_decoder_reads_the_exact_pixels(decoder: str, tmp_path: Path) -> None:
    image = red_slope(HEIGHT, WIDTH)
    (found,) = teachers.label(of_files(tmp_path, DECODERS[decoder]), [tf.constant(image)], ["x"])
    np.testing.assert_allclose(found["depth"]["metres"], 1 + image[..., 0] / 8, atol=1e-4)


def test_a_signature_that_fails_says_why(tmp_path: Path) -> None:
    """In one line, without TensorFlow's heading."""
    teacher = of_files(tmp_path, lambda one, channels: tf.io.decode_bmp(one))
    message = r"a.yaml: .* 'serving_default' fails on PNG images .*Finished shards are kept"
    with pytest.raises(UserError, match=message) as error:
        teachers.label(teacher, [tf.constant(red_slope(HEIGHT, WIDTH))], ["x"])
    assert "using DecodeBmp op" in str(error.value) and "Graph execution error" not in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("kind", [tf.errors.NotFoundError, tf.errors.ResourceExhaustedError])
def test_missing_files_and_memory_are_not_errors_of_the_signature(
    kind: type[tf.errors.OpError], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer of the shard reports those."""

    def fails(images: tf.Tensor, sizes: tf.Tensor) -> Any:
        raise kind(None, None, "gone")

    monkeypatch.setattr(saved_model, "_graph", lambda recipe, batch: fails)
    teacher = of_files(tmp_path, tf.io.decode_png)
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
def test_the_line_with_the_cause_of_an_error(message: str, reason: str) -> None:
    assert root_cause(tf.errors.InvalidArgumentError(None, None, message)) == reason


def test_as_many_boxes_as_each_image_has(tmp_path: Path) -> None:
    """One image at once, without a number of boxes: red tells how many, each four rows taller than the last."""

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
