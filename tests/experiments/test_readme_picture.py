"""The README's picture agrees with its caption."""

from __future__ import annotations

import functools
import io

import numpy as np
import pytest
from PIL import Image

from experiments import readme_picture
from experiments.readme_picture import BAND, GAP, SIDE, TASKS, TILE
from must_tf.common.errors import UserError
from must_tf.data import scenes
from must_tf.runs import restore
from must_tf.shared import picture_grid
from tests.support.session.graphs import eager_functions
from tests.support.tiny import Tiny


def test_labels_are_called_labels() -> None:
    """The photo is in its place, every task changes its own tile, and the PNG has the caption."""
    scene = scenes.render("wild", 2, 31, (64, 64))
    drawn = readme_picture.from_labels(scene)
    picture = readme_picture.picture(scene.image, drawn)
    photo, small = (picture_grid.enlarge(scene.image, side) for side in (SIDE, TILE))
    np.testing.assert_array_equal(picture[BAND : BAND + SIDE, GAP : GAP + SIDE], photo)
    for number in range(len(TASKS)):
        top = BAND + (number // 3) * (BAND + TILE + GAP)
        left = GAP + SIDE + GAP + (number % 3) * (TILE + GAP)
        assert (picture[top : top + TILE, left : left + TILE] != small).any()
    with Image.open(io.BytesIO(readme_picture.png(picture, drawn.caption))) as written:
        assert written.info[readme_picture.CAPTION] == drawn.caption
        assert np.abs(np.asarray(written, int) - picture).max() <= readme_picture.STEP
    assert drawn.caption.startswith("Labels")


def test_a_run_is_drawn_by_its_predictions(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """All six tasks, at the run's step, without objects below the least score."""
    scene = scenes.render("wild", 2, 31, (96, 96))
    monkeypatch.setattr(restore, "load", functools.cache(restore.load))
    with eager_functions():
        every, none = (readme_picture.from_run(scene, tiny.run, score) for score in (0.0, 1.1))
    assert set(every.labels) == set(TASKS)
    assert "step 2" in every.caption
    assert len(every.labels["masks"]["crops"]) == len(every.labels["detection"]["boxes"]) > 0
    assert len(none.labels["masks"]["crops"]) == len(none.labels["detection"]["boxes"]) == 0
    readme_picture.picture(scene.image, every)


def test_only_a_png_is_written() -> None:
    with pytest.raises(UserError, match=r"--out=six_tasks\.jpg must end in \.png"):
        readme_picture.main(["--out=six_tasks.jpg"])
