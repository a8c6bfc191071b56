"""JPEGs reported as complete are read to their end by training's decoder; all others go to a decoder."""

from __future__ import annotations

import io
import random
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from must_tf.data import image_files, jpeg, record
from tests.support.converting import noise

PHOTO = Image.fromarray(noise(120, 200))


def saved(**options: object) -> bytes:
    made = io.BytesIO()
    PHOTO.save(made, "JPEG", **options)
    return made.getvalue()


def trains(data: bytes) -> bool:
    """Decodes the image like the input pipeline."""
    try:
        record.decode_image(tf.constant(data))
    except tf.errors.OpError:
        return False
    return True


@pytest.mark.parametrize(
    "options", [{}, {"optimize": True}, {"subsampling": 0}, {"quality": 30}, {"restart_marker_blocks": 4}]
)
def test_whole(options: dict[str, object]) -> None:
    assert jpeg.is_whole(saved(**options))


@pytest.mark.parametrize(
    "data",
    [saved(progressive=True), saved() + b"\0", b"", b"\xff\xd8\xff", saved()[:100]],
    ids=["progressive", "bytes behind the end", "empty", "three bytes", "half a header"],
)
def test_not_plain(data: bytes) -> None:
    """These may be intact; a decoder decides."""
    assert not jpeg.is_whole(data)


def cut(data: bytearray, at: int) -> None:
    del data[at:]


def cut_and_ended(data: bytearray, at: int) -> None:
    data[at:] = b"\xff\xd9"


def test_a_cut_photo_with_an_end_marker_counts_as_complete() -> None:
    data = bytearray(saved())
    cut_and_ended(data, len(data) // 2 + 100)
    decoded = record.decode_image(tf.constant(bytes(data))).numpy()
    assert decoded.shape == (120, 200, 3)
    assert np.ptp(decoded[-8:]) == 0  # of one colour: the last rows are not there
    assert jpeg.is_whole(bytes(data))


def overwritten(data: bytearray, at: int) -> None:
    data[at : at + 300] = random.Random(at).randbytes(300)


def zeroed(data: bytearray, at: int) -> None:
    data[at : at + 64] = bytes(64)


def flipped(data: bytearray, at: int) -> None:
    data[at] ^= 0xFF


@pytest.mark.parametrize("damage", [cut, cut_and_ended, overwritten, zeroed, flipped])
def test_a_complete_jpeg_can_be_trained_on(damage: Callable[[bytearray, int], None]) -> None:
    """The damage is anywhere in the file, including the header and its tables."""
    whole = saved(quality=90)
    places = np.linspace(2, len(whole) - 3, 150).astype(int)
    failed = 0
    for place in places:
        data = bytearray(whole)
        damage(data, int(place))
        if trains(bytes(data)):
            continue
        failed += 1
        assert not jpeg.is_whole(bytes(data)), (damage, place)
    # Zeroes and flipped bits mostly give another picture, which is no fault of the stream.
    assert failed > (100 if damage in (cut, overwritten) else 0)


@pytest.mark.parametrize("flip", [0xFF, 0x01])
def test_what_stays_as_it_is_has_the_size_that_the_decoder_finds(flip: int) -> None:
    """Changes each byte of the header once, including those of the size."""
    whole, kept = saved(), 0
    for place in range(2, whole.index(b"\xff\xda") + 14):
        data = bytearray(whole)
        data[place] ^= flip
        try:
            stored = image_files.upright(bytes(data), None, "photo")
        except image_files.Unreadable:
            continue
        if stored.encoded == bytes(data):
            kept += 1
            assert record.decode_image(tf.constant(stored.encoded)).shape[:2] == (stored.height, stored.width), place
    assert kept > 100
