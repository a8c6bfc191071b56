"""inspect --pick: the least and the most confident images of the whole set, in their order."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from must_tf.common.errors import UserError
from tests.support.converting import must_records
from tests.support.labelling import SIZE, boxes, by, pixels, records
from tfrecords_tools.inspect import pick
from tfrecords_tools.reading import recordset

HERE = [0.0, 0.0, 0.5, 0.5]
# Scattered over three files: record i lies in file i % 3. The last one is real and the one before it empty.
SCORES = (0.5, 0.9, 0.3, 0.7, 0.2, 0.95, 0.6, 0.4)


@pytest.fixture
def scattered(tmp_path: Path) -> str:
    """Ten images."""
    images = by("pseudo:a", "detection", [boxes([(1, score, HERE), (1, score, HERE)]) for score in SCORES])
    images += by("pseudo:a", "detection", [boxes([])]) + by("real:hand", "detection", [boxes([(1, 1.0, HERE)])])
    return records(tmp_path / "set", images, files=3)


@pytest.mark.parametrize(
    ("choice", "wanted", "images"),
    [
        ("least-confident", 3, [4, 2, 7]),
        ("most-confident", 2, [5, 1]),
        ("least-confident", 60, [4, 2, 7, 0, 6, 3, 1, 5]),
    ],
)
def test_the_whole_set_is_ranked(scattered: str, choice: str, wanted: int, images: list[int]) -> None:
    found = pick.by_confidence(recordset.opened(scattered), choice, wanted, 1)
    assert [int(name[8:13]) + 3 * place for name, place in found] == images


def test_an_image_is_as_unsure_as_its_least_sure_label(tmp_path: Path) -> None:
    both = by("pseudo:a", "detection", [boxes([(1, 0.9, HERE)])])[0] | by(
        "pseudo:b", "segmentation", [pixels(np.zeros(SIZE), 0.2)]
    )[0]  # fmt: skip
    images = [both, *by("pseudo:a", "detection", [boxes([(1, 0.5, HERE)])])]
    found = recordset.opened(records(tmp_path / "set", images))
    assert [place for _, place in pick.by_confidence(found, pick.LEAST, 2, 1)] == [0, 1]
    assert [place for _, place in pick.by_confidence(found, pick.MOST, 2, 1)] == [0, 1]


def test_the_page_shows_them_in_that_order(
    scattered: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    given = ["inspect", "--records", scattered, "--page", str(page), "--images", "3", "--pick", "least-confident"]
    assert must_records(given, monkeypatch) == 0
    text = page.read_text()
    assert re.findall(r"<h3><b>(image-\d)</b>", text) == ["image-4", "image-2", "image-7"]
    assert "3 of 10 images, the least confident of the whole dataset first" in text
    assert '<option value="">as picked</option>' in text
    assert must_records([*given[:-1], "least-confidnt"], monkeypatch) == 2
    assert "Did you mean 'least-confident'" in capsys.readouterr().err


def test_without_a_confidence_there_is_nothing_to_rank(tmp_path: Path) -> None:
    images = by("pseudo:a", "depth", [{"metres": np.ones(SIZE, np.float32)}])
    with pytest.raises(UserError, match="Use --pick even"):
        pick.by_confidence(recordset.opened(records(tmp_path / "set", images)), pick.LEAST, 3, 1)
