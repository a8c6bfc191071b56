"""Image files by their headers, damaged images, and the limits on pixels."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from must_tf.serving import screening
from must_tf.serving.screening import OK, UNREADABLE


def file(kind: str, size: tuple[int, int], mode: str = "RGB") -> bytes:
    """Returns an image of height and width `size`, encoded by Pillow."""
    buffer = io.BytesIO()
    Image.new(mode, size[::-1], 128 if mode == "L" else (10, 200, 30)).save(buffer, kind)
    return buffer.getvalue()


def png_header(height: int, width: int) -> bytes:
    """Returns a PNG of this stated size that has no pixels."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return screening.PNG + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))


@tf.function(autograph=False)
def decoded(encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The code under test, in a graph, with a limit of 10,000 pixels."""
    return screening.decoded(encoded, screening.encoded(), 10_000)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_the_size_is_in_the_header(kind: str, mode: str) -> None:
    """Sizes that differ in all bytes, as Pillow wrote them."""
    assert screening.header_size(tf.constant(file(kind, (300, 517), mode))).numpy().tolist() == [300, 517]


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_whole_image_is_decoded(kind: str) -> None:
    image, status = decoded(tf.constant(file(kind, (20, 30))))
    assert status.numpy() == OK.encode() and image.shape == (20, 30, 3)
    np.testing.assert_allclose(image.numpy()[5, 5], [10, 200, 30], atol=3)


@pytest.mark.parametrize(
    "content", [b"", b"x", b"GIF89a", png_header(20, 30), file("PNG", (20, 30))[:60], file("JPEG", (20, 30))[:300]]
)
def test_a_damaged_file_is_refused(content: bytes) -> None:
    image, status = decoded(tf.constant(content))
    assert status.numpy() == UNREADABLE.encode() and image.shape == (1, 1, 3)


@pytest.mark.parametrize(("height", "width"), [(100, 101), (30_000, 30_000), (2**31 - 1, 2**31 - 1)])
def test_a_huge_image_is_refused_by_its_header(height: int, width: int) -> None:
    """The file has no pixels: decoding it would fail with another reason. Products beyond 2^32 do not wrap around."""
    _, status = decoded(tf.constant(png_header(height, width)))
    assert status.numpy().decode() == f"{width} x {height} pixels; from 1 to 10000 are served"


def test_the_limit_itself_is_served() -> None:
    assert decoded(tf.constant(file("PNG", (100, 100))))[1].numpy() == OK.encode()


def test_images_are_admitted_in_order() -> None:
    """By hand, at most 100 pixels over 4 rows: the second would make 4 x 1 x 30, the last fits beside the first."""
    sizes = tf.constant([[1, 20], [1, 30], [9, 9], [1, 25]])
    status, largest = screening.admitted(sizes, tf.constant([OK, OK, UNREADABLE, OK]), 100)
    first, second, third, last = (text.decode() for text in status.numpy())
    assert (first, third, last) == (OK, UNREADABLE, OK)
    assert second.startswith(screening.CROWDED_OUT) and "limited to 100" in second
    assert largest.numpy().tolist() == [1, 25]


def test_a_wide_and_a_tall_image_share_no_batch() -> None:
    """Two rows of 6000 x 6000 would be padded from 12,000 pixels."""
    status, largest = screening.admitted(tf.constant([[1, 6000], [6000, 1]]), tf.constant([OK, OK]), 50_000_000)
    assert status.numpy()[0] == OK.encode() and status.numpy()[1] != OK.encode()
    assert largest.numpy().tolist() == [1, 6000]
