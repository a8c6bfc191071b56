"""The datasets of `benchmarks.sources` are what each source expects."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.sources.layouts import LAYOUTS

COUNT = 3


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_image_is_listed(name: str, tmp_path: Path) -> None:
    listing = LAYOUTS[name](tmp_path, COUNT).find()
    assert len(listing.items) == COUNT
    assert listing.account.dropped.content == {}
    assert all(reason.startswith("image: found ") for reason in listing.account.notes.content)
