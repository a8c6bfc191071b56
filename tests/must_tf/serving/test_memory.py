"""The batch that is measured, its memory, and the line of the model card."""

from __future__ import annotations

import sys

import pytest

from must_tf.common.errors import UserError
from must_tf.serving import memory, model_card
from must_tf.serving.limits import Limits
from tests.support.predicting import images
from tests.support.tiny import image_bytes


@pytest.mark.parametrize(
    ("limits", "count", "size"),
    [
        (Limits(12_000_000, 50_000_000), 4, (3000, 4000)),
        (Limits(50_000_000, 12_000_000), 1, (3000, 4000)),  # one photo as large as the batch
        (Limits(1, 3), 3, (1, 1)),
    ],
)
def test_the_largest_batch_just_fits(limits: Limits, count: int, size: tuple[int, int]) -> None:
    assert memory.largest_batch(limits) == (count, size)
    height, width = size
    assert height * width <= limits.image and count * height * width <= limits.batch


def test_the_peak_is_that_of_the_process(tiny_export: str) -> None:
    """It never falls, and a process that has loaded TensorFlow takes more than 100 MB."""
    photo = image_bytes(images()[0])
    before, after = memory.peaks(tiny_export, [[photo], [photo] * 2])
    assert 1e8 < before <= after < 1e11


def test_a_process_that_ends_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "false")
    with pytest.raises(UserError, match="photos of 1 x 1 pixels ended with code 1.*--max_batch_pixels"):
        memory.measure("nowhere", Limits(1, 1))


def test_the_card_says_what_was_measured() -> None:
    limits = Limits(12_000_000, 48_000_000)
    without = model_card._memory(24, limits, None)
    assert "24 bytes per pixel, 1.15 GB in all" in without and "was not measured" in without
    text = model_card._memory(24, limits, memory.Peaks(900_000_000, 6_540_000_000, 4, (3000, 4000)))
    assert "takes 0.90 GB, and at most 6.54 GB" in text and "4 photos of 3000 x 4000 pixels" in text
