"""A JPEG that is called whole is one that training's decoder reads to its end; others go to a decoder."""

from __future__ import annotations

import io
import random

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from must_tf.data import record
from tests.support.converting import noise
from tfrecords_tools.sources import jpeg, pixels
from tfrecords_tools.writing.counts import Dropped

PHOTO = Image.fromarray(noise(120, 200))


def saved(**options: object) -> bytes:
    made = io.BytesIO()
    PHOTO.save(made, "JPEG", **options)
    return made.getvalue()


def trains(data: bytes) -> bool:
    """What the input pipeline says."""
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
    """Not known to be damaged: a decoder decides."""
    assert not jpeg.is_whole(data)


def cut(data: bytearray, at: int) -> None:
    del data[at:]


def cut_and_ended(data: bytearray, at: int) -> None:
    data[at:] = b"\xff\xd9"


def test_a_photo_that_was_cut_and_ended_is_whole_as_it_is_to_the_decoder() -> None:
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
def test_what_is_called_whole_can_be_trained_on(damage: object) -> None:
    """Anywhere in the file, header and tables included."""
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
    """Each byte of the header once, those of the size among them."""
    whole, kept = saved(), 0
    for place in range(2, whole.index(b"\xff\xda") + 14):
        data = bytearray(whole)
        data[place] ^= flip
        try:
            stored = pixels.upright(bytes(data), None, "photo")
        except Dropped:
            continue
        if stored.encoded == bytes(data):
            kept += 1
            assert record.decode_image(tf.constant(stored.encoded)).shape[:2] == (stored.height, stored.width), place
    assert kept > 100
